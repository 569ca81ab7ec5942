// Package wire views protocol headers as they lie in a frame.
//
// A header is a named byte slice: wire.IPv4(b).TTL() reads byte 8. Values go in
// and come out in host byte order; in memory they lie in network order. Methods
// are named after the fields of the RFC whose diagram stands above the type.
//
// Enters: the bytes of a frame, cut so that the header's fixed part is there
// (a method on a shorter slice panics: the stage that found the header checked
// the length once, so that no accessor has to).
// Leaves: field values, and frames with fields changed.
// Owns: nothing; a view shares the frame's memory.
// Drops: nothing.
// See: package ip for the validation of what is viewed here.
package wire

// Package lacp negotiates with the switch, or host, at the other end of a bond's cables
// which of them carry traffic together: the Link Aggregation Control Protocol of IEEE
// Std 802.1AX-2014, clause 6.4. It is pure logic: no I/O, no clock, no goroutine.
//
// Enters: the state of the links, frames of the slow protocols, and time in milliseconds.
// Leaves: frames to send, and for each port whether it may collect and distribute.
// Owns: a [System] with its [Port]s; it is for one goroutine at a time.
// Drops: frames that are not LACP or Marker frames, that are too short, that came back
// from ourselves, or that come faster than the standard allows to answer.
// See: IEEE Std 802.1AX-2014, 6.4 (LACP), 6.5 (Marker); IEEE Std 802.3-2018, annex 57A
// (slow protocols).
package lacp

// Package ip validates IPv4 packets, answers what is for the director itself,
// forwards, and reports errors to senders with ICMP (RFC 791, 792, 1812).
//
// Enters: packets with L3 set (Input4); packets no service wanted (Deliver4);
// packets with a settled destination (Output4); packets to be refused (Refuse);
// packets about to leave (FinishChecksum, Segment).
// Leaves: Continue with offsets, protocol, key and hash set; Output with NextHop
// set; ICMP messages in the outbox.
// Owns: a Stack is worker-owned.
// Drops: IP*, ICMPMalformed, ICMPUnwanted, L4Malformed, NeighTableFull.
// ICMPRateLimit counts errors that were not sent, beside the packet's own reason.
// See: package wire for the headers, package route for destinations.
package ip

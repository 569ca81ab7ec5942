// Package ip validates IPv4 and IPv6 packets, answers what is for the director
// itself, forwards, and reports errors to senders with ICMP (RFC 791, 792, 1812;
// RFC 8200, 4443). The families are twins, file by file; dispatch.go chooses.
//
// Enters: packets with L3 set (Input); packets no service wanted (Deliver);
// packets with a settled destination (Output); packets to be refused (Refuse);
// fragments (Join); packets about to leave (FinishChecksum, Segment, Cut).
// Leaves: Continue with offsets, protocol, key and hash set; Neighbour with
// neighbour discovery whose hop limit is right; whole datagrams with Cut set; Output
// with NextHop set; ICMP messages in the outbox; Punt, as it came, for Linux.
// Owns: a Stack is worker-owned, with the fragments that wait in it. IDs are shared.
// Drops: IP*, ICMPMalformed, ICMPUnwanted, ICMPHopLimit, L4Malformed, NeighTableFull,
// PoolEmpty. ICMPRateLimit counts errors that were not sent, beside the packet's own
// reason.
// See: package wire for the headers, package route for destinations.
package ip

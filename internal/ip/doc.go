// Package ip validates IPv4 packets, answers what is for the director itself,
// forwards, and reports errors to senders with ICMP (RFC 791, 792, 1812).
//
// Enters: packets with L3 set (Input4); packets no service wanted (Deliver4);
// packets with a settled destination (Output4); packets to be refused (Refuse);
// fragments (Join4); packets about to leave (FinishChecksum, Segment, Cut4).
// Leaves: Continue with offsets, protocol, key and hash set; whole
// datagrams with Cut set; Output with NextHop set; ICMP messages in the outbox.
// Owns: a Stack is worker-owned, with the fragments that wait in it. IDs are shared.
// Drops: IP*, ICMPMalformed, ICMPUnwanted, L4Malformed, NeighTableFull, PoolEmpty.
// ICMPRateLimit counts errors that were not sent, beside the packet's own reason.
// See: package wire for the headers, package route for destinations.
package ip

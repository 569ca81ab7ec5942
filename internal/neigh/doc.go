// Package neigh finds the MAC address of the next hop: ARP (RFC 826), and
// neighbour discovery (RFC 4861), whose reachability states Linux and DPVS use for
// IPv4 too.
//
// Enters: ARP packets, and ICMPv6 of neighbour discovery; packets whose next hop
// is settled.
// Leaves: answers to who asks for our addresses (Transmit); packets whose
// next hop is resolved (Output: on to ether.Output); Punt for Linux, which learns from it as well, or
// answers.
// Owns: what is known of a neighbour lies in the shared flow.NextHops, as atomic
// words. A Cache is worker-owned: the packets that wait for an answer, at most
// QueueLen for one neighbour and MaxHeld in all. Any worker may receive the
// answer; the one that holds the packets sees it in the next hop's state.
// Drops: ARPMalformed, ARPNotOurs, ARPConsumed (no loss), NDMalformed, NDNotOurs,
// NDConsumed (no loss), NeighQueueFull, NeighFailed, NeighNoSource; PortDown for what waits when a worker ends.
// See: RFC 5227 for announcements and conflicts, RFC 4862 for tentative addresses; package director for Housekeep.
package neigh

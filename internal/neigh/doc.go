// Package neigh finds the MAC address of the next hop: ARP (RFC 826), with the
// reachability states of RFC 4861 that Linux and DPVS use for IPv4 too.
//
// Enters: ARP packets; packets whose next hop is settled.
// Leaves: answers to ARP requests for our addresses (Transmit); packets whose
// next hop is resolved (Output: on to ether.Output).
// Owns: what is known of a neighbour lies in the shared flow.NextHops, as atomic
// words. A Cache is worker-owned: the packets that wait for an answer, at most
// QueueLen for one neighbour and MaxHeld in all. Any worker may receive the
// answer; the one that holds the packets sees it in the next hop's state.
// Drops: ARPMalformed, ARPNotOurs, ARPConsumed (no loss), NeighQueueFull,
// NeighFailed, NeighNoSource; PortDown for what waits when a worker ends.
// See: RFC 5227 for announcements and conflicts; package director for Housekeep.
package neigh

// Package ether is the link layer: it takes the Ethernet header off a packet's
// mind and puts a new one on.
//
// Enters: frames from a port, In set; and packets whose next hop is resolved.
// Leaves: Continue for IP, Neighbour for ARP, Punt for what else there is, if there is
// a twin for it; Transmit with the header complete and Out set.
// Owns: a Link is worker-owned.
// Drops: EtherShort, EtherOtherHost, EtherVLAN, EtherType, EtherLoop,
// and WalkFault for a packet that has no room for a header.
// See: package neigh, which resolves next hops; flow.NextHop, where MACs lie.
package ether

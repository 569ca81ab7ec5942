// Package tunnel is the desk of the tunnel devices (dpip tunnel): IP packets in IP
// packets, or in GRE, between an address of the director's and a machine that may be
// anywhere. To the rest of the house such a device is a port with one machine at its
// other end.
//
//	                    in                                              out
//	eth | outer IP | GRE | IP packet  ─►  eth' | IP packet     eth | IP packet  ─►  outer IP | GRE | IP packet
//	           ip.Input, Input, ip.Input                            Output, neigh.Output, ether.Output
//
// Enters: packets of protocol 4, 41 or 47 to an address of ours (Input); packets that
// lie on a device's tray, ready to leave (Output); ICMP errors about what Output made (Error).
// Leaves: what was inside, come in by the device, with a made-up link header in front
// (Decapsulate); what is a tunnel's, with its next hop (Output); Continue for what is
// no device's.
// Owns: a Stage is worker-owned. A Table is immutable. Sequence numbers are shared by
// all workers, in a State for each device; path MTUs likewise, in flow.NextHops.
// Drops: the reasons Tunnel*, ICMPTunnel, ICMPMalformed, ICMPUnrelated, ICMPUnwanted,
// PortDown, NeighTableFull.
// See: RFC 2003 and 4213 (IPv4 and IPv6 in IPv4), RFC 2473 (in IPv6), RFC 2784 and 2890
// (GRE), RFC 6040 (ECN); Linux's ip_tunnel.c, whose order of preference this is.
package tunnel

// Package words writes packets in words and reads them: what a story injects
// and what it expects. It is independent of package wire on purpose, so that it
// judges what the director sends.
//
// A packet is its layers, outermost first, separated by " / ":
//
//	ip 1.2.3.4 > 10.0.0.100 ttl=64 df / tcp 40000 > 80 S seq=1 <mss 1460,sackok,ts 7 0> data=10
//	ip 10.0.0.9 > 10.0.0.1 ttl=9 / udp 53 > 5353 data=3
//	ip 10.0.0.9 > 10.0.0.1 ttl=64 / icmp frag-needed mtu=1400 / ip 10.0.0.1 > 10.0.0.9 ttl=3 / udp 5353 > 53 data=3
//	arp request who=10.0.0.1 tell=10.0.0.9
//	ip6 2001:db8::1 > 2001:db8::2 hlim=64 / hop / frag id=7 off=1232 nh=17 / data=100
//	ip6 2001:db8::1 > 2001:db8::2 hlim=64 / sctp 40000 > 80 tag=0 <init 7>
//	ip6 2001:db8::9 > 2001:db8::1 hlim=64 / icmp6 too-big mtu=1400 / ip6 2001:db8::1 > 2001:db8::9 hlim=3 / udp 5353 > 53 data=3
//	ip6 fe80::1 > ff02::1:ff00:2 hlim=255 / ns who=2001:db8::2 <sll>
//	ip 10.0.0.1 > 10.0.0.9 ttl=63 / gre key=7 csum / ip 10.9.0.1 > 10.9.0.2 ttl=63 / udp 5353 > 53 data=3
//	ip 10.0.0.1 > 10.0.0.9 ttl=63 / ip6 2001:db8::9 > 2001:db8::1 hlim=63 / udp 5353 > 53 data=3
//	eth to=all type=0x88cc / data=40
//
//	ip 10.0.0.9 > 10.0.0.1 id=7 frag=0+1480 / udp 53 > 5353 data=3000
//
// The last is a fragment: the whole datagram is said, and which part of it this is.
// So it can be with ip6, whose fragment header then follows at once.
//
// What is as usual is left out. Checksums are right unless csum= says otherwise:
// bad; partial (only the pseudo-header's sum, and marked so, as by a vnet
// header; of SCTP 0); open (the same, but not marked); 0 (UDP without, SCTP open). They are over the
// destination that stands in the IPv6 header, also if a routing header has
// segments left.
//
// Extension headers are hop and dst (opts= in hex), routing, frag and ah; nh=
// says what follows them, or the ip6 header, in place of what does; proto=253 is a
// layer of a protocol without a name here. To a group of IPv6 a frame goes to the
// group's link-layer address.
//
// Enters: lines; frames. Leaves: frames; lines.
// Owns: nothing.
// Drops: nothing; what can't be read comes back as an error that names the word,
// or is shown in hex.
package words

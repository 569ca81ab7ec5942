// Package story tells the director what happens to it in words, and writes down
// in words what it does: a whole director in memory, whose workers are breathed
// by hand at a time that the story sets. A story is at once specification, test
// and documentation.
//
//	director workers=1            a new director on these ports
//	port wan 02:00:00:00:01:00
//	station gw 02:00:00:00:01:fe
//	addr wan 10.0.0.1/24
//	...
//
//	inject wan from=gw            frames arrive, all in one burst
//	ip 1.2.3.4 > 10.0.0.100 ttl=64 / tcp 40000 > 80 S seq=1
//	----
//	lan > rs1: ip 192.168.1.200 > 192.168.1.2 ttl=63 / tcp 1025 > 80 S seq=1
//	forwarded=1 new_conns=1
//
// With linklocal=eui64 its ports have link-local addresses. IPv6 addresses that the
// story begins with are in use; one that comes later is probed for, a second and a
// `house` (what the director does once a second) long.
//
// The answer is every frame that left, the port and the station it is for first,
// and the counters that changed. Package words has the language of packets; the
// other commands are change (the wanted state), wait (time passes), conns,
// dests, neigh and locals (what there is).
//
// Enters: a story. Leaves: what the director answered.
// Owns: the director, its ports and its clock.
// Drops: nothing; after each command it counts that the director lost nothing.
package story

package flow

// This file is the layout: offsets, sizes, flags, hash. It is plain C as well
// as Go; `make generate` derives bpf/flow.h from it and a test compiles that
// header and compares every offset. Whoever changes it raises LayoutVersion.

// LayoutVersion is raised with every change of this file that another engine
// could notice.
const LayoutVersion = 4

// Magic begins a table's header: "WEIRFLOW" in memory.
const Magic uint64 = 0x574f4c4652494557

// Sizes of the records in bytes: one cache line each, the wide half-flow two.
const (
	HeaderSize  = 128
	HalfSize    = 64
	WideSize    = 128
	ConnSize    = 64
	NextHopSize = 64
)

// ProbeFast is how many slots the XDP engine looks at for a key, ProbeMax how
// many the workers do. What does not find a place within ProbeFast is never
// flagged Fast, so that both engines agree. Behind the last slot where a search may
// begin there are ProbeMax more, so that no search comes to the end of its array.
const (
	ProbeFast = 16
	ProbeMax  = 256
)

// Header describes a table to whoever maps it.
type Header struct {
	Magic     uint64 // 0
	Version   uint32 // 8
	HalfSize  uint32 // 12
	Homes     uint32 // 16 half-flow slots where a search may begin; there are ProbeMax more
	WideHomes uint32 // 20 the same of the wide array
	Seed      uint64 // 24 secret of the hash
	Conns     uint32 // 32 connections at most
	ConnSize  uint32 // 36
	NextHops  uint32 // 40
	HopSize   uint32 // 44
	ProbeFast uint32 // 48
	ProbeMax  uint32 // 52
	TickShift uint32 // 56 a tick is 2^TickShift ns of CLOCK_MONOTONIC
	WideSize  uint32 // 60
	// PathsKnown is not 0 once a router told of a path to the end of a tunnel that takes
	// less than its next hop: the workers know them.
	PathsKnown uint32   // 64 atomic
	_          [28]byte // of the XDP engine
	Fresh      uint32   // 96 atomic: connection indexes below it were given out at least once
	Alive      uint32   // 100 atomic: tick of the latest breath of any worker
	Takeovers  uint32   // 104 how often a director found the table and went on with it
	Died       uint32   // 108 tick of the last breath before the latest takeover
	Away       uint32   // 112 ticks of takeovers up to that one, in which nobody was there
	WideConns  uint32   // 116 connections at most both of whose half-flows are wide
	_          [8]byte
}

// Half is a half-flow: one direction of a connection. A packet touches its own
// half only. Words marked "published" may be used by a reader if Key1 had the
// same value before and after it read them.
type Half struct {
	Key0     uint64 // 0  published: source address | destination << 32, each as on the wire (little-endian load)
	Key1     uint64 // 8  the publishing word, see below; written last
	NewAddrs uint64 // 16 published: like Key0, what the packet gets; of IPv4 with FlagCross, the slot of the half-flow that comes back
	NewPorts uint32 // 24 published: source port | destination << 16, as on the wire
	DeltaIP  uint16 // 28 published: what to add to the IP checksum's complement (RFC 1624), TTL-1 included; of IPv6 with FlagCross, the sum of what is the same in all headers
	DeltaL4  uint16 // 30 published: the same for the TCP or UDP checksum
	NextHop  uint32 // 32 published, atomic: NextHopRef
	Last     uint32 // 36 tick of the last packet
	Bytes    uint64 // 40 IP bytes carried
	Seq      uint32 // 48 outbound, TCP: next sequence number of the server; inbound: see ConnTOA, ConnProxyV1, ConnUOAOption
	Ack      uint32 // 52 outbound, TCP: last acknowledgement of the server; inbound: likewise
	Conn     uint32 // 56 published: index of the connection
	Dest     uint32 // 60 published: index of the real server for counters
}

// Key1 holds, from the low end: source port and destination port as on the
// wire (32 bits), IP protocol (8), flags (8), generation (16). The generation
// goes up whenever the slot gets a new tenant. 0 is an empty slot, where a
// search ends. A dead slot's key bits are 0, or name who is about to empty it.
const (
	KeyMask   = 1<<40 - 1 // ports and protocol
	flagShift = 40
	genShift  = 48
	genOne    = 1 << genShift
)

// Flags of Key1.
const (
	FlagValid   uint64 = 1 << (flagShift + iota) // a tenant lives here
	FlagFast                                     // any engine may forward plain packets without asking
	FlagPending                                  // a worker is moving in; readers pass by
	FlagDead                                     // the tenant left at tick Last; the slot rests, the probe goes on
	FlagReply                                    // this half is outbound: from the real server
	FlagTunnel                                   // packets keep what they have and go into an IP packet with the new addresses
	FlagCross                                    // packets become, or with FlagTunnel go into, those of the other IP family
)

// WideBit in a slot's number says that it is one of the wide array.
const WideBit uint32 = 1 << 31

// matchMask selects what a lookup compares: key and Valid.
const matchMask = KeyMask | FlagValid

// Tuple packs a 5-tuple into the two key words. Addresses and ports are given
// as they lie on the wire, read little-endian.
func Tuple(src, dst uint32, sport, dport uint16, proto uint8) (k0, k1 uint64) {
	return uint64(src) | uint64(dst)<<32, uint64(sport) | uint64(dport)<<16 | uint64(proto)<<32
}

// Constants of the hash, odd and with bits well spread.
const (
	hashC1 = 0x9E3779B97F4A7C15
	hashC2 = 0xD6E8FEB86659FD93
)

// Hash mixes a tuple with the table's seed. Only KeyMask's bits of k1 count.
func Hash(seed, k0, k1 uint64) uint64 {
	h := (k0 ^ seed) * hashC1
	h ^= h >> 32
	h = (h ^ k1&KeyMask) * hashC2
	h ^= h >> 32
	// Without the last step the answers of one real server, whose tuples differ
	// in the destination port alone, crowd: of 10 M, one in thirteen found no place.
	return h ^ h>>15
}

// foldHalf is half a word.
const foldHalf = 1<<32 - 1

// Home is the slot where a search begins in an array that has so many of them (Header.Homes,
// WideHomes): the low half of the hash is a fraction of 2^32. They need not be a power of two.
func Home(hash, homes uint64) uint64 { return (hash & foldHalf) * homes >> 32 }

// FoldWords makes of the source and destination address of an IPv6 packet, two words
// each, read little-endian, the number that stands for them in Key0. It is NH
// (RFC 4418, section 5.2.2): products of halves to which secrets were added. A hash
// that is seeded once and then adds word by word folds pairs with a certain difference
// alike whatever the seed, and one client could take what another one needs.
func FoldWords(seed, a, b, c, d uint64) uint64 {
	k := seed * hashC1
	k ^= k >> 32
	l := k * hashC2
	l ^= l >> 32
	m := l * hashC1
	m ^= m >> 32
	n := m * hashC2
	n ^= n >> 32
	h := ((a + k) & foldHalf) * ((a>>32 + k>>32) & foldHalf)
	h += ((b + l) & foldHalf) * ((b>>32 + l>>32) & foldHalf)
	h += ((c + m) & foldHalf) * ((c>>32 + m>>32) & foldHalf)
	h += ((d + n) & foldHalf) * ((d>>32 + n>>32) & foldHalf)
	return h
}

// Addr is an address as it lies on the wire, read in two little-endian words; an
// IPv4 address is ::ffff:a.b.c.d.
type Addr struct {
	Hi uint64 // 0 the first 8 bytes
	Lo uint64 // 8 the last 8 bytes
}

// Wide is a half-flow of IPv6 packets. It lies in an array of its own, under the
// same rules as Half. Its Key0 is FoldWords of the addresses, which follow; who
// looks for it compares them too. What the packet gets lies here, or with FlagCross
// in the half's NewAddrs.
type Wide struct {
	Half   Half // 0
	Src    Addr // 64 published: source address
	Dst    Addr // 80 published: destination address
	NewSrc Addr // 96 published: what the packet gets; with FlagTunnel the outer ones
	NewDst Addr // 112 published: likewise
}

// Conn is what only the workers need of a connection: state, timer links, what
// was borrowed and must be given back. It is found through Half.Conn.
type Conn struct {
	In, Out   uint32 // 0, 4 slots (see WideBit) of the inbound and the outbound half; equal if there is only one
	State     uint32 // 8 atomic: protocol state and ConnFlags
	Dest      uint32 // 12 index of the real server
	Template  uint32 // 16 index of the persistence template that it holds; its users say what none is
	Local     uint32 // 20 index of the local address
	LocalPort uint16 // 24 its port, host order
	Pool      uint8  // 26 the pool the port came from
	Owner     uint8  // 27 worker that turns its timer
	Next      uint32 // 28 timer list, or free list
	Prev      uint32 // 32 timer list
	Deadline  uint32 // 36 tick at which the wheel looks at it
	Timeout   uint32 // 40 atomic: ticks it may be idle in its present state
	ServerISN uint32 // 44 initial sequence number of the real server
	SeqDelta  uint32 // 48 added to the client's sequence numbers; 0: none
	Born      uint32 // 52 tick at which it was made; while resting: at which it ended
	Kick      uint32 // 56 next in the owner's kick list
	Own       uint32 // 60 its service's own timeout in ticks, 0: none; while free: the next chain
}

// ConnStateMask selects the protocol state in Conn.State.
const ConnStateMask uint32 = 0xff

// ConnFlags, above the protocol state in Conn.State.
const (
	// ConnDying: somebody took it on himself to end the connection.
	ConnDying uint32 = 1 << (8 + iota)
	// ConnKicked: it is in its owner's kick list.
	ConnKicked
	// ConnActive: counted in its real server's active connections.
	ConnActive
	// ConnHalfOpen: counted among the half-open connections.
	ConnHalfOpen
	// ConnServerISN: ServerISN is known.
	ConnServerISN
	// ConnTold: the server has the client's address, no more TOA.
	ConnTold
	// ConnNoTimestamp: the timestamp option is taken out of its SYN.
	ConnNoTimestamp
	// ConnExpireNow: its owner shall end it at the next look.
	ConnExpireNow
	// ConnTOA: its segments carry the client's address until ConnTold. The inbound
	// half's Seq is the number of the client's first byte once the server's SYN-ACK
	// told it, or 0: what the server acknowledges does not say that it was told.
	ConnTOA
	// ConnProxyV1, ConnProxyV2: what it carries begins with a PROXY header of that
	// version. Of TCP, the inbound half's Seq is the number of the client's first
	// byte and its Ack says what lies there instead (lb/stream.go); of UDP, Seq is
	// how many datagrams carried the header.
	ConnProxyV1
	ConnProxyV2
	// ConnProxyInsecure: a header that the client sent is believed.
	ConnProxyInsecure
	// ConnUOAOption, ConnUOAProtocol: its first datagrams carry the client's address
	// in an IP option, or in IP protocol 248. The inbound half's Seq counts them.
	ConnUOAOption
	ConnUOAProtocol
	// ConnOneWay: the real server answers its clients itself (DR, Tunnel): there is
	// an inbound half alone.
	ConnOneWay
	// ConnDenied: a list of its service denied its client, so its inbound half is not
	// fast: each packet asks the lists.
	ConnDenied
	// ConnPlaced: In and Out name slots that are its own, or that somebody is moving into.
	// ConnWhole: and its half-flows are there. Without ConnDying it is a connection then;
	// else whoever should have gone on with it is dead, if nobody is at work (adopt.go).
	ConnPlaced
	ConnWhole
)

// NextHop is a neighbour on a link, or the way back to where a client's packet
// came from. The MACs lie as on the wire, so an ARP change is one store of
// DstSrc.
type NextHop struct {
	DstSrc    uint64   // 0  destination MAC (6 bytes), first 2 bytes of the source MAC
	SrcRest   uint32   // 8  last 4 bytes of the source MAC
	Port      uint16   // 12 port index
	MTU       uint16   // 14 of the port or the route
	State     uint32   // 16 atomic: generation << 16 | neighbour state << 8 | HopResolved…
	Confirmed uint32   // 20 tick at which the neighbour last proved to be there
	Used      uint32   // 24 tick at which a packet last went there
	Asked     uint32   // 28 atomic: tick of the last ARP request
	Addr      [16]byte // 32 IPv6 or IPv4-mapped address; for a way back: the MAC in the last 6 bytes
	Key       uint64   // 48 atomic: hash of (port, address, kind); 0 empty, 1 being written, 2 freed
	Probes    uint32   // 56 atomic: requests without answer
	Flags     uint32   // 60 HopStatic, HopBack
}

// Low bits of NextHop.State.
const (
	HopResolved uint32 = 1 << iota // DstSrc may be used
)

// NextHop.Flags.
const (
	HopStatic uint32 = 1 << iota // configured: never asked, never expires
	HopBack                      // a way back, known by its MAC alone
)

// NextHopRef names a next hop and the generation it was looked up in: index |
// generation << 16. When a route changes, generations go up, and whoever holds
// an old reference looks its route up again. 0 is no next hop.
type NextHopRef = uint32

package packet

// Headroom is the free space in front of a received frame, in bytes: room for
// a longer link header, a tunnel header, or options.
const Headroom = 256

// Sizes of packet memory in bytes. Small frames are the AF_XDP chunk size; big
// ones take a GSO super-frame (64 KiB and its headers) from AF_PACKET.
const (
	SmallFrame = 2048
	BigFrame   = Headroom + 65536 + 256
)

// Flags are facts about a packet that more than one stage needs.
type Flags uint16

// The flags.
const (
	// CsumPartial: the L4 checksum field holds only the pseudo-header's sum
	// (Linux CHECKSUM_PARTIAL). Who sends the packet completes it: the port's
	// hardware or kernel (vnet header), or FinishChecksum.
	CsumPartial Flags = 1 << iota
	// GSO: a super-frame that the sending port has to segment, GSOSize bytes
	// of payload each.
	GSO
	// Broadcast and Multicast: the link-layer destination was one.
	Broadcast
	Multicast
	// Plain: Keyed, without IP options, and of TCP with no options but timestamp
	// and SACK: what an established half-flow may forward without a closer look.
	Plain
	// Related: an ICMP error whose inner packet belongs to a connection.
	Related
	// Ours: made by the director itself (ARP, ICMP, RST): not counted as
	// forwarded, and no ICMP error is ever sent about it.
	Ours
	// Keyed: ip.Input found a TCP or UDP packet that is not a fragment, with a
	// complete L4 header, or an ICMP echo, and set Key0, Key1, Hash and, of TCP,
	// TCPFlags.
	Keyed
	// Encapsulated: an IP packet in an IP packet (Tunnel mode). EtherType and L3 are
	// of the outer header, which has no options or extension headers; the inner one
	// follows at once, its version says its family, and L4 is its transport header.
	// No device segments it or completes its checksums.
	Encapsulated
	// Cut: leaves in IP fragments of MTU bytes at most, if it is longer: it came in
	// fragments, or its way is too narrow and its sender allows it.
	Cut
	// Linux: sent by the host's own kernel on the .kni twin of the port that it leaves
	// by: unrouted, and not counted as forwarded.
	Linux
	// Tunnelled: a tunnel device's: the packet that was to leave by it, counted then, is
	// in this one. Made by the director, and no ICMP error is sent about it.
	Tunnelled
)

// GSO types, as in struct virtio_net_hdr.
const (
	GSONone  = 0
	GSOTCPv4 = 1
	GSOUDP   = 3
	GSOTCPv6 = 4
	GSOUDPL4 = 5
	GSOECN   = 0x80 // flag bit
)

// Learnt is what the stages find out about a packet, step by step, and what a new
// packet begins without: one struct, so that it is forgotten in two stores.
type Learnt struct {
	L3, L4    uint16 // offsets in Data of the network and the transport header
	In, Out   uint16 // port indexes: received on, to be sent on
	EtherType uint16 // of the payload, after any VLAN tag
	Proto     uint8  // IP protocol, set by ip.Input; of IPv6 that behind all extension headers
	Verdict   Verdict
	Reason    Reason
	TCPFlags  uint8 // of a Keyed TCP packet
	GSOType   uint8
	_         uint8
	GSOSize   uint16
	MTU       uint16 // with Refuse for IPTooBig: the MTU to tell the sender; with Cut: the longest piece, of the inner packet in a tunnel
	Flags     Flags
	NextHop   uint32 // flow.NextHopRef; 0: not known yet
}

// Packet is one frame and what the stages learnt about it. It is worker-owned:
// whoever holds the pointer owns packet and memory. Multi-byte fields are in
// host byte order unless said otherwise.
type Packet struct {
	// Data is the frame, link header first. Stages shorten and lengthen it
	// with Prepend, TrimFront and Resize, never by slicing themselves, so
	// that memory and Data stay together.
	Data []byte

	// Key0 is source and destination address (of IPv6 flow.Fold of them), Key1 ports
	// and protocol, in the layout of flow.Half; Hash is flow.Hash of them. Valid iff Keyed.
	Key0, Key1, Hash uint64

	Learnt

	mem   []byte // the whole frame memory: headroom, then Data
	head  uint32 // Data starts at mem[head]
	frame uint32 // small frame number in the pool's arena, or big index | bigBit
	pool  *Pool
}

// Prepend makes Data n bytes longer at the front and reports whether there was
// room. The new bytes are not cleared.
func (p *Packet) Prepend(n int) bool {
	if uint32(n) > p.head {
		return false
	}
	p.head -= uint32(n)
	p.Data = p.mem[p.head : int(p.head)+n+len(p.Data)]
	return true
}

// TrimFront makes Data n bytes shorter at the front. n must not exceed its length.
func (p *Packet) TrimFront(n int) {
	p.head += uint32(n)
	p.Data = p.Data[n:]
}

// Resize sets the length of Data, cutting or extending at the end, and reports
// whether the memory was large enough. Extended bytes are not cleared.
func (p *Packet) Resize(n int) bool {
	if n > len(p.mem)-int(p.head) {
		return false
	}
	p.Data = p.mem[p.head : int(p.head)+n]
	return true
}

// Reset forgets all that stages learnt and empties Data, leaving headroom of
// head bytes in front.
func (p *Packet) Reset(head int) {
	p.head = uint32(head)
	p.Data = p.mem[head:head]
	p.Learnt = Learnt{}
}

// DropFor sets the reason and returns Drop: `return p.DropFor(packet.IPTTL)`.
func (p *Packet) DropFor(r Reason) Verdict {
	p.Reason = r
	return Drop
}

// RefuseFor sets the reason and returns Refuse: the sender gets the ICMP error
// that belongs to it.
func (p *Packet) RefuseFor(r Reason) Verdict {
	p.Reason = r
	return Refuse
}

// PuntFor sets what the packet would be dropped for if there were no twin, and
// returns Punt: the host's kernel gets it. By that the punts are counted.
func (p *Packet) PuntFor(r Reason) Verdict {
	p.Reason = r
	return Punt
}

// PuntIf is PuntFor if the port that the packet came in on has a twin that is up
// (port.Facts.Twin), else DropFor.
func (p *Packet) PuntIf(twin bool, r Reason) Verdict {
	if twin {
		return p.PuntFor(r)
	}
	return p.DropFor(r)
}

// CutTo has a packet that is longer than its way, room bytes, leave in fragments,
// and reports whether that may be: not if its sender forbids it, unless it came in
// fragments that fit. Every sender of an IPv6 packet forbids it. Super-frames are
// segmented, not fragmented.
func (p *Packet) CutTo(room int, dontFragment bool) bool {
	came := p.Flags&Cut != 0
	if p.Flags&GSO != 0 || room < 68 || dontFragment && (!came || int(p.MTU) > room) {
		return false
	}
	if !came || int(p.MTU) > room {
		p.Flags |= Cut
		p.MTU = uint16(min(room, 65535))
	}
	return true
}

// Is reports whether all flags of f are set.
func (p *Packet) Is(f Flags) bool { return p.Flags&f == f }

// Mem returns the whole frame memory, for drivers.
func (p *Packet) Mem() []byte { return p.mem }

// Head returns the offset of Data in Mem, for drivers.
func (p *Packet) Head() int { return int(p.head) }

// Frame returns the small frame's number in its pool's arena and true, or
// false when the memory is a big frame outside of the arena.
func (p *Packet) Frame() (uint32, bool) { return p.frame &^ bigBit, p.frame&bigBit == 0 }

// Pool returns the pool the packet came from.
func (p *Packet) Pool() *Pool { return p.pool }

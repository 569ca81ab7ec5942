package flow

import (
	"encoding/binary"
	"net/netip"
	"sync/atomic"
	"unsafe"
)

// Half-flows of IPv6 packets lie in an array of their own, in slots of two lines. Its first line is a Half, and moves in and
// out as all do (slot.go); the second one has the addresses.

func (t *Table) wide(slot uint64) *Wide {
	return (*Wide)(unsafe.Add(t.wides, uintptr(slot)*WideSize))
}

// wideHome is where a search for hash begins.
func (t *Table) wideHome(hash uint64) *Wide { return t.wide(Home(hash, t.wideHomes)) }

// next is the half-flow behind one.
func (w *Wide) next() *Wide { return (*Wide)(unsafe.Add(unsafe.Pointer(w), WideSize)) }

// Wide returns the wide half-flow that a half is the first line of, or nil for one
// of IPv4.
func (t *Table) Wide(h *Half) *Wide {
	if at := uintptr(unsafe.Pointer(h)) - uintptr(t.wides); at < uintptr(t.wideHomes+ProbeMax)*WideSize {
		return (*Wide)(unsafe.Pointer(h))
	}
	return nil
}

// The wide array may have less room than there are connections. Then its half-flows are
// counted, those that rest too, as connections are by their indexes, so that it is never
// fuller than the other one.

// wideOf is how many of a connection's half-flows are wide, if they are counted; else 0.
func (t *Table) wideOf(c *Conn) (n int64) {
	if t.wideMost == 0 {
		return 0
	}
	n = int64(c.In >> 31)
	if c.Out != c.In {
		n += int64(c.Out >> 31)
	}
	return n
}

// admit counts the wide ones of half-flows that are to come; out may be nil. It reports how
// many it counted, and false if there is no room for them.
func (t *Table) admit(in, out *Flow) (n int64, ok bool) {
	if t.wideMost == 0 {
		return 0, true
	}
	if in.Wide {
		n++
	}
	if out != nil && out.Wide {
		n++
	}
	if n > 0 && t.wideUsed.Add(n) > t.wideMost {
		t.wideUsed.Add(-n)
		return 0, false
	}
	return n, true
}

// WideScarce reports whether less than an eighth of the room for IPv6 is free, if it has less
// than there are connections.
func (t *Table) WideScarce() bool {
	return t.wideMost != 0 && t.wideUsed.Load() > t.wideMost-t.wideMost/8
}

// FindWide is Find for an IPv6 packet with these addresses, as they lie in its header.
// They are compared themselves, not what they fold to.
func (t *Table) FindWide(k1, hash uint64, addrs *[32]byte) (*Wide, uint64) {
	want := k1 | FlagValid
	w := t.wideHome(hash)
	for range ProbeMax {
		k := atomic.LoadUint64(&w.Half.Key1)
		if (k^want)&matchMask == 0 && w.Bears(addrs) {
			return w, k
		}
		if k == 0 {
			return nil, 0
		}
		w = w.next()
	}
	return nil, 0
}

// Nearest returns the half-flow that lies where a search begins, whose it may be, and
// its Key1. It is the one of an IPv6 packet's tuple if Matches and Bears say so: for
// nearly all packets, which are spared a call of FindWide.
func (t *Table) Nearest(hash uint64) (*Wide, uint64) {
	w := t.wideHome(hash)
	return w, atomic.LoadUint64(&w.Half.Key1)
}

// Matches reports whether the Key1 of a half-flow is that of packets with a Key1.
func Matches(found, k1 uint64) bool { return (found^(k1|FlagValid))&matchMask == 0 }

// Bears reports whether the half-flow is that of these addresses. What it reads may
// be another tenant's by now, which Same tells.
func (w *Wide) Bears(addrs *[32]byte) bool {
	return atomic.LoadUint64(&w.Src.Hi) == binary.LittleEndian.Uint64(addrs[0:8]) &&
		atomic.LoadUint64(&w.Src.Lo) == binary.LittleEndian.Uint64(addrs[8:16]) &&
		atomic.LoadUint64(&w.Dst.Hi) == binary.LittleEndian.Uint64(addrs[16:24]) &&
		atomic.LoadUint64(&w.Dst.Lo) == binary.LittleEndian.Uint64(addrs[24:32])
}

// LoadKey copies the addresses that the half-flow's packets bear; LoadNew those they
// get. Each is whole if Same says so afterwards.
func (w *Wide) LoadKey() (src, dst Addr) { return w.Src.load(), w.Dst.load() }

// LoadNew copies the addresses that packets get, if the half-flow keeps any here.
func (w *Wide) LoadNew() (src, dst Addr) { return w.NewSrc.load(), w.NewDst.load() }

func (a *Addr) load() Addr { return Addr{atomic.LoadUint64(&a.Hi), atomic.LoadUint64(&a.Lo)} }

func (a *Addr) store(v Addr) {
	atomic.StoreUint64(&a.Hi, v.Hi)
	atomic.StoreUint64(&a.Lo, v.Lo)
}

// FindFlow returns the half-flow that bears f's tuple, whichever family it is of.
func (t *Table) FindFlow(f *Flow) (*Half, uint64) {
	if !f.Wide {
		return t.Find(f.Key0, f.Key1, t.Hash(f.Key0, f.Key1))
	}
	var b [32]byte
	f.Src.Put(b[0:16])
	f.Dst.Put(b[16:32])
	k0 := Fold(t.seed, &b)
	w, key1 := t.FindWide(f.Key1, t.Hash(k0, f.Key1), &b)
	if w == nil {
		return nil, 0
	}
	return &w.Half, key1
}

// TupleOf is the Flow that bears a tuple, for FindFlow. Addresses are of one family.
func TupleOf(src, dst Addr, sport, dport uint16, proto uint8) (f Flow) {
	if src.Is4() {
		f.Key0, f.Key1 = Tuple(src.V4(), dst.V4(), sport, dport, proto)
		return f
	}
	f.Wide, f.Src, f.Dst = true, src, dst
	_, f.Key1 = Tuple(0, 0, sport, dport, proto)
	return f
}

// Key returns the addresses that a half-flow's packets bear. They are whole if Same
// says so afterwards.
func (t *Table) Key(h *Half) (src, dst Addr) {
	if w := t.Wide(h); w != nil {
		return w.LoadKey()
	}
	k := atomic.LoadUint64(&h.Key0)
	return V4(uint32(k)), V4(uint32(k >> 32))
}

// Gets returns the addresses that a half-flow's packets get; with FlagTunnel, those
// of the packet they go into, if it keeps them: an IPv4 half-flow into an IPv6 tunnel
// does not. They are whole if Same says so afterwards.
func (t *Table) Gets(h *Half, key1 uint64) (src, dst Addr) {
	w := t.Wide(h)
	switch cross := key1&FlagCross != 0; {
	case w != nil && !cross:
		return w.LoadNew()
	case w == nil && cross && key1&FlagTunnel != 0:
		return src, dst
	case w == nil && cross:
		dst, src = t.Back(atomic.LoadUint64(&h.NewAddrs)).LoadKey()
		return src, dst
	}
	n := atomic.LoadUint64(&h.NewAddrs)
	return V4(uint32(n)), V4(uint32(n >> 32))
}

// Back returns the other half of the connection of an IPv4 half-flow with FlagCross
// whose NewAddrs was read. Its key, turned round, is what packets get. What was read may be
// another tenant's by now, and no slot: then it is some other one, and Same tells.
func (t *Table) Back(newAddrs uint64) *Wide {
	return t.wide(min(newAddrs, t.wideHomes+ProbeMax-1))
}

// Fold is FoldWords of the addresses as they lie in an IPv6 header. Two pairs fold
// to one number once in 2^64, and nobody who does not know the seed can look for such.
func Fold(seed uint64, a *[32]byte) uint64 {
	return FoldWords(seed, binary.LittleEndian.Uint64(a[0:8]), binary.LittleEndian.Uint64(a[8:16]),
		binary.LittleEndian.Uint64(a[16:24]), binary.LittleEndian.Uint64(a[24:32]))
}

// A Folder is Fold for one seed, whose secrets are made once: Fold of two addresses,
// as they lie in a header, is Src of the first plus Dst of the second.
type Folder [8]uint32

// NewFolder returns the Folder of a seed.
func NewFolder(seed uint64) (f Folder) {
	for i, c := range [4]uint64{hashC1, hashC2, hashC1, hashC2} {
		seed *= c
		seed ^= seed >> 32
		f[2*i], f[2*i+1] = uint32(seed), uint32(seed>>32)
	}
	return f
}

// Src is what the source address adds to the fold.
func (f *Folder) Src(a *[16]byte) uint64 {
	return uint64(binary.LittleEndian.Uint32(a[0:4])+f[0])*uint64(binary.LittleEndian.Uint32(a[4:8])+f[1]) +
		uint64(binary.LittleEndian.Uint32(a[8:12])+f[2])*uint64(binary.LittleEndian.Uint32(a[12:16])+f[3])
}

// Dst is what the destination address adds.
func (f *Folder) Dst(a *[16]byte) uint64 {
	return uint64(binary.LittleEndian.Uint32(a[0:4])+f[4])*uint64(binary.LittleEndian.Uint32(a[4:8])+f[5]) +
		uint64(binary.LittleEndian.Uint32(a[8:12])+f[6])*uint64(binary.LittleEndian.Uint32(a[12:16])+f[7])
}

// mapped is how the last word of an IPv4 address begins (RFC 4291, 2.5.5.2).
const mapped = 0xffff0000

// V4 returns an IPv4 address that was read little-endian.
func V4(w uint32) Addr { return Addr{Lo: uint64(w)<<32 | mapped} }

// Is4 reports whether it is an IPv4 address.
func (a Addr) Is4() bool { return a.Hi == 0 && uint32(a.Lo) == mapped }

// V4 is the inverse of the function V4.
func (a Addr) V4() uint32 { return uint32(a.Lo >> 32) }

// AddrOf returns an address in this form; the zero Addr of none.
func AddrOf(ip netip.Addr) Addr {
	if !ip.IsValid() {
		return Addr{}
	}
	b := ip.As16()
	return AddrAt(b[:])
}

// AddrAt reads the 16 bytes of an IPv6 address.
func AddrAt(b []byte) Addr {
	return Addr{binary.LittleEndian.Uint64(b[0:8]), binary.LittleEndian.Uint64(b[8:16])}
}

// Put writes the address as 16 bytes.
func (a Addr) Put(b []byte) {
	binary.LittleEndian.PutUint64(b[0:8], a.Hi)
	binary.LittleEndian.PutUint64(b[8:16], a.Lo)
}

// IP returns the address as others know it.
func (a Addr) IP() netip.Addr {
	var b [16]byte
	a.Put(b[:])
	return netip.AddrFrom16(b).Unmap()
}

package port_test

import (
	"bytes"
	"net/netip"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"weir/internal/pinned"
	"weir/internal/port"
	"weir/internal/port/afxdp"
	"weir/internal/testkit/netns"
	"weir/internal/wire"
)

// heirs are engines on one cable, one after the other, whose folder outlives them.
type heirs struct {
	far, dir *netns.Namespace
	pins     string
	came     *raw // at the far end of the cable by which flows leave
	sender   *raw
}

func newHeirs(t *testing.T) *heirs {
	t.Helper()
	w := newWorld(t)
	h := &heirs{far: namespace(t, w, "far"), dir: namespace(t, w, "dir")}
	for _, name := range []string{"a", "b"} {
		check(t, netns.Veth(netns.End{In: h.far, Name: name + "1"}, netns.End{In: h.dir, Name: name + "0"}))
	}
	check(t, h.far.Do(func() error {
		l, err := port.FindLink("b1")
		if err != nil {
			return err
		}
		return l.SwitchOn("rx-gro")
	}))
	pins, err := w.Pins("engine")
	check(t, err)
	h.pins = filepath.Join(pins, "weir")
	h.came = openRaw(t, h.far, "b1", wire.EtherTypeIPv4)
	h.sender = openRaw(t, h.far, "a1", testType)
	return h
}

// life is one of them.
type life struct {
	*engineBed
	keep    *pinned.Dir
	program *afxdp.Program
}

// next begins another life, with an engine or without, up to but not with Begin.
func (h *heirs) next(t *testing.T, engine bool, mode afxdp.Mode) *life {
	t.Helper()
	keep, err := pinned.Open(h.pins)
	check(t, err)
	l := &life{engineBed: openEngine(t, keep), keep: keep}
	e := l.engine
	if !engine {
		e = nil
	}
	check(t, h.dir.Do(func() error {
		for id, name := range []string{"a0", "b0"} {
			at, err := port.FindLink(name)
			if err != nil {
				return err
			}
			if err := l.engine.AddDevice(uint16(id), at.Index); err != nil {
				return err
			}
		}
		l.program, err = afxdp.AttachAfter(keep, e, 0, "a0", mode)
		return err
	}))
	return l
}

// end is how a life ends: by itself, or killed, which is the same to what is kept.
func (l *life) end(t *testing.T) {
	t.Helper()
	check(t, l.program.Close())
	l.close(t)
	check(t, l.keep.Close())
}

func (h *heirs) program(t *testing.T) uint32 {
	t.Helper()
	id, err := h.dir.XDP("a0")
	check(t, err)
	return id
}

var (
	heirFrame  = engineFrame(engineClient, engineVIP, 1024, 53, engineMAC, port.MAC{2, 0, 0, 0, 0, 0xa1}, 64)
	heirWant   = engineFrame(engineLIP, engineRS, 1025, 5353, engineNext, port.MAC{2, 0, 0, 0, 0, 0xb0}, 63)
	engineVIP6 = netip.MustParseAddr("2001:db8:10::100")
)

// forwards sends a datagram of the flow, which arrives.
func (h *heirs) forwards(t *testing.T, when string) {
	t.Helper()
	h.sender.send(heirFrame)
	if got := h.came.receive(make([]byte, 2048)); !bytes.Equal(got, heirWant) {
		t.Fatalf("%s there came\n%x\nwant\n%x", when, got, heirWant)
	}
}

// An engine's program goes on when its process has ended, and then gives Linux what is not
// the director's. The next engine's takes its place when that is ready, and loses nothing.
func TestEngineStays(t *testing.T) {
	h := newHeirs(t)
	first := h.next(t, true, afxdp.Native)
	_, err := first.insert(engineLIP, engineRS, 1025, 5353)
	check(t, err)
	check(t, first.engine.SetOwned([]netip.Addr{engineVIP, engineLIP, engineVIP6}))
	var rules [port.Max]afxdp.Rule
	rules[0] = afxdp.Rule{MAC: engineMAC, Takes: true, OpenSum: true}
	rules[1] = afxdp.Rule{MAC: port.MAC{2, 0, 0, 0, 0, 0xb0}, Sends: true, Link: 1}
	check(t, first.engine.SetRules(&rules))
	check(t, first.program.Begin())
	h.forwards(t, "at first")
	first.end(t)
	h.forwards(t, "without a director")
	h.sender.send(seemsOpen(t))
	if got := h.came.receive(make([]byte, 2048)); !bytes.Equal(got[30:34], engineRS.AsSlice()) {
		t.Errorf("of a checksum that looks open there came %x", got)
	}

	dropped, passed := 0, 0
	for _, row := range unattendedFrames() {
		seen := openRaw(t, h.dir, "a0", uint16(untagged(row.frame)[12])<<8|uint16(untagged(row.frame)[13]))
		h.sender.send(row.frame)
		h.sender.send(row.linux)
		frame, marker := untagged(row.frame), untagged(row.linux) // as Linux tells of them
		got := bytes.Clone(seen.receive(make([]byte, 2048)))
		switch passed++; {
		case row.ours && !bytes.Equal(got, marker):
			t.Errorf("%s: Linux got it", row.name)
		case !row.ours && !bytes.Equal(got, frame):
			t.Errorf("%s: Linux did not get it", row.name)
		case !row.ours:
			passed++
		default:
			dropped++
		}
	}
	was := h.program(t)

	second := h.next(t, true, afxdp.Native)
	if id := h.program(t); id != was {
		t.Errorf("before it begins a0 has program %d, and had %d", id, was)
	}
	h.forwards(t, "before the next begins")
	check(t, second.engine.SetOwned([]netip.Addr{engineVIP}))
	// While datagrams come.
	const n = 20000
	sent := make(chan bool)
	go func() {
		defer close(sent)
		for range n {
			h.sender.send(heirFrame)
		}
	}()
	buf := make([]byte, 2048)
	for i := range n {
		if i == n/4 {
			check(t, second.program.Begin())
		}
		if got := h.came.receive(buf); !bytes.Equal(got, heirWant) {
			t.Fatalf("of %d datagrams number %d is %x", n, i, got)
		}
	}
	<-sent
	if id := h.program(t); id == was || id == 0 || !second.program.Stays() {
		t.Errorf("after it began a0 has program %d, and had %d; it stays: %v", id, was, second.program.Stays())
	}
	if got := second.engine.Missed(0); got.Dropped != uint64(dropped) || got.Passed < uint64(passed) {
		t.Errorf("while there was none, it says, %+v came, and there were %d, and %d for Linux", got, dropped, passed)
	}
	second.end(t)

	// A start that fails takes nothing away.
	h.next(t, true, afxdp.Native).end(t)
	h.forwards(t, "after a start that failed")

	// Who has no engine takes the place as well, and leaves nothing; nor does who drives it
	// in another way.
	for _, mode := range []afxdp.Mode{afxdp.Native, afxdp.Generic} {
		l := h.next(t, false, mode)
		h.forwards(t, "before one without an engine begins")
		check(t, h.dir.Do(l.program.Begin))
		check(t, afxdp.TakeAway(l.keep, []*afxdp.Program{l.program}))
		if h.program(t) == 0 || l.program.Stays() {
			t.Errorf("%s: a0 has program %d, and it stays: %v", mode, h.program(t), l.program.Stays())
		}
		l.end(t)
		h.gone(t)
		l = h.next(t, true, afxdp.Native)
		check(t, l.program.Begin())
		l.end(t)
	}

	// What is kept is thrown away (--fresh): the program forwards until the next begins.
	keep, err := pinned.Open(h.pins)
	check(t, err)
	was = h.program(t)
	check(t, keep.Clear())
	check(t, keep.Close())
	h.forwards(t, "after all else was thrown away")
	fresh := h.next(t, true, afxdp.Native)
	check(t, fresh.program.Begin())
	if id := h.program(t); id == was || id == 0 {
		t.Errorf("after a fresh one began a0 has program %d, and had %d", id, was)
	}
	fresh.end(t)

	// Nobody drives it any more.
	keep, err = pinned.Open(h.pins)
	check(t, err)
	check(t, afxdp.TakeAway(keep, nil))
	h.gone(t)
	check(t, keep.Close())
}

// gone waits until there is no program.
func (h *heirs) gone(t *testing.T) {
	t.Helper()
	for until := time.Now().Add(deadline); h.program(t) != 0; runtime.Gosched() {
		if time.Now().After(until) {
			t.Fatalf("a0 still has program %d", h.program(t))
		}
	}
}

// A folder that is removed has the program go; another interface of the same number is not
// taken for its own.
func TestEngineIsRemoved(t *testing.T) {
	h := newHeirs(t)
	l := h.next(t, true, afxdp.Native)
	check(t, l.program.Begin())
	l.end(t)
	// A namespace whose interface has that number: a veth each, in the same order.
	w := newWorld(t)
	far, dir := namespace(t, w, "far"), namespace(t, w, "dir")
	check(t, netns.Veth(netns.End{In: far, Name: "a1"}, netns.End{In: dir, Name: "a0"}))
	was := h.program(t)
	there := &heirs{far: far, dir: dir, pins: h.pins}
	keep, err := pinned.Open(h.pins)
	check(t, err)
	b := openEngine(t, keep)
	check(t, dir.Do(func() error {
		pr, err := afxdp.AttachAfter(keep, b.engine, 0, "a0", afxdp.Native)
		if err != nil {
			return err
		}
		defer pr.Close()
		if id := there.program(t); id == 0 || id == was {
			t.Errorf("it has program %d, and the other's is %d", id, was)
		}
		return nil
	}))
	if id := h.program(t); id != was {
		t.Errorf("the first has program %d, and had %d", id, was)
	}
	b.close(t)
	check(t, keep.Remove())
	h.gone(t)
}

// seemsOpen is a datagram of the flow whose checksum is right, and is what a sender writes
// who leaves it to his card, too.
func seemsOpen(t *testing.T) []byte {
	f := bytes.Clone(heirFrame)
	ip := wire.IPv4(f[14:])
	pseudo := uint32(wire.ProtoUDP) + 26
	for i := 12; i < 20; i += 2 {
		pseudo += uint32(ip[i])<<8 | uint32(ip[i+1])
	}
	for pseudo > 0xffff {
		pseudo = pseudo>>16 + pseudo&0xffff
	}
	for x := range 1 << 16 {
		f[58], f[59] = byte(x>>8), byte(x)
		f[40], f[41] = 0, 0
		wire.CompleteL4(ip)
		if uint32(f[40])<<8|uint32(f[41]) == pseudo {
			return f
		}
	}
	t.Fatal("there is none")
	return nil
}

// untagged is a frame without the tag of a VLAN.
func untagged(f []byte) []byte {
	if f[12] != 0x81 {
		return f
	}
	return append(bytes.Clone(f[:12]), f[16:]...)
}

// unattendedFrame is one that comes while no director runs: his, or Linux's.
type unattendedFrame struct {
	name  string
	frame []byte
	ours  bool
	linux []byte // of the same ethertype, and Linux's
}

func unattendedFrames() []unattendedFrame {
	from := port.MAC{2, 0, 0, 0, 0, 0xa1}
	other, other6 := netip.MustParseAddr("10.0.0.66"), netip.MustParseAddr("2001:db8:10::66")
	udp := func(dst netip.Addr, sport uint16) []byte {
		return engineFrame(engineClient, dst, sport, 99, engineMAC, from, 64)
	}
	tagged := func(f []byte) []byte {
		return append(append(bytes.Clone(f[:12]), 0x81, 0, 0, 7), f[12:]...)
	}
	arp := func(who netip.Addr) []byte {
		f := make([]byte, 60)
		copy(f, "\xff\xff\xff\xff\xff\xff\x02\x00\x00\x00\x00\xa1\x08\x06\x00\x01\x08\x00\x06\x04\x00\x01\x02\x00\x00\x00\x00\xa1")
		copy(f[28:], engineClient.AsSlice())
		copy(f[38:], who.AsSlice())
		return f
	}
	ip6 := func(dst netip.Addr, next byte, payload []byte) []byte {
		f := make([]byte, 54, 54+len(payload))
		copy(f, engineMAC[:])
		copy(f[6:], from[:])
		copy(f[12:], "\x86\xdd\x60\x00\x00\x00\x00")
		f[19], f[20], f[21] = byte(len(payload)), next, 64
		copy(f[22:], netip.MustParseAddr("2001:db8:10::1").AsSlice())
		copy(f[38:], dst.AsSlice())
		return append(f, payload...)
	}
	group := netip.MustParseAddr("ff02::1:ff00:100")
	solicit := func(who netip.Addr) []byte {
		return ip6(group, 58, append([]byte{135, 0, 0, 0, 0, 0, 0, 0}, who.AsSlice()...))
	}
	// Of the flow, and yet for the workers; and its port with a protocol that has no flow.
	old := engineFrame(engineClient, engineVIP, 1024, 53, engineMAC, from, 1)
	back := engineFrame(engineRS, engineLIP, 5353, 1025, engineMAC, from, 1)
	ip, ip6l, arpl, tagl := udp(other, 7), ip6(other6, 17, make([]byte, 8)), arp(other), tagged(udp(other, 7))
	return []unattendedFrame{
		{"for a service", udp(engineVIP, 5), true, ip},
		{"for a local address", udp(engineLIP, 5), true, ip},
		{"of a flow, its TTL at the end", old, true, ip},
		{"of the flow back", back, true, ip},
		{"for another address", udp(other, 5), false, ip},
		{"for a service, tagged", tagged(udp(engineVIP, 5)), true, tagl},
		{"for another address, tagged", tagged(udp(other, 5)), false, tagl},
		{"who has the VIP", arp(engineVIP), true, arpl},
		{"who has another address", arp(netip.MustParseAddr("10.0.0.67")), false, arpl},
		{"IPv6 for a service", ip6(engineVIP6, 6, make([]byte, 20)), true, ip6l},
		{"IPv6, an echo request to the VIP", ip6(engineVIP6, 58, []byte{128, 0, 0, 0, 0, 0, 0, 0}), true, ip6l},
		{"IPv6, who has the VIP", solicit(engineVIP6), true, ip6l},
		{"IPv6, who has another address", solicit(netip.MustParseAddr("2001:db8:10::67")), false, ip6l},
		{"IPv6 for another address", ip6(other6, 6, make([]byte, 20)), false, ip6l},
		{"IPv6, cut short", ip6(other6, 6, nil)[:40], false, ip6l},
	}
}

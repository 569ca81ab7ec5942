package port_test

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"weir/internal/flow"
	"weir/internal/lb/forward"
	"weir/internal/port"
	"weir/internal/port/afxdp"
	"weir/internal/wire"
)

// The same ends with IPv6 addresses.
var (
	aheadClient6, aheadVIP6 = netip.MustParseAddr("2001:db8::10:1"), netip.MustParseAddr("2001:db8::100")
	aheadLIP6, aheadRS6     = netip.MustParseAddr("fd00::200"), netip.MustParseAddr("fd00::2")
)

// insert6 makes the flow of IPv6.
func (b *engineBed) insert6(t *testing.T) {
	t.Helper()
	in, out := forward.FullNAT(&forward.Ends{
		Proto: wire.ProtoUDP, Client: flow.AddrOf(aheadClient6), Virtual: flow.AddrOf(aheadVIP6), Local: flow.AddrOf(aheadLIP6), Real: flow.AddrOf(aheadRS6),
		ClientPort: swapped(1024), VirtualPort: swapped(53), LocalPort: swapped(1025), RealPort: swapped(5353),
	})
	in.NextHop, out.NextHop, in.Fast, out.Fast = b.hop, b.hop, true, true
	w := b.table.Worker(0)
	w.Begin(b.now)
	_, err := w.Insert(&in, &out, &flow.NewConn{Timeout: 1 << 20}, b.now)
	check(t, err)
}

// engineFrame6 is a datagram of that flow.
func engineFrame6(src, dst netip.Addr, sport, dport uint16, to, from port.MAC, hops uint8) []byte {
	f := make([]byte, 14+40+26)
	copy(f, to[:])
	copy(f[6:], from[:])
	f[12], f[13] = 0x86, 0xdd
	ip := f[14:]
	ip[0], ip[5], ip[6], ip[7] = 0x60, 26, wire.ProtoUDP, hops
	copy(ip[8:], src.AsSlice())
	copy(ip[24:], dst.AsSlice())
	binary.BigEndian.PutUint16(ip[40:], sport)
	binary.BigEndian.PutUint16(ip[42:], dport)
	binary.BigEndian.PutUint16(ip[44:], 26)
	copy(ip[48:], "what is carried")
	var sum uint32
	for i := 8; i < len(ip); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(ip[i:]))
	}
	for sum += 26 + uint32(wire.ProtoUDP); sum > 0xffff; {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(ip[46:], ^uint16(sum))
	return f
}

// tagged is a frame with the tag of a VLAN.
func tagged(frame []byte, id byte) []byte {
	return append(append(bytes.Clone(frame[:12]), 0x81, 0, 0, id), frame[12:]...)
}

// burst has XDP send n copies of a frame by a1, as another XDP program would: they come to a0 as
// the driver's own frames.
func (c *engineCable) burst(t *testing.T, frame []byte, n uint32) {
	t.Helper()
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.XDP, License: "Dual MIT/GPL",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 3), asm.Return()}, // XDP_TX
	})
	check(t, err)
	defer p.Close()
	check(t, c.far.Do(func() error {
		a1, err := port.FindLink("a1")
		if err != nil {
			return err
		}
		// struct xdp_md: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex.
		md := struct{ Data, End, Meta, In, Queue, Out uint32 }{End: uint32(len(frame)), In: uint32(a1.Index)}
		const live = 1 << 1 // BPF_F_TEST_XDP_LIVE_FRAMES
		_, err = p.Run(&ebpf.RunOptions{Data: frame, Repeat: n, Flags: live, Context: md, BatchSize: 64})
		return err
	}))
}

// On veth the engine's program looks at frames ahead of their turn while the rule says so, and finds
// their half-flows; what becomes of them is the same.
func TestEngineLooksAhead(t *testing.T) {
	c := newEngineCable(t)
	c.insert6(t)
	from := port.MAC{2, 0, 0, 0, 0, 0xa1}
	next := port.MAC{2, 0, 0, 0, 0, 0xb0}
	udp4 := engineFrame(engineClient, engineVIP, 1024, 53, engineMAC, from, 64)
	udp6 := engineFrame6(aheadClient6, aheadVIP6, 1024, 53, engineMAC, from, 64)
	made4 := engineFrame(engineLIP, engineRS, 1025, 5353, engineNext, next, 63)
	made6 := engineFrame6(aheadLIP6, aheadRS6, 1025, 5353, engineNext, next, 63)
	junk := make([]byte, 60)
	copy(junk, engineMAC[:])
	junk[12] = 0x88
	heard6 := openRaw(t, c.far, "b1", wire.EtherTypeIPv6)
	if err := c.program.LookAhead(); err != nil || !c.program.CanLookAhead() {
		t.Fatal(err)
	}
	var rules [port.Max]afxdp.Rule
	for _, row := range []struct {
		name   string
		ahead  bool
		frame  []byte
		want   []byte // what leaves; nil: nothing
		at     *raw
		called bool // half-flows are called in
	}{
		{"IPv4, not asked to", false, udp4, made4, c.heard, false},
		{"IPv4", true, udp4, made4, c.heard, true},
		{"IPv6", true, udp6, made6, heard6, true},
		{"IPv4 with a tag", true, tagged(udp4, 5), made4, c.heard, true},
		{"IPv6 with a tag", true, tagged(udp6, 5), made6, heard6, true},
		{"neither", true, junk, nil, nil, false},
		{"neither, with a tag", true, tagged(junk, 5), nil, nil, false},
		{"of no flow", true, engineFrame(engineClient, engineVIP, 1025, 53, engineMAC, from, 64), nil, nil, false},
		{"shorter than its headers", true, udp4[:34], nil, nil, false},
	} {
		rules[0] = afxdp.Rule{MAC: engineMAC, Takes: true, Ahead: row.ahead}
		rules[1] = afxdp.Rule{MAC: next, Sends: true, Link: 1}
		rules[2] = afxdp.Rule{MAC: engineMAC, Takes: true, Ahead: row.ahead, Tag: 0x81000005}
		check(t, c.engine.SetRules(&rules))
		// How many lie in the ring when the program runs is the kernel's: again, until some did.
		for until := time.Now().Add(deadline); ; {
			const n = 256
			ahead := c.engine.Ahead(0)
			before := c.sent()
			c.burst(t, row.frame, n)
			if row.want == nil {
				if c.sent() != before || c.engine.Ahead(0) != ahead {
					t.Errorf("%s: %d were sent on, half-flows called in for %d", row.name, c.sent()-before, c.engine.Ahead(0)-ahead)
				}
				break
			}
			for range n {
				if got := row.at.receive(make([]byte, 2048)); !bytes.Equal(got, row.want) {
					t.Fatalf("%s: sent\n%x\nand received\n%x\nwant\n%x", row.name, row.frame, got, row.want)
				}
			}
			if sent := c.sent() - before; sent != n {
				t.Errorf("%s: counted %d of %d", row.name, sent, n)
			}
			called := c.engine.Ahead(0) - ahead
			if called > n {
				t.Errorf("%s: half-flows were called in for %d frames of %d", row.name, called, n)
			}
			if !row.called || called > 0 || time.Now().After(until) {
				if (called > 0) != row.called {
					t.Errorf("%s: half-flows were called in for %d frames of %d", row.name, called, n)
				}
				t.Logf("%s: %d of %d", row.name, called, n)
				break
			}
		}
	}
	// What a socket sends is no frame of the driver's.
	ahead := c.engine.Ahead(0)
	openRaw(t, c.far, "a1", testType).send(udp4)
	if got := c.heard.receive(make([]byte, 2048)); !bytes.Equal(got, made4) || c.engine.Ahead(0) != ahead {
		t.Errorf("received %x, %d were called in", got, c.engine.Ahead(0)-ahead)
	}
}

// sent is how many packets left by b0.
func (c *engineCable) sent() (n uint64) {
	for _, in := range []uint16{0, 2} {
		for _, w := range c.engine.Way(in, 1) {
			n += w.Packets
		}
	}
	return n
}

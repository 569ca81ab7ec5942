package ip

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"pgregory.net/rapid"

	"weir/internal/packet"
	"weir/internal/wire"
)

func random(n int) string {
	rnd := rand.New(rand.NewPCG(uint64(n), 7))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rnd.Uint32())
	}
	return string(b)
}

func TestFinishChecksum(t *testing.T) {
	const dpdk0, dpdk1 = 0, 1 // completes nothing; completes and segments
	for _, row := range []struct {
		name      string
		m         made
		open      bool // CsumPartial is set
		out       int
		ok        bool
		right     bool // the field is a complete checksum afterwards
		still     bool // CsumPartial is set afterwards
		completed uint64
	}{
		{"complete, port without offload", made{src: near, dst: vip, proto: 6, l4: tcp(16, nil, "abc")}, false, dpdk0, true, true, false, 0},
		{"complete, port with offload", made{src: near, dst: vip, proto: 6, l4: tcp(16, nil, "abc")}, false, dpdk1, true, true, false, 0},
		{"open TCP, port without offload", made{src: near, dst: vip, proto: 6, l4: tcp(16, nil, "abc"), partial: true}, true, dpdk0, true, true, false, 1},
		{"open UDP, port without offload", made{src: near, dst: vip, proto: 17, l4: udp("abcd"), partial: true}, true, dpdk0, true, true, false, 1},
		{"open TCP, port with offload", made{src: near, dst: vip, proto: 6, l4: tcp(16, nil, "abc"), partial: true}, true, dpdk1, true, false, true, 0},
		{"open, but of no protocol we know", made{src: near, dst: vip, proto: 89, l4: tcp(16, nil, "abc")}, true, dpdk0, false, false, true, 0},
		{"open, but a fragment", made{src: near, dst: vip, proto: 17, l4: udp("abc"), change: func(ip wire.IPv4) { ip.SetFlagsFragment(0x2000) }}, true, dpdk1, false, false, true, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			b := newBed(t, 4)
			p := b.packet(row.m)
			defer b.pool.Put(p)
			ip := wire.IPv4(p.Data[14:])
			if row.open {
				p.Flags |= packet.CsumPartial
				ip.SetSrc(own1.As4()) // rewritten since: the open sum is of other addresses
				ip.ComputeChecksum()
			}
			if ok := b.FinishChecksum(p, &facts[row.out]); ok != row.ok {
				t.Fatalf("FinishChecksum = %v", ok)
			}
			if row.ok && (wire.L4ChecksumOK(ip) != row.right || wire.IsPartialL4(ip) != row.still) {
				t.Errorf("checksum right: %v, partial: %v", wire.L4ChecksumOK(ip), wire.IsPartialL4(ip))
			}
			if p.Is(packet.CsumPartial) != row.still || b.stats.CsumCompleted != row.completed {
				t.Errorf("flags %b, %d completed", p.Flags, b.stats.CsumCompleted)
			}
		})
	}
}

func TestSegmentTCP(t *testing.T) {
	b := newBed(t, 64)
	data := random(4000)
	p := b.packet(made{src: near, dst: vip, proto: 6, l4: tcp(wire.TCPAck|wire.TCPPsh|wire.TCPFin|wire.TCPCwr, []byte{1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8}, data),
		df: true, ttl: 17, partial: true, gsoType: packet.GSOTCPv4 | packet.GSOECN, gsoSize: 1448})
	defer b.pool.Put(p)
	p.Flags |= packet.CsumPartial | packet.Plain | packet.Keyed
	p.In, p.Out, p.NextHop, p.L4, p.Key0, p.Hash = 1, 3, 99, 34, 5, 6
	var out [MaxSegments]*packet.Packet
	n, ok := b.Segment(p, b.pool, out[:])
	if !ok || n != 3 {
		t.Fatalf("%d pieces, %v (%v)", n, ok, p.Reason)
	}
	var whole []byte
	for i, g := range out[:n] {
		ip := wire.IPv4(g.Data[14:])
		seg := wire.TCP(ip.Payload())
		size := []int{1448, 1448, 1104}[i]
		flags := []uint8{wire.TCPAck | wire.TCPCwr, wire.TCPAck, wire.TCPAck | wire.TCPPsh | wire.TCPFin}[i]
		if !bytes.Equal(g.Data[:14], p.Data[:14]) {
			t.Errorf("piece %d: link header %x", i, g.Data[:14])
		}
		if len(g.Data) != 14+20+32+size || int(ip.TotalLength()) != len(ip) || ip.ID() != 0x1000+uint16(i) || ip.TTL() != 17 || !ip.DontFragment() || !ip.ChecksumOK() {
			t.Errorf("piece %d: %d bytes, IP %x", i, len(g.Data), g.Data[14:34])
		}
		if seg.Seq() != 1000+uint32(i*1448) || seg.Ack() != 2000 || seg.Flags() != flags || !wire.L4ChecksumOK(ip) || !bytes.Equal(seg[20:32], p.Data[54:66]) {
			t.Errorf("piece %d: TCP %x", i, []byte(seg[:32]))
		}
		if g.Flags != packet.Plain|packet.Keyed || g.In != 1 || g.Out != 3 || g.NextHop != 99 || g.L3 != 14 || g.L4 != 34 || g.Key0 != 5 || g.Hash != 6 || g.TCPFlags != flags {
			t.Errorf("piece %d: %+v", i, g)
		}
		if j := gopacket.NewPacket(g.Data, layers.LayerTypeEthernet, gopacket.Default); j.ErrorLayer() != nil || j.TransportLayer() == nil {
			t.Errorf("gopacket can't read piece %d", i)
		}
		whole = append(whole, seg[seg.DataOffset():]...)
		b.pool.Put(g)
	}
	if string(whole) != data {
		t.Error("the pieces are not the whole")
	}
	if b.stats.GSOSegmented != 1 {
		t.Errorf("%d counted", b.stats.GSOSegmented)
	}
}

func TestSegmentUDP(t *testing.T) {
	b := newBed(t, 64)
	data := random(2500)
	p := b.packet(made{src: near, dst: vip, proto: 17, l4: udp(data), partial: true, gsoType: packet.GSOUDPL4, gsoSize: 1000})
	defer b.pool.Put(p)
	var out [MaxSegments]*packet.Packet
	n, ok := b.Segment(p, b.pool, out[:])
	if !ok || n != 3 {
		t.Fatalf("%d pieces, %v", n, ok)
	}
	var whole []byte
	for i, g := range out[:n] {
		ip := wire.IPv4(g.Data[14:])
		d := wire.UDP(ip.Payload())
		if size := []int{1000, 1000, 500}[i]; int(d.Length()) != 8+size || len(d) != 8+size || !wire.L4ChecksumOK(ip) || d.Checksum() == 0 || !ip.ChecksumOK() || d.SrcPort() != 5000 || d.DstPort() != 53 {
			t.Errorf("piece %d: %x", i, g.Data[:42])
		}
		whole = append(whole, d[8:]...)
		b.pool.Put(g)
	}
	if string(whole) != data {
		t.Error("the pieces are not the whole")
	}
}

// Segments of jumbo frames lie on big frames.
func TestSegmentJumbo(t *testing.T) {
	b := newBed(t, 8)
	p := b.packet(made{src: near, dst: vip, proto: 6, l4: tcp(16, nil, random(8000)), gsoType: packet.GSOTCPv4, gsoSize: 8960})
	var out [4]*packet.Packet
	n, ok := b.Segment(p, b.pool, out[:])
	if !ok || n != 1 || len(out[0].Data) != len(p.Data) || !wire.L4ChecksumOK(wire.IPv4(out[0].Data[14:])) {
		t.Fatalf("%d pieces, %v", n, ok)
	}
	b.pool.Put(out[0])
	// Both big frames are used now: there is none for the second.
	q := b.packet(made{src: near, dst: vip, proto: 6, l4: tcp(16, nil, random(8000)), gsoType: packet.GSOTCPv4, gsoSize: 4000})
	if n, ok := b.Segment(q, b.pool, out[:]); ok || n != 0 || q.Reason != packet.PoolEmpty {
		t.Errorf("%d pieces, %v %v", n, ok, q.Reason)
	}
	b.pool.Put(p)
	b.pool.Put(q)
}

func TestSegmentRefuses(t *testing.T) {
	data := random(4000)
	base := made{src: near, dst: vip, proto: 6, l4: tcp(16, nil, data), gsoType: packet.GSOTCPv4, gsoSize: 1448}
	with := func(f func(m *made)) made { m := base; f(&m); return m }
	for _, row := range []struct {
		name   string
		m      made
		frames int
		room   int
		reason packet.Reason
	}{
		{"no size", with(func(m *made) { m.gsoSize = 0 }), 64, MaxSegments, packet.IPGSONoOffload},
		{"TCP over IPv6", with(func(m *made) { m.gsoType = packet.GSOTCPv6 }), 64, MaxSegments, packet.IPGSONoOffload},
		{"UDP fragments", with(func(m *made) { m.gsoType, m.proto, m.l4 = packet.GSOUDP, 17, udp(data) }), 64, MaxSegments, packet.IPGSONoOffload},
		{"TCP that says it is UDP", with(func(m *made) { m.gsoType = packet.GSOUDPL4 }), 64, MaxSegments, packet.IPGSONoOffload},
		{"more pieces than room", base, 64, 2, packet.IPGSONoOffload},
		{"more pieces than a bound", with(func(m *made) { m.gsoSize = 1 }), 64, MaxSegments, packet.IPGSONoOffload},
		{"no payload", with(func(m *made) { m.l4 = tcp(16, nil, "") }), 64, MaxSegments, packet.IPGSONoOffload},
		{"a fragment", with(func(m *made) { m.change = func(ip wire.IPv4) { ip.SetFlagsFragment(1) } }), 64, MaxSegments, packet.IPGSONoOffload},
		{"data offset that lies", with(func(m *made) { m.spoil = func(ip wire.IPv4) { wire.TCP(ip[20:]).SetDataOffset(4) } }), 64, MaxSegments, packet.IPGSONoOffload},
		{"length that lies", with(func(m *made) { m.spoil = func(ip wire.IPv4) { ip.SetTotalLength(9999) } }), 64, MaxSegments, packet.IPGSONoOffload},
		{"no memory for all", base, 2, MaxSegments, packet.PoolEmpty},
	} {
		t.Run(row.name, func(t *testing.T) {
			b := newBed(t, row.frames)
			p := b.packet(row.m)
			defer b.pool.Put(p)
			used := b.pool.InUse()
			n, ok := b.Segment(p, b.pool, make([]*packet.Packet, row.room))
			if ok || n != 0 || p.Reason != row.reason || b.pool.InUse() != used || b.stats.GSOSegmented != 0 {
				t.Errorf("%d pieces, %v, %v, %d packets more in use", n, ok, p.Reason, b.pool.InUse()-used)
			}
		})
	}
}

func TestSegmentDoesNotAllocate(t *testing.T) {
	b := newBed(t, 64)
	p := b.packet(made{src: near, dst: vip, proto: 6, l4: tcp(16, nil, random(4000)), gsoType: packet.GSOTCPv4, gsoSize: 1448})
	defer b.pool.Put(p)
	var out [MaxSegments]*packet.Packet
	if n := testing.AllocsPerRun(50, func() {
		n, ok := b.Segment(p, b.pool, out[:])
		if !ok {
			t.Fatal(p.Reason)
		}
		for _, g := range out[:n] {
			b.pool.Put(g)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// Whatever the sizes: put together, the pieces are the whole.
func TestSegmentAgainstWhole(t *testing.T) {
	b := newBed(t, 256)
	rapid.Check(t, func(t *rapid.T) {
		data := random(rapid.IntRange(1, 30000).Draw(t, "payload"))
		mss := rapid.IntRange(300, 1460).Draw(t, "mss")
		isUDP := rapid.Bool().Draw(t, "UDP")
		m := made{src: near, dst: vip, proto: 6, l4: tcp(16, nil, data), gsoType: packet.GSOTCPv4, gsoSize: uint16(mss)}
		if isUDP {
			m.proto, m.l4, m.gsoType = 17, udp(data), packet.GSOUDPL4
		}
		p := b.packet(m)
		defer b.pool.Put(p)
		var out [MaxSegments]*packet.Packet
		n, ok := b.Segment(p, b.pool, out[:])
		if want := (len(data) + mss - 1) / mss; ok != (want <= MaxSegments) || ok && n != want {
			t.Fatalf("%d pieces, %v, want %d", n, ok, want)
		}
		var whole []byte
		for _, g := range out[:n] {
			ip := wire.IPv4(g.Data[14:])
			if !ip.ChecksumOK() || !wire.L4ChecksumOK(ip) {
				t.Error("a piece's checksum is wrong")
			}
			head := wire.UDPLen
			if !isUDP {
				head = wire.TCPMinLen
				if seq := wire.TCP(ip.Payload()).Seq(); seq != 1000+uint32(len(whole)) {
					t.Errorf("sequence number %d after %d bytes", seq, len(whole))
				}
			}
			whole = append(whole, ip.Payload()[head:]...)
			b.pool.Put(g)
		}
		if ok && string(whole) != data {
			t.Error("the pieces are not the whole")
		}
	})
}

func FuzzSegment(f *testing.F) {
	f.Add(append([]byte{0x45, 0, 0, 60, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 7, 10, 0, 0, 2}, tcp(16, nil, "12345678901234567890")...), uint16(7), uint8(packet.GSOTCPv4))
	f.Add(append([]byte{0x45, 0, 0, 48, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 7, 10, 0, 0, 2}, udp("12345678901234567890")...), uint16(7), uint8(packet.GSOUDPL4))
	b := newBed(f, 64)
	f.Fuzz(func(t *testing.T, data []byte, size uint16, kind uint8) {
		if len(data) > packet.SmallFrame-packet.Headroom-14 {
			return
		}
		defer b.empty(t)
		p := b.pool.Get()
		defer b.pool.Put(p)
		p.Resize(14 + len(data))
		clear(p.Data)
		copy(p.Data[14:], data)
		p.L3, p.GSOSize, p.GSOType = 14, size, kind
		p.Flags = packet.GSO | packet.CsumPartial
		before := bytes.Clone(p.Data)
		var out [32]*packet.Packet
		n, ok := b.Segment(p, b.pool, out[:])
		if !bytes.Equal(before, p.Data) {
			t.Error("the frame was changed")
		}
		if ok == (n == 0) || !ok && p.Reason == packet.NoReason {
			t.Errorf("%d pieces, %v, %v", n, ok, p.Reason)
		}
		for _, g := range out[:n] {
			if ip := wire.IPv4(g.Data[14:]); !ip.ChecksumOK() || !wire.L4ChecksumOK(ip) || int(ip.TotalLength()) != len(ip) {
				t.Errorf("piece %x", g.Data)
			}
			b.pool.Put(g)
		}
		b.FinishChecksum(p, &facts[0])
	})
}

func BenchmarkSegment(b *testing.B) {
	n := newBed(b, 128)
	p := n.packet(made{src: near, dst: vip, proto: 6, l4: tcp(16, nil, random(64000)), gsoType: packet.GSOTCPv4, gsoSize: 1448})
	defer n.pool.Put(p)
	b.SetBytes(64000)
	var out [MaxSegments]*packet.Packet
	for b.Loop() {
		k, _ := n.Segment(p, n.pool, out[:])
		for _, g := range out[:k] {
			n.pool.Put(g)
		}
	}
}

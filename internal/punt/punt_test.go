package punt

import (
	"strings"
	"testing"

	"weir/internal/packet"
	"weir/internal/port"
	"weir/internal/stat"
	"weir/internal/testkit/words"
	"weir/internal/wire"
)

// counting is a queue that notes what it is given, and gives what it is told to.
type counting struct {
	port.Queue
	got  []byte // the first byte of each frame
	next []*packet.Packet
}

func (q *counting) Tx(burst []*packet.Packet) {
	for _, p := range burst {
		q.got = append(q.got, p.Data[0])
		p.Pool().Put(p)
	}
}

func (q *counting) Rx(burst []*packet.Packet) int {
	n := copy(burst, q.next)
	q.next = q.next[n:]
	return n
}

func newPool(t *testing.T) *packet.Pool {
	t.Helper()
	pool, err := packet.NewPool(1024, 4)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if n := pool.InUse(); n != 0 {
			t.Errorf("%d packets are lost", n)
		}
		_ = pool.Close()
	})
	return pool
}

// What is given waits in order, PerBreath leave in a breath, and beyond Room none is
// taken; over and over, so that the ring turns.
func TestGiveAndSend(t *testing.T) {
	pool, stats := newPool(t), &stat.Worker{}
	a, b := &counting{}, &counting{}
	twins := New(stats)
	twins.Add(3, a)
	twins.Add(5, b)
	up := &port.Facts{Twin: true}
	var want [2][]byte
	const each = 11
	given := 0
	for round := range 50 {
		for i := range each {
			p := pool.Get()
			p.Resize(60)
			p.In, p.Reason = 3, packet.IPMulticast
			if i%3 == 2 {
				p.In = 5
			}
			p.Data[0] = byte(round*each + i)
			if why := twins.Give(p, up); why != packet.NoReason {
				if why != packet.PuntFull || twins.Held() != Room {
					t.Fatalf("packet %d is refused: %s, %d wait", given, why, twins.Held())
				}
				pool.Put(p)
				continue
			}
			given++
			want[p.In/5] = append(want[p.In/5], p.Data[0])
		}
		if round%2 == 0 {
			before := len(a.got) + len(b.got)
			twins.Send(port.Burst + round)
			if n := len(a.got) + len(b.got) - before; n != PerBreath {
				t.Fatalf("%d packets in a breath", n)
			}
		}
	}
	if given == 50*each {
		t.Error("nothing was refused")
	}
	for twins.Send(port.Burst) {
	}
	if string(a.got) != string(want[0]) || string(b.got) != string(want[1]) || len(a.got)+len(b.got) != given {
		t.Errorf("Linux got %d and %d packets of %d, in another order", len(a.got), len(b.got), given)
	}
	if stats.Punted() != uint64(given) || stats.Punts[packet.IPMulticast] != uint64(given) {
		t.Errorf("%d are counted, of %d", stats.Punted(), given)
	}
}

// Whatever floods Linux, the others get their turn.
func TestKindsTakeTurns(t *testing.T) {
	pool := newPool(t)
	q := &counting{}
	twins := New(&stat.Worker{})
	twins.Add(0, q)
	give := func(mark byte, why packet.Reason, proto uint8) packet.Reason {
		p := pool.Get()
		p.Resize(60)
		p.Data[0], p.Reason, p.Proto = mark, why, proto
		refused := twins.Give(p, &port.Facts{Twin: true})
		if refused != packet.NoReason {
			pool.Put(p)
		}
		return refused
	}
	for range 2 * Room {
		give('s', packet.LBNoService, wire.ProtoTCP)
	}
	for _, row := range []struct {
		mark  byte
		why   packet.Reason
		proto uint8
	}{
		{'m', packet.IPMulticast, wire.ProtoOSPF}, {'o', packet.IPNoListener, wire.ProtoOSPF}, {'a', packet.ARPConsumed, 0}, {'n', packet.NDNotOurs, wire.ProtoICMPv6},
		{'k', packet.KNIAddress, wire.ProtoTCP}, {'K', packet.KNIAddress, wire.ProtoICMP}, {'6', packet.KNIAddress, wire.ProtoICMPv6},
	} {
		if why := give(row.mark, row.why, row.proto); why != packet.NoReason {
			t.Errorf("%c is refused: %s", row.mark, why)
		}
	}
	for _, why := range []packet.Reason{packet.LBNoService, packet.LBNoConn, packet.IPNoListener, packet.IPNoRoute, packet.ICMPUnrelated} {
		if got := give('x', why, wire.ProtoUDP); got != packet.PuntFull {
			t.Errorf("%s beside a flood of its kind: %s", why, got)
		}
	}
	for range 3 {
		twins.Send(port.Burst)
	}
	if got, want := string(q.got), "mKks"+"o6sa"+"nsss"; got != want {
		t.Errorf("Linux got %q, want %q", got, want)
	}
	for twins.Send(port.Burst) {
	}
	if len(q.got) != Room+7 || twins.Held() != 0 {
		t.Errorf("Linux got %d of %d, %d wait", len(q.got), Room+7, twins.Held())
	}
}

// The less a worker has to do, the more it gives in a breath.
func TestGivesMoreWhenLittleCame(t *testing.T) {
	pool := newPool(t)
	for came, want := range map[int]int{0: 64, 1: 63, 40: 24, 60: 4, 61: 4, 64: 4, 500: 4} {
		q := &counting{}
		twins := New(&stat.Worker{})
		twins.Add(0, q)
		for range 100 {
			p := pool.Get()
			p.Resize(60)
			p.Reason = packet.LBNoService
			if why := twins.Give(p, &port.Facts{Twin: true}); why != packet.NoReason {
				t.Fatal(why)
			}
		}
		if more := twins.Send(came); len(q.got) != want || !more {
			t.Errorf("when %d came, %d are given, want %d; more: %v", came, len(q.got), want, more)
		}
		for twins.Send(0) {
		}
	}
}

// What keeps networks together is told from what else is for addresses of Linux's.
func TestKindAddressed(t *testing.T) {
	pool := newPool(t)
	for _, row := range []struct {
		line string
		want int
	}{
		{"ip 10.0.0.254 > 10.0.0.2 / tcp 40000 > 179 S seq=1", control},
		{"ip 10.0.0.254 > 10.0.0.2 / tcp 179 > 40000 A seq=1", control},
		{"ip 10.0.0.254 > 10.0.0.2 / udp 49152 > 3784 data=24", control},
		{"ip 10.0.0.254 > 10.0.0.2 / udp 49152 > 4784 data=24", control},
		{"ip 10.0.0.254 > 10.0.0.2 / udp 3784 > 49152 data=24", addressed},
		{"ip 10.0.0.254 > 10.0.0.2 / udp 49152 > 179 data=24", addressed},
		{"ip 10.0.0.254 > 10.0.0.2 / tcp 40000 > 22 S seq=1", addressed},
		{"ip 10.0.0.254 > 10.0.0.2 / icmp echo id=1 seq=1 data=4", signs},
		{"ip6 2001:db8::fe > 2001:db8::2 / tcp 40000 > 179 S seq=1", control},
		{"ip6 2001:db8::fe > 2001:db8::2 hlim=255 / udp 49152 > 3784 data=24", control},
		{"ip6 2001:db8::fe > 2001:db8::2 / tcp 40000 > 22 S seq=1", addressed},
		{"ip6 2001:db8::fe > 2001:db8::2 / icmp6 echo id=1 seq=1 data=4", signs},
	} {
		p := made(t, pool, row.line, packet.Keyed)
		h := headersOf(p.Data)
		p.Reason, p.L4, p.Proto = packet.KNIAddress, h.l4, h.proto
		if h.l4 == 0 { // of ICMP no header is looked for
			p.Proto = map[string]uint8{"ip": wire.ProtoICMP, "ip6": wire.ProtoICMPv6}[strings.Fields(row.line)[0]]
		}
		if got := kindOf(p); got != row.want {
			t.Errorf("%s: kind %d, want %d", row.line, got, row.want)
		}
		p.Flags = 0
		if got := kindOf(p); got == control {
			t.Errorf("%s, not parsed: kind %d", row.line, got)
		}
		pool.Put(p)
	}
}

// A port without a twin, and one whose twin is down, give Linux nothing; what waits at
// the end is counted.
func TestNoTwin(t *testing.T) {
	pool, stats := newPool(t), &stat.Worker{}
	twins := New(stats)
	twins.Add(3, &counting{})
	p := pool.Get()
	p.Resize(60)
	p.In, p.Reason = 3, packet.KNIAddress
	if why := twins.Give(p, &port.Facts{}); why != packet.KNIAddress {
		t.Errorf("down: %s", why)
	}
	p.In = 4
	if why := twins.Give(p, &port.Facts{Twin: true}); why != packet.KNIAddress {
		t.Errorf("none: %s", why)
	}
	p.In = 3
	if why := twins.Give(p, &port.Facts{Twin: true}); why != packet.NoReason || twins.Held() != 1 {
		t.Errorf("up: %s, %d wait", why, twins.Held())
	}
	twins.Close()
	if stats.Drops[packet.PortDown] != 1 || twins.Held() != 0 {
		t.Errorf("at the end %d are counted, %d wait", stats.Drops[packet.PortDown], twins.Held())
	}
}

// made is a packet as a stage may punt it.
func made(t *testing.T, pool *packet.Pool, line string, flags packet.Flags) *packet.Packet {
	t.Helper()
	f, err := words.Parse(line, words.Stations{}, words.MAC{2, 0, 0, 0, 0, 1}, words.MAC{2, 0, 0, 0, 0, 2})
	if err != nil {
		t.Fatal(err)
	}
	p := pool.Get()
	if !p.Resize(len(f.Data)) {
		pool.Put(p)
		p = pool.GetBig()
		p.Resize(len(f.Data))
	}
	copy(p.Data, f.Data)
	p.Flags = flags
	if f.GSOType != 0 {
		p.Flags |= packet.GSO | packet.CsumPartial
		p.GSOType, p.GSOSize = f.GSOType, f.GSOSize
	}
	return p
}

// An open checksum is found wherever a frame has it, and told of as the vnet header
// wants it.
func TestSettle(t *testing.T) {
	const partial, said = true, packet.CsumPartial
	for _, row := range []struct {
		name    string
		line    string
		partial bool // of the port: nobody says so
		flags   packet.Flags
		open    bool // left to Linux
		l4      uint16
		sum     string // as words print it afterwards: "" is right, " csum=partial"
		ok      bool
	}{
		{"right", "ip 1.2.3.4 > 224.0.0.9 / udp 520 > 520 data=4", partial, 0, false, 0, "", true},
		{"partial, unsaid", "ip 1.2.3.4 > 224.0.0.9 / udp 520 > 520 data=4 csum=partial", partial, 0, true, 34, "partial", true},
		{"partial, on a port that says so", "ip 1.2.3.4 > 224.0.0.9 / udp 520 > 520 data=4 csum=partial", !partial, 0, false, 0, "partial", true},
		{"partial, said", "ip 1.2.3.4 > 224.0.0.9 / udp 520 > 520 data=4 csum=partial", !partial, said, true, 34, "partial", true},
		{"with options", "ip 1.2.3.4 > 224.0.0.9 opts=94040000 / udp 520 > 520 data=4 csum=partial", partial, 0, true, 38, "partial", true},
		{"behind a tag", "vlan 7 / ip 1.2.3.4 > 10.0.0.1 / tcp 1 > 2 A data=4 csum=partial", partial, 0, true, 38, "partial", true},
		{"behind two", "vlan 9 / vlan 7 / ip 1.2.3.4 > 10.0.0.1 / tcp 1 > 2 A data=4 csum=partial", partial, 0, true, 42, "partial", true},
		{"IPv6", "ip6 2001:db8::1 > ff02::9 / udp 521 > 521 data=4 csum=partial", partial, 0, true, 54, "partial", true},
		{"IPv6 behind an extension header", "ip6 2001:db8::1 > ff02::9 / dst / udp 521 > 521 data=4 csum=partial", partial, 0, true, 62, "partial", true},
		{"SCTP is completed", "ip 1.2.3.4 > 10.0.0.1 / sctp 1 > 2 tag=0 <init 7> csum=partial", partial, 0, false, 34, "", true},
		{"SCTP of IPv6", "ip6 2001:db8::1 > 2001:db8::2 / sctp 1 > 2 tag=0 <init 7> csum=partial", partial, 0, false, 54, "", true},
		{"a fragment has none", "ip 1.2.3.4 > 224.0.0.9 mf / udp 520 > 520 data=8 csum=partial", partial, 0, false, 0, "partial", true},
		{"said of a fragment", "ip 1.2.3.4 > 224.0.0.9 mf / udp 520 > 520 data=8", !partial, said, false, 0, "", false},
		{"said of OSPF", "ip 1.2.3.4 > 224.0.0.5 proto=89 / data=44", !partial, said, false, 0, "", false},
		{"a super-frame", "ip 1.2.3.4 > 10.0.0.1 / tcp 1 > 2 A gso=1000 data=2500 csum=partial", !partial, 0, true, 34, "partial", true},
		{"no IP", "eth type=0x88cc / data=46", partial, 0, false, 0, "", true},
	} {
		t.Run(row.name, func(t *testing.T) {
			pool := newPool(t)
			p := made(t, pool, row.line, row.flags)
			defer pool.Put(p)
			if ok := settle(p, row.partial); ok != row.ok {
				t.Fatalf("settle = %v", ok)
			}
			if !row.ok {
				return
			}
			if p.Is(packet.CsumPartial) != row.open || row.l4 != 0 && p.L4 != row.l4 {
				t.Errorf("left to Linux: %v, at %d", p.Is(packet.CsumPartial), p.L4)
			}
			text := words.Print(words.Frame{Data: p.Data}, words.Stations{})
			if open := headersOf(p.Data); row.sum == "" && open.l4 != 0 && open.isPartial(p.Data) {
				t.Errorf("still open: %s", text)
			}
			var v port.VnetHeader
			if !v.FromPacket(p) {
				t.Errorf("no vnet header says so: %s", text)
			}
		})
	}
}

// What Linux sends is marked, and its headers are found.
func TestSent(t *testing.T) {
	pool := newPool(t)
	for _, row := range []struct {
		line   string
		flags  packet.Flags
		l3, l4 uint16
		why    packet.Reason
	}{
		{"ip 10.0.0.2 > 1.2.3.4 / udp 1 > 2 data=4", 0, 0, 0, packet.NoReason},
		{"ip 10.0.0.2 > 1.2.3.4 / udp 1 > 2 data=4", packet.CsumPartial, 14, 34, packet.NoReason},
		{"vlan 7 / ip6 2001:db8::1 > 2001:db8::2 / tcp 1 > 2 A data=4", packet.CsumPartial, 18, 58, packet.NoReason},
		{"arp request who=10.0.0.1 tell=10.0.0.2", packet.CsumPartial, 0, 0, packet.L4Malformed},
		{"ip 10.0.0.2 > 1.2.3.4 mf / udp 1 > 2 data=8", packet.CsumPartial, 0, 0, packet.L4Malformed},
	} {
		p := made(t, pool, row.line, row.flags)
		p.In = 7
		why := Sent(p)
		if why != row.why || why == packet.NoReason && (p.L3 != row.l3 || p.L4 != row.l4 || p.Out != 7 || !p.Is(packet.Linux)) {
			t.Errorf("%s: %s, l3 %d, l4 %d, out %d", row.line, why, p.L3, p.L4, p.Out)
		}
		pool.Put(p)
	}
	p := pool.Get()
	p.Resize(13)
	if why := Sent(p); why != packet.EtherShort {
		t.Errorf("13 bytes: %s", why)
	}
	pool.Put(p)
}

// Whatever the frame, no header is found outside of it.
func FuzzHeaders(f *testing.F) {
	for _, line := range []string{
		"ip 1.2.3.4 > 224.0.0.9 / udp 520 > 520 data=4 csum=partial", "vlan 7 / ip 1.2.3.4 > 10.0.0.1 / tcp 1 > 2 A data=4 csum=partial",
		"ip6 2001:db8::1 > ff02::9 / dst / udp 521 > 521 data=4", "ip 1.2.3.4 > 10.0.0.1 / sctp 1 > 2 tag=0 <init 7> csum=partial", "eth type=0x88cc / data=46",
	} {
		frame, err := words.Parse(line, words.Stations{}, words.MAC{2, 0, 0, 0, 0, 1}, words.MAC{2, 0, 0, 0, 0, 2})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(frame.Data, uint16(0), true)
		f.Add(frame.Data, uint16(packet.CsumPartial), false)
	}
	pool, err := packet.NewPool(4, 1)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte, flags uint16, partial bool) {
		for _, way := range []func(*packet.Packet) bool{
			func(p *packet.Packet) bool { return settle(p, partial) },
			func(p *packet.Packet) bool { return Sent(p) == packet.NoReason },
		} {
			p := pool.Get()
			if !p.Resize(len(data)) {
				pool.Put(p)
				return
			}
			copy(p.Data, data)
			p.Flags = packet.Flags(flags) & (packet.CsumPartial | packet.GSO)
			if ok := way(p); ok && p.Is(packet.CsumPartial) && (int(p.L4) > len(p.Data) || p.L4 < p.L3) {
				t.Errorf("headers at %d and %d in %d bytes", p.L3, p.L4, len(p.Data))
			}
			pool.Put(p)
		}
	})
}

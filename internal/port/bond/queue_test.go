package bond

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"weir/internal/lacp"
	"weir/internal/packet"
	"weir/internal/port"
	"weir/internal/port/pipe"
)

// bed is a bond over pipes.
type bed struct {
	t     testing.TB
	pool  *packet.Pool
	bond  *Bond
	queue *Queue
	ports []*pipe.Port
}

const bondID = 9

func newBed(t testing.TB, members int) *bed {
	t.Helper()
	pool, err := packet.NewPool(1024, 4)
	if err != nil {
		t.Fatal(err)
	}
	b := &bed{t: t, pool: pool, bond: New(bondID)}
	if b.queue, err = b.bond.Open(pool); err != nil {
		t.Fatal(err)
	}
	for i := range members {
		p := pipe.New(uint16(i), fmt.Sprintf("dpdk%d", i), port.MAC{2, 0, 0, 0, 0, byte(i)}, 1500)
		q, err := p.Queue(0, pool)
		if err != nil {
			t.Fatal(err)
		}
		if err := b.queue.AddRx(i, q); err != nil {
			t.Fatal(err)
		}
		b.ports = append(b.ports, p)
		t.Cleanup(func() { _ = q.Close() })
	}
	t.Cleanup(func() {
		if err := b.queue.Close(); err != nil {
			t.Error(err)
		}
		if pool.InUse() != 0 {
			t.Errorf("%d packets are out", pool.InUse())
		}
		if err := pool.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// frame is an Ethernet frame of a UDP packet; of none if the addresses are not valid.
func frame(src, dst string, sport, dport uint16) []byte {
	f := make([]byte, 60)
	copy(f, []byte{2, 0, 0, 0, 0, 0x11, 2, 0, 0, 0, 0, 0x22})
	if src == "" {
		binary.BigEndian.PutUint16(f[12:], 0x0806)
		return f
	}
	s, d := netip.MustParseAddr(src), netip.MustParseAddr(dst)
	at := 14
	if s.Is4() {
		binary.BigEndian.PutUint16(f[12:], typeIPv4)
		f[14], f[14+9] = 0x45, 17
		copy(f[26:], s.AsSlice())
		copy(f[30:], d.AsSlice())
		at += 20
	} else {
		f = append(f, make([]byte, 20)...)
		binary.BigEndian.PutUint16(f[12:], typeIPv6)
		f[14], f[14+6] = 0x60, 17
		copy(f[22:], s.AsSlice())
		copy(f[38:], d.AsSlice())
		at += 40
	}
	binary.BigEndian.PutUint16(f[at:], sport)
	binary.BigEndian.PutUint16(f[at+2:], dport)
	return f
}

// group is a frame for many: of IPv4's multicast, of IPv6's, or a broadcast.
func group(family int) []byte {
	switch family {
	case 4:
		f := frame("10.0.0.1", "224.0.0.5", 1, 2)
		copy(f, []byte{1, 0, 0x5e, 0, 0, 5})
		return f
	case 6:
		f := frame("2001:db8::1", "ff02::5", 1, 2)
		copy(f, []byte{0x33, 0x33, 0, 0, 0, 5})
		return f
	}
	f := frame("", "", 0, 0)
	copy(f, []byte{255, 255, 255, 255, 255, 255})
	return f
}

func (b *bed) send(frames ...[]byte) {
	b.t.Helper()
	var burst []*packet.Packet
	for _, f := range frames {
		p := b.pool.Get()
		p.Resize(len(f))
		copy(p.Data, f)
		burst = append(burst, p)
	}
	b.queue.Tx(burst)
}

// sent says how many frames each member sent.
func (b *bed) sent() (n []int) {
	for _, p := range b.ports {
		n = append(n, len(p.Take()))
	}
	return n
}

func (b *bed) drops(r packet.Reason) uint64 {
	var c port.Counters
	b.queue.Counters(&c)
	return c.Drops[r]
}

// receive takes what came, and says on what port.
func (b *bed) receive() (n int) {
	b.t.Helper()
	var burst [port.Burst]*packet.Packet
	for {
		got := b.queue.Rx(burst[:])
		if got == 0 {
			return n
		}
		n += got
		for _, p := range burst[:got] {
			if p.In != bondID {
				b.t.Errorf("a packet came on port %d, want the bond's", p.In)
			}
			b.pool.Put(p)
		}
	}
}

func TestTransmit(t *testing.T) {
	flows := func(n int) (all [][]byte) {
		for i := range n {
			all = append(all, frame("10.0.0.1", "10.0.0.2", uint16(1000+2*i), 80))
		}
		return all
	}
	for _, tc := range []struct {
		name  string
		table Table
		want  []int // of 60 frames
	}{
		{"round robin", Table{Mode: RoundRobin, Tx: []uint8{0, 1, 2}}, []int{20, 20, 20}},
		{"round robin without one", Table{Mode: RoundRobin, Tx: []uint8{0, 2}}, []int{30, 0, 30}},
		{"backup", Table{Mode: ActiveBackup, Tx: []uint8{1}}, []int{0, 60, 0}},
		{"broadcast", Table{Mode: Broadcast, Tx: []uint8{0, 1, 2}}, []int{60, 60, 60}},
		{"xor by MACs", Table{Mode: XOR, Policy: Layer2, Tx: []uint8{0, 1, 2}}, []int{0, 0, 60}},
		{"one LACP port", Table{Mode: LACP, Policy: Layer34, Tx: []uint8{2}}, []int{0, 0, 60}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBed(t, 3)
			b.bond.Publish(&tc.table)
			b.send(flows(60)...)
			if got := fmt.Sprint(b.sent()); got != fmt.Sprint(tc.want) {
				t.Errorf("members sent %s, want %v", got, tc.want)
			}
		})
	}
	t.Run("LACP by flows", func(t *testing.T) {
		b := newBed(t, 2)
		b.bond.Publish(&Table{Mode: LACP, Policy: Layer34, Tx: []uint8{0, 1}})
		b.send(flows(200)...)
		got := b.sent()
		if got[0]+got[1] != 200 || got[0] < 60 || got[1] < 60 {
			t.Errorf("members sent %v of 200 flows, want about half each", got)
		}
		for range 50 {
			b.send(flows(1)...)
		}
		if got := b.sent(); got[0] != 50 && got[1] != 50 {
			t.Errorf("members sent %v of one flow, want all by one", got)
		}
	})
	t.Run("broadcast without memory", func(t *testing.T) {
		b := newBed(t, 2)
		b.bond.Publish(&Table{Mode: Broadcast, Tx: []uint8{0, 1}})
		p := b.pool.Get()
		p.Resize(60)
		var held []*packet.Packet
		for o := b.pool.Get(); o != nil; o = b.pool.Get() {
			held = append(held, o)
		}
		b.queue.Tx([]*packet.Packet{p})
		for _, o := range held {
			b.pool.Put(o)
		}
		if got := b.sent(); got[0] != 1 || got[1] != 0 || b.drops(packet.PoolEmpty) != 1 {
			t.Errorf("members sent %v, %d were counted", got, b.drops(packet.PoolEmpty))
		}
	})
}

// Each reason of the bond's is reached.
func TestReasons(t *testing.T) {
	b := newBed(t, 2)
	t.Run("bond_no_member", func(t *testing.T) {
		b.send(frame("10.0.0.1", "10.0.0.2", 1, 2), frame("2001:db8::1", "2001:db8::2", 1, 2))
		if n := b.drops(packet.BondNoMember); n != 2 {
			t.Errorf("%d are counted, want 2", n)
		}
	})
	t.Run("bond_inactive", func(t *testing.T) {
		b.bond.Publish(&Table{Mode: ActiveBackup, Tx: []uint8{0}, Rx: 1})
		b.ports[0].Inject(frame("10.0.0.1", "10.0.0.2", 1, 2))
		b.ports[1].Inject(frame("10.0.0.1", "10.0.0.2", 1, 2))
		b.ports[1].Inject(frame("", "", 0, 0))
		if n := b.receive(); n != 1 || b.drops(packet.BondInactive) != 2 {
			t.Errorf("%d came in and %d are counted, want 1 and 2", n, b.drops(packet.BondInactive))
		}
	})
	t.Run("bond_inactive of the former active one", func(t *testing.T) {
		before := b.drops(packet.BondInactive)
		b.bond.Publish(&Table{Mode: ActiveBackup, Tx: []uint8{0}, Rx: 1, RxOne: 2})
		for _, f := range [][]byte{frame("10.0.0.1", "10.0.0.2", 1, 2), frame("2001:db8::1", "2001:db8::2", 1, 2), group(4), group(6), group(0)} {
			b.ports[0].Inject(f)
			b.ports[1].Inject(f)
		}
		// What is for all comes by the new one alone, what is for us by either.
		if n := b.receive(); n != 5+2 || b.drops(packet.BondInactive)-before != 3 {
			t.Errorf("%d came in and %d are counted, want 7 and 3", n, b.drops(packet.BondInactive)-before)
		}
	})
	t.Run("bond_slow_full", func(t *testing.T) {
		b.bond.Publish(&Table{Mode: LACP})
		slow := make([]byte, 124)
		binary.BigEndian.PutUint16(slow[12:], lacp.EtherType)
		slow[14] = 1
		for i := range slowRing + 3 {
			slow[20] = byte(i)
			b.ports[1].Inject(slow)
		}
		b.receive() // a burst of LACP alone looks like nothing
		if n := b.receive(); n != 0 || b.drops(packet.BondSlowFull) != 3 {
			t.Errorf("%d came in and %d are counted, want none and 3", n, b.drops(packet.BondSlowFull))
		}
		i := 0
		b.queue.Slow(func(s *Slow) {
			if m := s.Message(); s.Member != 1 || len(m) != lacp.Length || m[6] != byte(i) {
				t.Errorf("message %d is of member %d, %d octets, mark %d", i, s.Member, len(m), m[6])
			}
			i++
		})
		if i != slowRing {
			t.Errorf("%d messages waited, want %d", i, slowRing)
		}
	})
}

// In modes without LACP its frames are like others: somebody else's affair.
func TestSlowFramesOfOtherModes(t *testing.T) {
	b := newBed(t, 1)
	b.bond.Publish(&Table{Mode: RoundRobin, Tx: []uint8{0}, Rx: 1})
	slow := make([]byte, 124)
	binary.BigEndian.PutUint16(slow[12:], lacp.EtherType)
	b.ports[0].Inject(slow)
	if n := b.receive(); n != 1 {
		t.Errorf("%d came in, want 1", n)
	}
}

// A member with much traffic leaves the others their share.
func TestReceivesInTurn(t *testing.T) {
	b := newBed(t, 2)
	b.bond.Publish(&Table{Mode: RoundRobin, Tx: []uint8{0, 1}, Rx: 3})
	for i := range 10 * port.Burst {
		b.ports[0].Inject(frame("10.0.0.1", "10.0.0.2", 1, 2))
		if i < port.Burst {
			b.ports[1].Inject(frame("10.0.0.3", "10.0.0.2", 1, 2))
		}
	}
	var burst [port.Burst]*packet.Packet
	seen := 0
	for range 2 {
		n := b.queue.Rx(burst[:])
		for _, p := range burst[:n] {
			if p.Data[29] == 3 {
				seen++
			}
			b.pool.Put(p)
		}
	}
	if seen != port.Burst {
		t.Errorf("%d of the second member's packets came in two bursts, want all %d", seen, port.Burst)
	}
	b.receive()
}

func TestSend(t *testing.T) {
	b := newBed(t, 2)
	f := frame("", "", 0, 0)
	if !b.queue.Send(1, f) {
		t.Fatal("not sent")
	}
	if got := b.sent(); got[0] != 0 || got[1] != 1 {
		t.Errorf("members sent %v, want the second: it may carry no traffic yet, but LACP", got)
	}
}

func TestSleeps(t *testing.T) {
	b := newBed(t, 2)
	b.bond.Publish(&Table{Mode: RoundRobin, Tx: []uint8{0, 1}, Rx: 3})
	if !b.queue.PreparePoll() {
		t.Fatal("nothing waits, and yet the worker may not sleep")
	}
	b.ports[1].Inject(frame("10.0.0.1", "10.0.0.2", 1, 2))
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(b.queue.FD()), Events: unix.POLLIN}}, 10_000)
	if n != 1 || err != nil {
		t.Errorf("a frame on the second member wakes nobody: %d, %v", n, err)
	}
	if b.queue.PreparePoll() {
		t.Error("the worker may sleep over a frame that waits")
	}
	if b.receive() != 1 {
		t.Error("the frame is not received")
	}
}

func TestNoAllocation(t *testing.T) {
	for _, mode := range []Mode{RoundRobin, ActiveBackup, XOR, Broadcast, LACP} {
		t.Run(mode.String(), func(t *testing.T) {
			b := newBed(t, 2)
			b.bond.Publish(&Table{Mode: mode, Policy: Layer34, Tx: []uint8{0, 1}, Rx: 3})
			frames := [2][]byte{frame("10.0.0.1", "10.0.0.2", 1, 2), frame("2001:db8::1", "2001:db8::2", 3, 4)}
			var burst [port.Burst]*packet.Packet
			var into [port.Burst]*packet.Packet
			round := func() {
				b.ports[0].Inject(frames[0])
				n := b.queue.Rx(burst[:])
				for n < len(burst)/2 {
					p := b.pool.Get()
					f := frames[n%2]
					p.Resize(len(f))
					copy(p.Data, f)
					burst[n] = p
					n++
				}
				b.queue.Tx(burst[:n])
				b.queue.Flush()
				for _, p := range b.ports {
					for got := p.TakeInto(0, into[:], b.pool); got > 0; got = p.TakeInto(0, into[:], b.pool) {
						for _, p := range into[:got] {
							b.pool.Put(p)
						}
					}
				}
			}
			for range pipe.Room + 1 {
				round()
			}
			if n := testing.AllocsPerRun(200, round); n != 0 {
				t.Errorf("%v allocations a burst, want none", n)
			}
		})
	}
}

func BenchmarkTx(b *testing.B) {
	for _, tc := range []struct {
		name  string
		table Table
	}{
		{"one member", Table{Mode: LACP, Tx: []uint8{0}}},
		{"round robin", Table{Mode: RoundRobin, Tx: []uint8{0, 1}}},
		{"layer2", Table{Mode: LACP, Policy: Layer2, Tx: []uint8{0, 1}}},
		{"layer34", Table{Mode: LACP, Policy: Layer34, Tx: []uint8{0, 1}}},
	} {
		b.Run(tc.name, func(b *testing.B) {
			e := newBed(b, 2)
			e.bond.Publish(&tc.table)
			var burst [port.Burst]*packet.Packet
			for i := range burst {
				f := frame("10.0.0.1", "10.0.0.2", uint16(i), 80)
				burst[i] = e.pool.Get()
				burst[i].Resize(len(f))
				copy(burst[i].Data, f)
			}
			for i := range e.queue.members[:2] {
				e.queue.members[i].tx.(*pipe.Queue).Sink = func([]*packet.Packet) {}
			}
			b.ReportAllocs()
			for b.Loop() {
				e.queue.Tx(burst[:])
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*port.Burst), "ns/packet")
			for _, p := range burst {
				e.pool.Put(p)
			}
		})
	}
}

package port_test

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"

	"weir/bpf"
	"weir/internal/clock"
	"weir/internal/flow"
	"weir/internal/lb/forward"
	"weir/internal/packet"
	"weir/internal/pinned"
	"weir/internal/port"
	"weir/internal/port/afxdp"
	"weir/internal/testkit/netns"
	"weir/internal/wire"
)

// The ends of the flow that the engine forwards in these tests.
var (
	engineClient, engineVIP = netip.MustParseAddr("10.16.0.0"), netip.MustParseAddr("10.0.0.100")
	engineLIP, engineRS     = netip.MustParseAddr("192.168.0.200"), netip.MustParseAddr("192.168.0.2")
	engineMAC               = port.MAC{2, 0, 0, 0, 0, 0xa0}
	engineNext              = port.MAC{2, 0, 0, 0, 0, 0xb1}
)

// engineBed is a table with a flow, and its engine.
type engineBed struct {
	table  *flow.Table
	engine *afxdp.Engine
	hop    flow.NextHopRef
	now    clock.Tick
}

func newEngine(t testing.TB) *engineBed {
	t.Helper()
	b := openEngine(t, nil)
	t.Cleanup(func() { b.close(t) })
	return b
}

func (b *engineBed) close(t testing.TB) {
	check(t, b.engine.Close())
	b.table.Close()
}

// openEngine makes one in a folder, or goes on with what is there.
func openEngine(t testing.TB, keep *pinned.Dir) *engineBed {
	t.Helper()
	b := &engineBed{now: clock.Now()}
	table, found, err := flow.Open(flow.Config{Conns: 300, Workers: 1, Backing: flow.BPFArray, Keep: keep, Seed: 1})
	check(t, err)
	if b.table = table; found {
		b.table.TakeOver(b.now)
	}
	b.engine, err = afxdp.NewEngine(b.table, keep)
	check(t, err)
	b.hop = b.table.Hops.Back(1, engineNext, port.MAC{2, 0, 0, 0, 0, 0xb0}, 1500)
	var rules [port.Max]afxdp.Rule
	rules[0] = afxdp.Rule{MAC: engineMAC, Takes: true}
	rules[1] = afxdp.Rule{MAC: port.MAC{2, 0, 0, 0, 0, 0xb0}, Sends: true, Link: 1}
	check(t, b.engine.SetRules(&rules))
	return b
}

// insert makes the flow, which is to be rewritten to these ends.
func (b *engineBed) insert(lip, rs netip.Addr, lport, rport uint16) (uint32, error) {
	in, out := forward.FullNAT(&forward.Ends{
		Proto: wire.ProtoUDP, Client: flow.AddrOf(engineClient), Virtual: flow.AddrOf(engineVIP), Local: flow.AddrOf(lip), Real: flow.AddrOf(rs),
		ClientPort: swapped(1024), VirtualPort: swapped(53), LocalPort: swapped(lport), RealPort: swapped(rport),
	})
	in.NextHop, out.NextHop, in.Fast, out.Fast = b.hop, b.hop, true, true
	w := b.table.Worker(0)
	w.Begin(b.now)
	return w.Insert(&in, &out, &flow.NewConn{Timeout: 1 << 20}, b.now)
}

func swapped(p uint16) uint16 { return p<<8 | p>>8 }

// engineFrame is a datagram of the flow, to be read or written.
func engineFrame(src, dst netip.Addr, sport, dport uint16, to, from port.MAC, ttl uint8) []byte {
	f := make([]byte, 60)
	copy(f, to[:])
	copy(f[6:], from[:])
	f[12] = 8
	ip := wire.IPv4(f[14:])
	ip.SetVersionIHL(20)
	ip.SetTotalLength(46)
	ip.SetTTL(ttl)
	ip.SetProtocol(wire.ProtoUDP)
	copy(ip[12:], src.AsSlice())
	copy(ip[16:], dst.AsSlice())
	binary.BigEndian.PutUint16(ip[20:], sport)
	binary.BigEndian.PutUint16(ip[22:], dport)
	binary.BigEndian.PutUint16(ip[24:], 26)
	copy(ip[28:], "what is carried")
	ip.ComputeChecksum()
	wire.CompleteL4(ip)
	return f
}

// What real servers were sent by the engine is counted on by the next one, from where it
// was cleared last.
func TestEngineCountsGoOn(t *testing.T) {
	w, err := netns.New("weirport" + strconv.FormatUint(worlds.Add(1), 10))
	check(t, err)
	t.Cleanup(func() { check(t, w.Close()) })
	pins, err := w.Pins("engine")
	check(t, err)
	frame := engineFrame(engineClient, engineVIP, 1024, 53, engineMAC, port.MAC{2, 0, 0, 0, 0, 0xa1}, 64)
	total := uint64(0)
	for life := range 3 {
		keep, err := pinned.Open(filepath.Join(pins, "weir"))
		check(t, err)
		b := openEngine(t, keep)
		check(t, b.engine.AddDevice(1, 1))
		if life == 0 {
			_, err := b.insert(engineLIP, engineRS, 1025, 5353)
			check(t, err)
		}
		if got := b.engine.Dest(0).InPkts; got != total {
			t.Errorf("engine %d begins with %d packets, want %d", life, got, total)
		}
		if life == 1 {
			b.engine.ZeroDest(0)
			total = 0
		}
		trial, err := b.engine.Try(0)
		check(t, err)
		for range 3 {
			_, taken, err := trial.Run(bytes.Clone(frame))
			check(t, err)
			if !taken {
				t.Fatalf("engine %d leaves the flow to the workers: %v", life, b.engine.Passed(0))
			}
			total++
		}
		if got := b.engine.Dest(0).InPkts; got != total {
			t.Errorf("engine %d has counted %d packets, want %d", life, got, total)
		}
		check(t, trial.Close())
		b.close(t)
		check(t, keep.Close())
	}
}

// A record is rewritten over and over for another real server while the engine reads it:
// what it forwards is one or the other, never some of both.
func TestEngineNeverTears(t *testing.T) {
	b := newEngine(t)
	check(t, b.engine.AddDevice(1, 1))
	trial, err := b.engine.Try(0)
	check(t, err)
	defer trial.Close()
	from := engineFrame(engineClient, engineVIP, 1024, 53, engineMAC, port.MAC{2, 0, 0, 0, 0, 0xa1}, 64)
	other, otherRS := netip.MustParseAddr("172.16.255.1"), netip.MustParseAddr("172.31.1.255")
	a := engineFrame(engineLIP, engineRS, 1025, 5353, engineNext, port.MAC{2, 0, 0, 0, 0, 0xb0}, 63)
	c := engineFrame(other, otherRS, 65000, 99, engineNext, port.MAC{2, 0, 0, 0, 0, 0xb0}, 63)
	// Both rewrites as the table has them.
	i, err := b.insert(engineLIP, engineRS, 1025, 5353)
	check(t, err)
	h := b.table.Half(b.table.Conn(i).In)
	one := h.Load()
	second := newEngine(t)
	k, err := second.insert(other, otherRS, 65000, 99)
	check(t, err)
	two := second.table.Half(second.table.Conn(k).In).Load()
	var stop atomic.Bool
	var wg sync.WaitGroup
	rewrites := 0
	wg.Go(func() {
		// As fast as can be: what the table does when a tenant leaves and another comes
		// (docs/flow-table.md), without the second's rest in between.
		key := atomic.LoadUint64(&h.Key1)
		const generation = 1 << 48
		for ; !stop.Load(); rewrites++ {
			p := &one
			if rewrites&1 != 0 {
				p = &two
			}
			atomic.StoreUint64(&h.Key1, key&^(flow.FlagValid|flow.FlagFast)|flow.FlagPending)
			atomic.StoreUint64(&h.NewAddrs, p.Addrs)
			atomic.StoreUint32(&h.NewPorts, p.Ports)
			h.DeltaIP, h.DeltaL4 = p.DeltaIP, p.DeltaL4
			key += generation
			if rewrites%16 == 0 {
				atomic.StoreUint64(&h.Key1, key&^flow.FlagFast)
			}
			atomic.StoreUint64(&h.Key1, key)
		}
	})
	var seen [3]int
	until := time.Now().Add(deadline)
	for !t.Failed() && (seen[0] < 20000 || seen[1] < 20000) {
		out, taken, err := trial.Run(from)
		check(t, err)
		switch {
		case !taken && bytes.Equal(out, from):
			seen[2]++
		case taken && bytes.Equal(out, a):
			seen[0]++
		case taken && bytes.Equal(out, c):
			seen[1]++
		default:
			t.Errorf("after %v (one, the other, left alone) the engine made\n%x of\n%x", seen, out, from)
		}
		if time.Now().After(until) {
			break
		}
	}
	stop.Store(true)
	wg.Wait()
	t.Logf("%d rewrites; forwarded to one %d, to the other %d, left alone %d", rewrites, seen[0], seen[1], seen[2])
	if seen[0] == 0 || seen[1] == 0 || seen[2] == 0 {
		t.Error("the engine did not meet all of them")
	}
}

// engineCable is an engine between two cables: what comes on a0 leaves by b0.
type engineCable struct {
	*engineBed
	far, dir *netns.Namespace
	program  *afxdp.Program
	heard    *raw
}

func newEngineCable(t *testing.T) *engineCable {
	t.Helper()
	c := &engineCable{engineBed: newEngine(t)}
	w := newWorld(t)
	c.far, c.dir = namespace(t, w, "far"), namespace(t, w, "dir")
	// b1 has one ring, which all processors fill.
	for _, name := range []string{"a", "b"} {
		check(t, netns.Veth(netns.End{In: c.far, Name: name + "1"}, netns.End{In: c.dir, Name: name + "0"}))
	}
	c.gro(t, true)
	check(t, c.dir.Do(func() error {
		b0, err := port.FindLink("b0")
		if err != nil {
			return err
		}
		if err := c.engine.AddDevice(1, b0.Index); err != nil {
			return err
		}
		a0, err := port.FindLink("a0")
		if err != nil {
			return err
		}
		if err := c.engine.AddDevice(0, a0.Index); err != nil {
			return err
		}
		c.program, err = afxdp.AttachTo(c.engine, 0, "a0", afxdp.Native)
		return err
	}))
	t.Cleanup(func() { check(t, c.program.Close()) })
	c.heard = openRaw(t, c.far, "b1", wire.EtherTypeIPv4)
	_, err := c.insert(engineLIP, engineRS, 1025, 5353)
	check(t, err)
	return c
}

// gro switches the feature of b1 without which it takes no frames from XDP.
func (c *engineCable) gro(t *testing.T, on bool) {
	t.Helper()
	check(t, c.far.Do(func() error {
		l, err := port.FindLink("b1")
		if err != nil {
			return err
		}
		if on {
			return l.SwitchOn("rx-gro")
		}
		_, err = l.SwitchOff("rx-gro")
		return err
	}))
}

// sends asks Linux whether b0 takes frames from XDP.
func (c *engineCable) sends(t *testing.T) (yes bool) {
	t.Helper()
	check(t, c.dir.Do(func() error {
		l, err := port.FindLink("b0")
		if err != nil {
			return err
		}
		has, err := l.AskXDP()
		yes = has.Has(port.XDPSend)
		return err
	}))
	return yes
}

// What the engine sends arrives; what the kernel then loses is counted.
func TestEngineSends(t *testing.T) {
	c := newEngineCable(t)
	from := engineFrame(engineClient, engineVIP, 1024, 53, engineMAC, port.MAC{2, 0, 0, 0, 0, 0xa1}, 64)
	want := engineFrame(engineLIP, engineRS, 1025, 5353, engineNext, port.MAC{2, 0, 0, 0, 0, 0xb0}, 63)
	sender := openRaw(t, c.far, "a1", testType)
	sender.send(from)
	if got := c.heard.receive(make([]byte, 2048)); !bytes.Equal(got, want) {
		t.Fatalf("sent\n%x\nand received\n%x\nwant\n%x", from, got, want)
	}
	if n := c.engine.Way(0, 1)[0]; n != (afxdp.Carried{Packets: 1, RxBytes: 60, TxBytes: 60}) {
		t.Errorf("counted %+v", n)
	}
	if d := c.engine.Dest(0); d != (afxdp.Dest{InPkts: 1, InBytes: 46}) {
		t.Errorf("counted %+v for the real server", d)
	}
	for _, row := range []struct {
		name   string
		reason packet.Reason
		off    func()
		on     func()
	}{
		{
			"its other end takes no frames", packet.OffloadRefused,
			func() { c.gro(t, false) },
			func() { c.gro(t, true) },
		},
		{
			"it is down", packet.OffloadRefused,
			func() { check(t, c.dir.LinkDown("b0")) },
			func() { check(t, c.dir.LinkUp("b0")) },
		},
	} {
		row.off()
		if row.reason == packet.OffloadRefused && row.name != "it is down" && c.sends(t) {
			t.Errorf("%s, and Linux says that it sends", row.name)
		}
		_, before := c.engine.Lost(1)
		for range 10 {
			sender.send(from)
		}
		full, refused := c.engine.Lost(1)
		if full != 0 || refused-before != 10 {
			t.Errorf("%s: of 10 frames %d were counted as refused, %d as too many", row.name, refused-before, full)
		}
		row.on()
		if !c.sends(t) {
			t.Errorf("%s no more, and Linux says that it does not send", row.name)
		}
		sender.send(from)
		if got := c.heard.receive(make([]byte, 2048)); !bytes.Equal(got, want) {
			t.Errorf("%s no more: received %x", row.name, got)
		}
	}
}

// Two processors send more than the other end's ring holds: what is lost is counted
// (packet.OffloadFull), each frame once.
func TestEngineOverflows(t *testing.T) {
	c := newEngineCable(t)
	from := engineFrame(engineClient, engineVIP, 1024, 53, engineMAC, port.MAC{2, 0, 0, 0, 0, 0xa1}, 64)
	const each = 1 << 17
	trial, err := c.engine.Try(0)
	check(t, err)
	defer trial.Close()
	// Whether one overtakes the other depends on what else they do: again, until it did.
	var sent, full, refused uint64
	for deadline := time.Now().Add(time.Minute); full == 0 && time.Now().Before(deadline); {
		was := sent
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() { c.flood(t, trial, from, each) })
		}
		wg.Wait()
		full, refused = c.engine.Lost(1)
		if sent = c.engine.Way(0, 1)[0].Packets; sent-was != 2*each {
			t.Fatalf("sent %d frames of %d", sent-was, 2*each)
		}
	}
	if refused != 0 || full == 0 || full > sent {
		t.Errorf("sent %d frames, lost %d for want of room, %d were refused", sent, full, refused)
	}
	t.Logf("%d of %d frames found no room", full, sent)
	var got uint64
	check(t, c.far.Do(func() error {
		l, err := netlink.LinkByName("b1")
		if err == nil {
			got = l.Attrs().Statistics.RxPackets
		}
		return err
	}))
	if got != sent-full {
		t.Errorf("%d frames left and %d arrived", sent-full, got)
	}
}

// flood has a program that makes the frame anew each time go on with the engine's, in
// batches that no softirq comes between.
func (c *engineCable) flood(t *testing.T, trial *afxdp.Trial, frame []byte, n uint32) {
	spec, err := bpf.LoadCycle()
	if err != nil {
		t.Error(err)
		return
	}
	var model [8]uint64
	for i := range model[:7] {
		model[i] = binary.LittleEndian.Uint64(frame[8*i:])
	}
	bare := bytes.Clone(frame)
	clear(bare[26:30])
	clear(bare[34:36])
	ip := wire.IPv4(bare[14:])
	ip.ComputeChecksum()
	wire.UDP(bare[34:]).SetChecksum(0)
	wire.CompleteL4(ip)
	for name, v := range map[string]any{
		bpf.CycleVarModel: model, bpf.CycleVarBareIp: uint32(^binary.LittleEndian.Uint16(bare[24:])), bpf.CycleVarBareL4: uint32(^binary.LittleEndian.Uint16(bare[40:])),
	} {
		if err := spec.Variables[name].Set(v); err != nil {
			t.Error(err)
			return
		}
	}
	var o bpf.CycleObjects
	if err := spec.LoadAndAssign(&o, nil); err != nil {
		t.Error(err)
		return
	}
	defer o.Close()
	err = c.dir.Do(func() error {
		a0, err := port.FindLink("a0")
		if err != nil {
			return err
		}
		if err := o.Next.Put(uint32(0), trial.Program()); err != nil {
			return err
		}
		// struct xdp_md: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex.
		md := struct{ Data, End, Meta, In, Queue, Out uint32 }{End: uint32(len(frame)), In: uint32(a0.Index)}
		const live = 1 << 1 // BPF_F_TEST_XDP_LIVE_FRAMES
		_, err = o.Cycle.Run(&ebpf.RunOptions{Data: frame, Repeat: n, Flags: live, Context: md, BatchSize: 256})
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

package port_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"weir/internal/packet"
	"weir/internal/port"
	"weir/internal/port/afpacket"
	"weir/internal/port/afxdp"
	"weir/internal/testkit/netns"
)

// Several workers receive on one interface: every frame comes to exactly one of
// them, and the flows spread.
func TestQueues(t *testing.T) {
	const workers, flows, frames = 4, 256, 2048
	for _, d := range allDrivers {
		t.Run(d.name, func(t *testing.T) {
			host, dir := ends(t, d, workers)
			var memories []*memory
			for range workers {
				memories = append(memories, newMemory(t, 8192, 0))
			}
			o := open(t, d, dir, "d0", 0, 0, memories...)
			if o.facts.RxQueues != workers || o.facts.TxQueues != workers {
				t.Errorf("facts say %d and %d queues, want %d", o.facts.RxQueues, o.facts.TxQueues, workers)
			}
			far := openRaw(t, host, "h0", 0x0800)
			for i := range frames {
				far.send(udp(i, i%flows))
			}
			seen := make([]int, frames)
			home := make(map[uint16]int) // of a flow
			got := make([]int, workers)
			receiveAll(t, o, frames, func(w int, p *packet.Packet) {
				i, source := binary.BigEndian.Uint32(p.Data[42:]), binary.BigEndian.Uint16(p.Data[34:])
				seen[i]++
				if at, known := home[source]; known && at != w {
					t.Errorf("flow %d came to workers %d and %d", source, at, w)
				}
				home[source] = w
				got[w]++
			})
			busy := workers
			if d == xdpGeneric {
				busy-- // veth numbers queues for generic XDP from 1, and 0 means 0 as well
			}
			for w, n := range got[:busy] {
				if n < frames/workers/4 {
					t.Errorf("worker %d got %d of %d frames", w, n, frames)
				}
			}
			for i, n := range seen {
				if n != 1 {
					t.Fatalf("frame %d came %d times", i, n)
				}
			}
			c := o.counters()
			expectDrops(t, c, nil)
			if o.program != nil && o.program.Unserved() != 0 {
				t.Errorf("%d frames came to no socket", o.program.Unserved())
			}
		})
	}
}

// udp makes a UDP packet: its number is in the payload, the flow is its source port.
func udp(number, flow int) []byte {
	f := make([]byte, 60)
	copy(f, "\x02\x00\x00\x00\x00\x02\x02\x00\x00\x00\x00\x01\x08\x00"+
		"\x45\x00\x00\x2e\x00\x00\x40\x00\x40\x11\x00\x00\x0a\x09\x00\x01\x0a\x09\x00\x02"+
		"\x00\x00\x07\xd0\x00\x1a\x00\x00")
	binary.BigEndian.PutUint16(f[34:], uint16(1000+flow))
	binary.BigEndian.PutUint32(f[42:], uint32(number))
	return f
}

// Frames of a queue that nobody opened are counted by the program.
func TestUnserved(t *testing.T) {
	host, dir := cable(t, 2, 0)
	o := open(t, xdpNative, dir, "d0", 0, 0, newMemory(t, 1024, 0)) // queue 0 of 2
	far := openRaw(t, host, "h0", 0x0800)
	const frames = 200
	for i := range frames {
		far.send(udp(i, i))
	}
	got := receiveAll(t, o, frames, func(int, *packet.Packet) {})
	if lost := int(o.program.Unserved()); lost == 0 || got+lost != frames {
		t.Errorf("%d received and %d unserved of %d", got, lost, frames)
	}
}

// A queue that only sends holds no memory and hears nothing.
func TestSendOnly(t *testing.T) {
	host, dir := cable(t, 1, 0)
	m := newMemory(t, 64, 0)
	var q *afpacket.Queue
	check(t, dir.Do(func() error {
		l, err := port.FindLink("d0")
		if err != nil {
			return err
		}
		q, err = afpacket.Open(l, m.pool, afpacket.Options{SendOnly: true})
		return err
	}))
	defer q.Close()
	far := openRaw(t, host, "h0", testType)
	far.send(numbered(1, 60))
	var burst [port.Burst]*packet.Packet
	if n := q.Rx(burst[:]); n != 0 || q.Held() != 0 {
		t.Errorf("received %d packets, holds %d frames", n, q.Held())
	}
	p := m.pool.Get()
	p.Resize(60)
	copy(p.Data, numbered(2, 60))
	q.Tx([]*packet.Packet{p})
	var buf [128]byte
	if got := far.receive(buf[:]); !bytes.Equal(got, numbered(2, 60)) {
		t.Errorf("arrived %x", got)
	}
}

// The largest MTU there can be passes whole frames, with and without tag.
func TestMaxMTU(t *testing.T) {
	for _, d := range []driver{xdpNative, xdpGeneric} {
		t.Run(d.name, func(t *testing.T) {
			host, dir := cable(t, 1, afxdp.MaxMTU)
			o := open(t, d, dir, "d0", 0, 0, newMemory(t, 1024, 0))
			far := openRaw(t, host, "h0", testType)
			for _, n := range []int{afxdp.MaxMTU + 14, afxdp.MaxMTU + 18} {
				f := numbered(1, n)
				if n > afxdp.MaxMTU+14 {
					binary.BigEndian.PutUint16(f[12:], 0x8100)
				}
				far.send(f)
				var burst [port.Burst]*packet.Packet
				receive(t, o.queues[0], burst[:])
				if !bytes.Equal(burst[0].Data, f) {
					t.Errorf("received %d bytes, want %d", len(burst[0].Data), n)
				}
				o.queues[0].Tx(burst[:1])
				o.queues[0].Flush()
			}
			c := o.counters()
			expectDrops(t, c, nil)
			if c.TxPackets != 2 {
				t.Errorf("sent %d frames, want 2", c.TxPackets)
			}
		})
	}
}

// A queue can be opened again at once after it was closed, with frames in every
// ring, and all frames are back in between.
func TestReopen(t *testing.T) {
	for _, d := range drivers {
		t.Run(d.name, func(t *testing.T) {
			host, dir := cable(t, 1, 0)
			m := newMemory(t, 1024, 2)
			far := openRaw(t, host, "h0", testType)
			for range 20 {
				o := open(t, d, dir, "d0", 0, 128, m)
				for i := range 200 {
					far.send(numbered(i, 100))
				}
				var burst [port.Burst]*packet.Packet
				n := receive(t, o.queues[0], burst[:])
				o.queues[0].Tx(burst[:n]) // no Flush: some stay in the ring
				o.close()
				if m.pool.FreeFrames() != m.pool.Frames() {
					t.Fatalf("%d of %d frames are back after Close", m.pool.FreeFrames(), m.pool.Frames())
				}
			}
		})
	}
}

// The socket that registered the memory may go before those that share it.
func TestMemoryOutlivesItsFirstSocket(t *testing.T) {
	w := newWorld(t)
	dir, host := namespace(t, w, "dir"), namespace(t, w, "host")
	for _, n := range []string{"0", "1", "2"} {
		check(t, netns.Veth(netns.End{In: dir, Name: "d" + n}, netns.End{In: host, Name: "h" + n}))
	}
	m := newMemory(t, 2048, 0)
	first := open(t, xdpNative, dir, "d0", 0, 128, m)
	open(t, xdpNative, dir, "d1", 1, 128, m)
	first.close()
	third := open(t, xdpNative, dir, "d2", 2, 128, m)
	far := openRaw(t, host, "h2", testType)
	far.send(numbered(1, 60))
	receiveAll(t, third, 1, func(_ int, p *packet.Packet) {
		if !bytes.Equal(p.Data, numbered(1, 60)) {
			t.Errorf("received %x", p.Data)
		}
	})
}

// Attach and Open say what is wrong and what to do.
func TestRefusals(t *testing.T) {
	_, dir := cable(t, 1, 0)
	w := newWorld(t)
	big, far := namespace(t, w, "big"), namespace(t, w, "far")
	check(t, netns.Veth(netns.End{In: big, Name: "b0", MTU: 9000}, netns.End{In: far, Name: "f0", MTU: 9000}))
	m := newMemory(t, 1024, 0)
	owner := open(t, xdpNative, dir, "d0", 0, 0, m)
	for _, row := range []struct {
		name string
		in   *netns.Namespace
		do   func() error
		says []string
	}{
		{"no such interface", dir, attach("eth7", afxdp.Auto), []string{`"eth7"`, "d0"}},
		{"no such mode", dir, attach("d0", "turbo"), []string{`"turbo"`, "zerocopy", "native"}},
		{"mtu", big, attach("b0", afxdp.Auto), []string{"9000", "1774", "afpacket"}},
		{"another program", dir, attach("d0", afxdp.Auto), []string{"another XDP program", "ip link set dev d0 xdp off"}},
		{"no such queue", dir, func() error {
			_, err := owner.program.Open(1, m.umem, afxdp.Options{})
			return err
		}, []string{"no receive queue 1", "ethtool -l d0"}},
		{"odd ring", dir, func() error {
			_, err := owner.program.Open(0, m.umem, afxdp.Options{RxRing: 7})
			return err
		}, []string{"128 to 65536", "7"}},
		{"queue taken", dir, func() error {
			_, err := owner.program.Open(0, m.umem, afxdp.Options{})
			return err
		}, []string{"another program's AF_XDP socket"}},
		{"memory in use", dir, m.umem.Close, []string{"1 AF_XDP sockets", "close them first"}},
		{"no zero-copy on veth", far, func() error {
			// b0's MTU is too large here, f0's too; a small one is made first.
			l, err := port.FindLink("f0")
			if err != nil {
				return err
			}
			if err := errors.Join(l.SetMTU(1500), big.Do(func() error {
				l, err := port.FindLink("b0")
				if err != nil {
					return err
				}
				return l.SetMTU(1500)
			})); err != nil {
				return err
			}
			program, err := afxdp.Attach("f0", afxdp.ZeroCopy)
			if err != nil {
				t.Fatal(err)
			}
			_, err = program.Open(0, m.umem, afxdp.Options{})
			return errors.Join(err, program.Close())
		}, []string{"no zero-copy"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			err := row.in.Do(row.do)
			if err == nil {
				t.Fatal("no error")
			}
			for _, s := range row.says {
				if !strings.Contains(err.Error(), s) {
					t.Errorf("%q does not say %q", err, s)
				}
			}
		})
	}
	if x, err := far.XDP("f0"); err != nil || x != 0 {
		t.Errorf("XDP program %d is left on f0 (%v)", x, err)
	}
}

func attach(ifname string, mode afxdp.Mode) func() error {
	return func() error {
		program, err := afxdp.Attach(ifname, mode)
		if err == nil {
			return program.Close()
		}
		return err
	}
}

// What a killed director leaves behind: nothing, and its queue is free.
func TestKilled(t *testing.T) {
	const role = "WEIR_TEST_KILLED"
	if os.Getenv(role) != "" {
		beKilled(t)
		return
	}
	for _, d := range []driver{xdpNative, xdpGeneric} {
		t.Run(d.name, func(t *testing.T) {
			_, dir := cable(t, 1, 0)
			child := exec.Command(os.Args[0], "-test.run=^TestKilled$")
			child.Env = append(os.Environ(), role+"="+string(d.mode))
			out, err := child.StdoutPipe()
			check(t, err)
			p, err := dir.Start(child)
			check(t, err)
			line, err := bufio.NewReader(out).ReadString('\n')
			if err != nil || line != "ready\n" {
				t.Fatalf("the child said %q, %v", line, err)
			}
			if id, err := dir.XDP("d0"); err != nil || id == 0 {
				t.Fatalf("no XDP program while the child runs (%v)", err)
			}
			p.Kill()
			waitUntil(t, "the XDP program is gone", func() bool {
				id, err := dir.XDP("d0")
				return err == nil && id == 0
			})
			open(t, d, dir, "d0", 0, 0, newMemory(t, 256, 0))
		})
	}
}

func beKilled(t *testing.T) {
	pool, err := packet.NewPool(256, 0)
	check(t, err)
	program, err := afxdp.Attach("d0", afxdp.Mode(os.Getenv("WEIR_TEST_KILLED")))
	check(t, err)
	_, err = program.Open(0, afxdp.NewUMEM(pool), afxdp.Options{})
	check(t, err)
	os.Stdout.WriteString("ready\n")
	for {
		_ = unix.Pause()
	}
}

// Where native XDP can't be had, Auto takes generic and says why; Native says
// why and takes nothing.
func TestFallsBackToGeneric(t *testing.T) {
	for _, row := range []struct {
		name, why string
		make      func(t *testing.T, dir, far *netns.Namespace) error
	}{
		{"a driver without XDP", "knows no native XDP", func(_ *testing.T, dir, _ *netns.Namespace) error {
			return dir.Bridge("p0")
		}},
		{"a peer with jumbo frames", "that of its peer, is too large", func(_ *testing.T, dir, far *netns.Namespace) error {
			return netns.Veth(netns.End{In: dir, Name: "p0", MTU: 1500}, netns.End{In: far, Name: "f0", MTU: 9000})
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t)
			dir := namespace(t, w, "dir")
			check(t, row.make(t, dir, namespace(t, w, "far")))
			o := open(t, driver{"auto", afxdp.Auto, "afxdp generic copy"}, dir, "p0", 0, 0, newMemory(t, 1024, 0))
			if !strings.Contains(o.program.Why(), row.why) {
				t.Errorf("why not natively: %q, want it to say %q", o.program.Why(), row.why)
			}
			if !o.facts.RxPartial {
				t.Error("behind GRO checksums may be partial")
			}
			o.close()
			if err := dir.Do(attach("p0", afxdp.Native)); err == nil || !strings.Contains(err.Error(), row.why) {
				t.Errorf("native or nothing: %v, want it to say %q", err, row.why)
			}
		})
	}
}

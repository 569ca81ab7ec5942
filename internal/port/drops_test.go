package port_test

import (
	"bytes"
	"encoding/binary"
	"testing"

	"weir/internal/packet"
	"weir/internal/port"
	"weir/internal/port/afxdp"
)

// When nobody receives, the frames that find no room are counted, each once.
func TestOverflowIsCounted(t *testing.T) {
	for _, row := range []struct {
		driver
		frames int
		reason packet.Reason
	}{
		{packetSockets, 100_000, packet.PortRxRingFull},
		{xdpNative, 2_000, packet.PortRxNoFrame},
		{xdpGeneric, 2_000, packet.PortRxNoFrame},
		{twin, 3_000, packet.PortRxRingFull},
	} {
		t.Run(row.name, func(t *testing.T) {
			host, dir := ends(t, row.driver, 1)
			o := open(t, row.driver, dir, "d0", 0, 128, newMemory(t, 4096, 0))
			far := openRaw(t, host, "h0", testType)
			frame := numbered(0, 60)
			for range row.frames {
				far.send(frame)
			}
			got := receiveAll(t, o, row.frames, func(int, *packet.Packet) {})
			c := o.counters()
			if lost := c.Drops[row.reason]; lost == 0 || got+int(lost) != row.frames {
				t.Errorf("sent %d, received %d, counted %d as %s", row.frames, got, lost, row.reason)
			}
			expectDrops(t, c, map[packet.Reason]uint64{row.reason: c.Drops[row.reason]})
			if again := o.counters(); *again != *c {
				t.Errorf("asked twice, the counters differ: %v, then %v", *c, *again)
			}
			o.close()
			if last := o.counters(); *last != *c {
				t.Errorf("after Close the counters are %v, were %v", *last, *c)
			}
		})
	}
}

// gsoFrame makes a UDP super-frame of n segments, the way a kernel would.
func gsoFrame(t *testing.T, pool *packet.Pool, segments int) *packet.Packet {
	t.Helper()
	const size = 1400
	p := pool.GetBig()
	if p == nil || !p.Resize(42+segments*size) {
		t.Fatal("no memory for a big frame")
	}
	clear(p.Data)
	copy(p.Data, "\x02\x00\x00\x00\x00\x02\x02\x00\x00\x00\x00\x01\x08\x00")
	ip := p.Data[14:]
	copy(ip, []byte{0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 17, 0, 0, 10, 9, 0, 1, 10, 9, 0, 2})
	binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
	binary.BigEndian.PutUint16(ip[20:], 1000)
	binary.BigEndian.PutUint16(ip[22:], 2000)
	binary.BigEndian.PutUint16(ip[24:], uint16(len(ip)-20))
	for i := range p.Data[42:] {
		p.Data[42+i] = byte(i / size)
	}
	p.L3, p.L4, p.Proto = 14, 34, 17
	p.Flags = packet.GSO | packet.CsumPartial
	p.GSOType, p.GSOSize = packet.GSOUDPL4, size
	return p
}

// A GSO frame arrives whole where the driver can take it, and is counted where
// it can't.
func TestGSOFrame(t *testing.T) {
	for _, row := range []struct {
		driver
		bigs    int // big frames of the receiving pool
		packets int
		drops   map[packet.Reason]uint64
	}{
		{packetSockets, 1, 1, nil},
		{packetSockets, 0, 0, map[packet.Reason]uint64{packet.PoolEmpty: 1}},
		{xdpGeneric, 1, 0, map[packet.Reason]uint64{packet.PortRxTooBig: 1}},
		// Native XDP had the sender's segmentation offload switched off.
		{xdpNative, 1, 46, nil},
		{twin, 1, 1, nil},
		{twin, 0, 0, map[packet.Reason]uint64{packet.PoolEmpty: 1}},
	} {
		t.Run(row.name, func(t *testing.T) {
			host, dir := ends(t, row.driver, 1)
			o := open(t, row.driver, dir, "d0", 0, 0, newMemory(t, 1024, row.bigs))
			sender := newMemory(t, 128, 1)
			far := open(t, packetSockets, host, "h0", 0, 0, sender)
			p := gsoFrame(t, sender.pool, 46)
			want := bytes.Clone(p.Data)
			far.queues[0].Tx([]*packet.Packet{p})
			if c := far.counters(); c.TxPackets != 1 {
				t.Fatalf("the frame was not sent: %v", c)
			}
			got := receiveAll(t, o, max(row.packets, 1), func(_ int, p *packet.Packet) {
				if row.packets == 1 && (!bytes.Equal(p.Data, want) || !p.Is(packet.GSO|packet.CsumPartial) || p.GSOType != packet.GSOUDPL4 || p.GSOSize != 1400) {
					t.Errorf("received %d bytes, flags %x, gso type %d size %d", len(p.Data), p.Flags, p.GSOType, p.GSOSize)
				}
			})
			if got != row.packets {
				t.Errorf("received %d packets, want %d", got, row.packets)
			}
			expectDrops(t, o.counters(), row.drops)
			if row.drops[packet.PortRxTooBig] > 0 && o.program.Warning() == "" {
				t.Error("no warning for the log")
			}
		})
	}
}

// What can't be sent is counted under its reason, freed, and does not stop the
// packets behind it.
func TestUnsendable(t *testing.T) {
	for _, d := range drivers {
		t.Run(d.name, func(t *testing.T) {
			host, dir := cable(t, 1, 0)
			m := newMemory(t, 1024, 4)
			foreign := newMemory(t, 8, 0)
			o := open(t, d, dir, "d0", 0, 0, m)
			far := openRaw(t, host, "h0", testType)

			var burst []*packet.Packet
			add := func(p *packet.Packet, i, n int, f packet.Flags) {
				if !p.Resize(n) {
					t.Fatalf("no room for %d bytes", n)
				}
				copy(p.Data, numbered(i, max(n, 60)))
				p.Flags = f
				burst = append(burst, p)
			}
			add(m.pool.Get(), 1, 1514, 0)
			add(m.pool.Get(), 2, 1515, 0)                 // too big
			add(m.pool.GetBig(), 3, 9000, 0)              // too big
			add(m.pool.GetBig(), 4, 1000, 0)              // lies on a big frame, but fits
			add(foreign.pool.Get(), 5, 700, 0)            // another pool's
			add(m.pool.Get(), 6, 100, packet.CsumPartial) // without saying of what
			add(m.pool.Get(), 7, 5, 0)                    // a runt
			add(m.pool.Get(), 8, 60, 0)
			o.queues[0].Tx(burst)
			o.queues[0].Flush()

			var buf [2048]byte
			for _, want := range [][]byte{numbered(1, 1514), numbered(4, 1000), numbered(5, 700), numbered(8, 60)} {
				if got := far.receive(buf[:]); !bytes.Equal(got, want) {
					t.Errorf("arrived: %d bytes %.20x, want %d bytes %.20x", len(got), got, len(want), want)
				}
			}
			c := o.counters()
			expectDrops(t, c, map[packet.Reason]uint64{packet.PortTxTooBig: 2, packet.WalkFault: 1, packet.PortTxError: 1})
			if c.TxPackets != 4 || c.TxBytes != 1514+1000+700+60 {
				t.Errorf("counted %d packets, %d bytes sent", c.TxPackets, c.TxBytes)
			}
		})
	}
}

// A VLAN tag that Linux takes out of a frame is put back, and a full frame with
// a tag passes both ways.
func TestVLANTag(t *testing.T) {
	for _, d := range allDrivers {
		t.Run(d.name, func(t *testing.T) {
			host, dir := ends(t, d, 1)
			o := open(t, d, dir, "d0", 0, 0, newMemory(t, 1024, 1))
			far := openRaw(t, host, "h0", testType)
			for _, row := range []struct {
				tpid    uint16
				longest int // Linux's packet sockets let no longer one out
			}{{0x8100, 1518}, {0x88a8, 1514}} {
				tpid := row.tpid
				for _, n := range []int{60, row.longest} {
					f := numbered(1, n)
					binary.BigEndian.PutUint16(f[12:], tpid)
					binary.BigEndian.PutUint16(f[14:], 3<<13|123)
					binary.BigEndian.PutUint16(f[16:], testType)
					far.send(f)
					var burst [port.Burst]*packet.Packet
					if got := receive(t, o.queues[0], burst[:]); got != 1 || !bytes.Equal(burst[0].Data, f) {
						t.Fatalf("tpid %x: received %d packets, %d bytes: %.24x, want %d bytes %.24x", tpid, got, len(burst[0].Data), burst[0].Data, n, f)
					}
					o.queues[0].Tx(burst[:1])
					o.queues[0].Flush()
					var buf [2048]byte
					untagged := append(bytes.Clone(f[:12]), f[16:]...)
					if got := far.receive(buf[:]); !bytes.Equal(got, untagged) { // a plain packet socket leaves the tag out
						t.Fatalf("tpid %x: arrived %d bytes %.20x", tpid, len(got), got)
					}
				}
			}
		})
	}
}

// With the interface down nothing is lost silently.
func TestPortDown(t *testing.T) {
	for _, d := range allDrivers {
		t.Run(d.name, func(t *testing.T) {
			_, dir := ends(t, d, 1)
			m := newMemory(t, 1024, 0)
			o := open(t, d, dir, "d0", 0, 128, m)
			check(t, dir.LinkDown(o.link.Name))
			const packets = 500
			transmit(o.queues[0], m.pool, packets)
			c := o.counters()
			waiting := 0
			if d.mode != "" {
				waiting = 128 // in the ring, for when it is up again
			}
			expectDrops(t, c, map[packet.Reason]uint64{packet.PortDown: uint64(packets - waiting)})
			if !o.queues[0].PreparePoll() {
				t.Error("a worker must not spin because a port is down")
			}
		})
	}
}

// With nobody at the other end, what can't go is counted, each packet once.
func TestNoCarrier(t *testing.T) {
	for _, row := range []struct {
		driver
		reason packet.Reason
	}{
		{packetSockets, packet.PortTxFull}, // Linux has taken the transmit queue away
		{xdpNative, packet.PortTxError},    // and here it throws the frames away
		{xdpGeneric, packet.PortTxError},
	} {
		t.Run(row.name, func(t *testing.T) {
			host, dir := cable(t, 1, 0)
			m := newMemory(t, 1024, 0)
			o := open(t, row.driver, dir, "d0", 0, 128, m)
			check(t, host.LinkDown("h0"))
			const packets = 500
			transmit(o.queues[0], m.pool, packets)
			c := o.counters()
			expectDrops(t, c, map[packet.Reason]uint64{row.reason: packets})
			if c.TxPackets != 0 {
				t.Errorf("%d packets are said to be sent", c.TxPackets)
			}
		})
	}
}

// A transmit queue that is slower than we are: sent and dropped make the whole.
func TestSlowTransmitQueue(t *testing.T) {
	_, dir := cable(t, 1, 0)
	m := newMemory(t, 1024, 0)
	o := open(t, packetSockets, dir, "d0", 0, 0, m)
	_, err := dir.Run(t.Context(), "tc", "qdisc", "add", "dev", "d0", "root", "tbf", "rate", "8kbit", "burst", "2000", "limit", "3000")
	check(t, err)
	const packets = 500
	transmit(o.queues[0], m.pool, packets)
	c := o.counters()
	full := c.Drops[packet.PortTxFull]
	if full == 0 || c.TxPackets == 0 || c.TxPackets+full != packets {
		t.Errorf("%d sent and %d dropped of %d", c.TxPackets, full, packets)
	}
	expectDrops(t, c, map[packet.Reason]uint64{packet.PortTxFull: full})
}

// transmit sends packets one by one.
func transmit(q port.Queue, pool *packet.Pool, packets int) {
	for i := range packets {
		p := pool.Get()
		p.Resize(60)
		copy(p.Data, numbered(i, 60))
		q.Tx([]*packet.Packet{p})
		q.Flush()
	}
}

// A worker that has no processor for a while loses nothing that its ring holds.
func TestWorkerAway(t *testing.T) {
	const ring = 4096
	for _, d := range []driver{xdpNative, xdpGeneric} {
		t.Run(d.name, func(t *testing.T) {
			host, dir := ends(t, d, 1)
			o := open(t, d, dir, "d0", 0, ring, newMemory(t, 4*ring, 0))
			far := openRaw(t, host, "h0", testType)
			for i := range ring {
				far.send(numbered(i, 60))
			}
			next := 0
			receiveAll(t, o, ring, func(_ int, p *packet.Packet) {
				if got := binary.BigEndian.Uint32(p.Data[14:]); got != uint32(next) {
					t.Fatalf("frame %d came in the place of %d", got, next)
				}
				next++
			})
			expectDrops(t, o.counters(), nil)
		})
	}
}

// Queues that share a memory leave half of it to what becomes of the packets.
func TestQueuesShareMemory(t *testing.T) {
	const frames, sharing, sent = 4096, 4, 1000
	host, dir := ends(t, xdpNative, 1)
	m := newMemory(t, frames, 0)
	var q *afxdp.Queue
	check(t, dir.Do(func() error {
		pr, err := afxdp.Attach("d0", xdpNative.mode)
		if err != nil {
			return err
		}
		t.Cleanup(func() { check(t, pr.Close()) })
		q, err = pr.Open(0, m.umem, afxdp.Options{RxRing: frames, Sharing: sharing})
		return err
	}))
	t.Cleanup(func() { check(t, q.Close()) })
	if free := m.pool.FreeFrames(); free != frames-frames/2/sharing {
		t.Errorf("one queue of %d left %d of %d frames", sharing, free, frames)
	}
	far := openRaw(t, host, "h0", testType)
	for i := range sent {
		far.send(numbered(i, 60))
	}
	got := receiveAll(t, &openPort{queues: []port.Queue{q}}, frames/2/sharing, func(int, *packet.Packet) {})
	var c port.Counters
	q.Counters(&c)
	if lost := c.Drops[packet.PortRxNoFrame]; got != frames/2/sharing || int(lost) != sent-got {
		t.Errorf("sent %d, received %d, counted %d", sent, got, lost)
	}
}

package pipe_test

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"weir/internal/packet"
	"weir/internal/port"
	"weir/internal/port/pipe"
)

const deadline = 20 * time.Second

func newPool(t testing.TB, small, big int) *packet.Pool {
	t.Helper()
	pool, err := packet.NewPool(small, big)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if pool.InUse() != 0 || pool.FreeFrames() != pool.Frames() {
			t.Errorf("%d packets are out, %d of %d frames free", pool.InUse(), pool.FreeFrames(), pool.Frames())
		}
		if err := pool.Close(); err != nil {
			t.Error(err)
		}
	})
	return pool
}

func queue(t testing.TB, p *pipe.Port, i int, pool *packet.Pool) *pipe.Queue {
	t.Helper()
	q, err := p.Queue(i, pool)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := q.Close(); err != nil {
			t.Error(err)
		}
	})
	return q
}

func made(pool *packet.Pool, n int, mark byte) *packet.Packet {
	p := pool.Get()
	if n > packet.SmallFrame-packet.Headroom {
		pool.Put(p)
		p = pool.GetBig()
	}
	p.Resize(n)
	clear(p.Data)
	p.Data[0] = mark
	return p
}

func TestInjectAndTake(t *testing.T) {
	pool := newPool(t, 256, 2)
	p := pipe.New(5, "dpdk0", port.MAC{2, 0, 0, 0, 0, 1}, 1500).Queues(2)
	q0, q1 := queue(t, p, 0, pool), queue(t, p, 1, pool)
	for i := range 100 {
		f := make([]byte, 60+i*14)
		f[0] = byte(i)
		if !p.InjectAt(i%2, f) {
			t.Fatalf("no room for frame %d", i)
		}
	}
	var burst [port.Burst]*packet.Packet
	for w, q := range []*pipe.Queue{q0, q1} {
		n := q.Rx(burst[:])
		if n != 50 {
			t.Fatalf("queue %d: %d packets, want 50", w, n)
		}
		for i, p := range burst[:n] {
			if want := 2*i + w; p.Data[0] != byte(want) || len(p.Data) != 60+want*14 || p.In != 5 || p.Head() != packet.Headroom {
				t.Errorf("queue %d packet %d: mark %d, %d bytes, in %d", w, i, p.Data[0], len(p.Data), p.In)
			}
		}
		q.Tx(burst[:n])
	}
	select {
	case <-p.Arrived(0):
	default:
		t.Error("no word of the frames that were sent")
	}
	frames := p.Take()
	if len(frames) != 100 || frames[0][0] != 0 || frames[99][0] != 99 {
		t.Errorf("%d frames were sent", len(frames))
	}
	if again := p.Take(); again != nil {
		t.Errorf("%d frames were there twice", len(again))
	}
	var c port.Counters
	q0.Counters(&c)
	q1.Counters(&c)
	if c.RxPackets != 100 || c.TxPackets != 100 || c.RxBytes != c.TxBytes || c.RxBytes != 100*60+14*99*50 {
		t.Errorf("counters: %v", c)
	}
	if f := p.Facts(); f.RxQueues != 2 || f.TxQueues != 2 || f.MTU != 1500 || f.ID != 5 {
		t.Errorf("facts: %+v", f)
	}
	if _, err := p.Queue(2, pool); err == nil {
		t.Error("a queue was opened that does not exist")
	}
}

// What travels beside a frame: the facts of a vnet header, and no others.
func TestMetadata(t *testing.T) {
	pool := newPool(t, 16, 2)
	p := pipe.New(0, "dpdk0", port.MAC{}, 1500).Offloads(true, true, false)
	q := queue(t, p, 0, pool)
	super := made(pool, 30000, 1)
	super.Flags = packet.GSO | packet.CsumPartial | packet.Plain
	super.GSOType, super.GSOSize = packet.GSOTCPv4, 1448
	p.InjectPacket(0, super)
	pool.Put(super)
	var burst [port.Burst]*packet.Packet
	if n := q.Rx(burst[:]); n != 1 {
		t.Fatalf("received %d packets", n)
	}
	same := func(p *packet.Packet) bool {
		return len(p.Data) == 30000 && p.Flags == packet.GSO|packet.CsumPartial && p.GSOType == packet.GSOTCPv4 && p.GSOSize == 1448
	}
	if !same(burst[0]) {
		t.Errorf("received %d bytes, flags %x, gso %d/%d", len(burst[0].Data), burst[0].Flags, burst[0].GSOType, burst[0].GSOSize)
	}
	q.Tx(burst[:1])
	if n := p.TakeInto(0, burst[:], pool); n != 1 || !same(burst[0]) {
		t.Errorf("took %d packets, %d bytes, flags %x", n, len(burst[0].Data), burst[0].Flags)
	}
	pool.Put(burst[0])
}

func TestDrops(t *testing.T) {
	pool := newPool(t, 2*pipe.Room, 2)
	p := pipe.New(0, "dpdk0", port.MAC{}, 1500)
	q := queue(t, p, 0, pool)
	frame := make([]byte, 60)
	for range pipe.Room + 3 {
		p.Inject(frame)
	}
	for i := range pipe.Room + 5 {
		q.Tx([]*packet.Packet{made(pool, 60, byte(i))})
	}
	q.Tx([]*packet.Packet{made(pool, 1519, 0), made(pool, 4000, 0)})
	var c port.Counters
	q.Counters(&c)
	for r, want := range map[packet.Reason]uint64{packet.PortRxRingFull: 3, packet.PortTxFull: 5, packet.PortTxTooBig: 2} {
		if c.Drops[r] != want {
			t.Errorf("%s is %d, want %d", r, c.Drops[r], want)
		}
	}
	if c.TxPackets != pipe.Room || c.TxBytes != 60*pipe.Room {
		t.Errorf("%d packets, %d bytes sent", c.TxPackets, c.TxBytes)
	}
	// Without memory a frame waits; it is not lost.
	var held []*packet.Packet
	for p := pool.Get(); p != nil; p = pool.Get() {
		held = append(held, p)
	}
	var burst [port.Burst]*packet.Packet
	if n := q.Rx(burst[:]); n != 0 {
		t.Errorf("%d packets without memory", n)
	}
	for _, p := range held {
		pool.Put(p)
	}
	got := 0
	for n := q.Rx(burst[:]); n > 0; n = q.Rx(burst[:]) {
		for _, p := range burst[:n] {
			pool.Put(p)
		}
		got += n
	}
	if got != pipe.Room {
		t.Errorf("%d packets received, want %d", got, pipe.Room)
	}
}

// Two workers on joined pipes, each in its goroutine, sleeping when idle: every
// frame goes there and back, in order.
func TestJoin(t *testing.T) {
	const frames = 20_000
	a, b := pipe.New(0, "a", port.MAC{}, 1500), pipe.New(1, "b", port.MAC{}, 1500)
	pipe.Join(a, b)
	poolA, poolB := newPool(t, 1024, 0), newPool(t, 1024, 0)
	qa, qb := queue(t, a, 0, poolA), queue(t, b, 0, poolB)

	echoed := make(chan int)
	go func() { // the far end turns everything round
		n := 0
		var burst [port.Burst]*packet.Packet
		for n < frames {
			got := receive(t, qb, burst[:])
			if got == 0 {
				break
			}
			qb.Tx(burst[:got])
			n += got
		}
		echoed <- n
	}()
	var burst [port.Burst]*packet.Packet
	sent, back := 0, 0
	for back < frames {
		n := min(port.Burst, frames-sent, 512-(sent-back)) // what is under way fits on a wire
		for i := range n {
			burst[i] = made(poolA, 60, 0)
			binary.BigEndian.PutUint32(burst[i].Data[14:], uint32(sent+i))
		}
		qa.Tx(burst[:n])
		sent += n
		got := receive(t, qa, burst[:])
		if got == 0 {
			break
		}
		for _, p := range burst[:got] {
			if i := binary.BigEndian.Uint32(p.Data[14:]); i != uint32(back) || p.In != 0 {
				t.Fatalf("frame %d came back as number %d", i, back)
			}
			back++
			poolA.Put(p)
		}
	}
	if n := <-echoed; n != frames || back != frames {
		t.Errorf("%d frames were echoed, %d came back, of %d", n, back, frames)
	}
	if a.Take() != nil || a.TakeInto(0, burst[:], poolA) != 0 {
		t.Error("frames of a joined pipe were taken")
	}
}

// receive waits for packets as an idle worker does; 0 after the deadline.
func receive(t *testing.T, q *pipe.Queue, burst []*packet.Packet) int {
	until := time.Now().Add(deadline)
	for {
		if n := q.Rx(burst); n > 0 {
			return n
		}
		left := time.Until(until)
		if left <= 0 {
			t.Errorf("nothing received within %v", deadline)
			return 0
		}
		if q.PreparePoll() {
			_, err := unix.Poll([]unix.PollFd{{Fd: int32(q.FD()), Events: unix.POLLIN}}, int(left.Milliseconds()))
			if err != nil && err != unix.EINTR {
				t.Error(err)
				return 0
			}
		}
	}
}

func TestSourceAndSink(t *testing.T) {
	pool := newPool(t, 128, 0)
	p := pipe.New(9, "bench", port.MAC{}, 1500)
	q := queue(t, p, 0, pool)
	if q.FD() < 0 || !q.PreparePoll() {
		t.Error("without a source the queue can be slept on")
	}
	q.Source = func(burst []*packet.Packet) int {
		for i := range burst {
			burst[i] = made(pool, 60, byte(i))
		}
		return len(burst)
	}
	var sunk [][]byte
	q.Sink = func(burst []*packet.Packet) {
		for _, p := range burst {
			sunk = append(sunk, bytes.Clone(p.Data))
			pool.Put(p)
		}
	}
	if q.FD() != -1 || q.PreparePoll() {
		t.Error("a source always has more")
	}
	var burst [2 * port.Burst]*packet.Packet
	n := q.Rx(burst[:])
	if n != port.Burst || burst[0].In != 9 {
		t.Errorf("%d packets, want %d", n, port.Burst)
	}
	q.Tx(burst[:n])
	if len(sunk) != port.Burst || sunk[63][0] != 63 {
		t.Errorf("%d packets were sunk", len(sunk))
	}
}

func TestNoAllocation(t *testing.T) {
	pool := newPool(t, 256, 0)
	a, b := pipe.New(0, "a", port.MAC{}, 1500), pipe.New(1, "b", port.MAC{}, 1500)
	pipe.Join(a, b)
	qa, qb := queue(t, a, 0, pool), queue(t, b, 0, pool)
	var burst [port.Burst]*packet.Packet
	var c port.Counters
	round := func() {
		for i := range burst {
			burst[i] = made(pool, 60, 0)
		}
		qa.Tx(burst[:])
		qa.Flush()
		n := qb.Rx(burst[:])
		qb.PreparePoll()
		qb.Counters(&c)
		for _, p := range burst[:n] {
			pool.Put(p)
		}
	}
	for range pipe.Room/port.Burst + 1 {
		round() // every place of the wire gets its memory the first time
	}
	if n := testing.AllocsPerRun(100, round); n != 0 {
		t.Errorf("%v allocations a round, want none", n)
	}
}

// BenchmarkSourceSink is the price of the port in a benchmark of the walk.
func BenchmarkSourceSink(b *testing.B) {
	pool := newPool(b, 128, 0)
	q := queue(b, pipe.New(0, "bench", port.MAC{}, 1500), 0, pool)
	var packets, burst [port.Burst]*packet.Packet
	for i := range packets {
		packets[i] = made(pool, 60, 0)
	}
	q.Source = func(burst []*packet.Packet) int { return copy(burst, packets[:]) }
	q.Sink = func([]*packet.Packet) {}
	b.ReportAllocs()
	for b.Loop() {
		q.Tx(burst[:q.Rx(burst[:])])
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*port.Burst), "ns/packet")
	for _, p := range packets {
		pool.Put(p)
	}
}

// BenchmarkJoined is the price of a wire: a burst from one pipe to another.
func BenchmarkJoined(b *testing.B) {
	pool := newPool(b, 256, 0)
	x, y := pipe.New(0, "a", port.MAC{}, 1500), pipe.New(1, "b", port.MAC{}, 1500)
	pipe.Join(x, y)
	qx, qy := queue(b, x, 0, pool), queue(b, y, 0, pool)
	var burst [port.Burst]*packet.Packet
	for i := range burst {
		burst[i] = made(pool, 60, 0)
	}
	b.ReportAllocs()
	for b.Loop() {
		qx.Tx(burst[:])
		if qy.Rx(burst[:]) != port.Burst {
			b.Fatal("frames were lost")
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*port.Burst), "ns/packet")
	for _, p := range burst {
		pool.Put(p)
	}
}

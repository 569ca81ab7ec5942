package afxdp

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"weir/bpf"
	"weir/internal/packet"
	"weir/internal/port"
)

// kernel is the other side of the rings of a queue that has no socket: it does
// what Linux does with them, one thing at a time.
type kernel struct {
	q     *Queue
	empty []uint64 // taken from the fill ring
	sent  []desc   // taken from the transmit ring, not completed yet
}

// start is where ring indexes begin, to see them wrap at 2^32.
func newKernel(t *testing.T, frames int, entries, start uint32) *kernel {
	t.Helper()
	pool, err := packet.NewPool(frames, 2)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := pool.Close(); err != nil {
			t.Error(err)
		}
	})
	q := &Queue{
		pool: pool, umem: NewUMEM(pool), fd: -1, id: 3,
		maxLen: 1514, target: min(int(entries), frames/4), reserve: frames / 8,
		inside: make([]uint64, (frames+63)/64), drops: new(bpf.XskRedirectDrops),
	}
	for _, r := range []*ring{&q.rx, &q.fill, &q.tx, &q.completion} {
		memory := make([]uint64, 2*entries)
		*r = ring{
			producer: new(uint32), consumer: new(uint32), flags: new(uint32),
			base: unsafe.Pointer(&memory[0]), mask: entries - 1, size: entries, prod: start, cons: start,
		}
		*r.producer, *r.consumer = start, start
	}
	*q.tx.flags = unix.XDP_RING_NEED_WAKEUP
	return &kernel{q: q}
}

// takeEmpty takes frames from the fill ring.
func (k *kernel) takeEmpty() {
	r := &k.q.fill
	for c := *r.consumer; c != atomic.LoadUint32(r.producer); c++ {
		k.empty = append(k.empty, *r.addr(c))
		*r.consumer = c + 1
	}
}

// receive puts a frame of n bytes into the receive ring, if it can.
func (k *kernel) receive(n int, mark byte) bool {
	r := &k.q.rx
	if len(k.empty) == 0 || *r.producer-*r.consumer == r.size {
		return false
	}
	addr := k.empty[0] + packet.Headroom
	k.empty = k.empty[1:]
	k.q.pool.Arena()[addr] = mark
	*r.desc(*r.producer) = desc{addr: addr, len: uint32(n)}
	*r.producer++
	return true
}

// takeSent takes frames from the transmit ring.
func (k *kernel) takeSent() {
	r := &k.q.tx
	for c := *r.consumer; c != atomic.LoadUint32(r.producer); c++ {
		k.sent = append(k.sent, *r.desc(c))
		*r.consumer = c + 1
	}
}

// complete puts the oldest sent frame into the completion ring, if it can.
func (k *kernel) complete() bool {
	r := &k.q.completion
	if len(k.sent) == 0 || *r.producer-*r.consumer == r.size {
		return false
	}
	*r.addr(*r.producer) = k.sent[0].addr
	k.sent = k.sent[1:]
	*r.producer++
	return true
}

// Whatever the order in which kernel and worker do their things, and where the
// indexes wrap, no frame is lost, doubled or mixed up.
func TestRingsAgainstModel(t *testing.T) {
	for _, polls := range []bool{false, true} {
		t.Run(fmt.Sprintf("busy polling %v", polls), func(t *testing.T) { ringsAgainstModel(t, polls) })
	}
}

func ringsAgainstModel(t *testing.T, polls bool) {
	k := newKernel(t, 512, 128, ^uint32(0)-1000)
	q, pool := k.q, k.q.pool
	q.polls = polls
	dice := rand.New(rand.NewPCG(3, 4))
	var stage []*packet.Packet // what the stages hold, oldest first
	var marks []byte           // of the frames in the receive ring
	var mark byte
	in, out := 0, 0
	for step := range 200_000 {
		switch dice.IntN(7) {
		case 0:
			k.takeEmpty()
		case 1:
			for range dice.IntN(40) {
				if k.receive(60+dice.IntN(1455), mark) {
					marks = append(marks, mark)
					mark++
				}
			}
		case 2:
			var burst [port.Burst]*packet.Packet
			n := q.Rx(burst[:dice.IntN(port.Burst+1)])
			for i, p := range burst[:n] {
				if p.Data[0] != marks[i] || p.In != 3 || p.Head() != packet.Headroom {
					t.Fatalf("step %d: packet %d has mark %d, in %d, headroom %d; want mark %d", step, i, p.Data[0], p.In, p.Head(), marks[i])
				}
			}
			marks = marks[n:]
			stage = append(stage, burst[:n]...)
			in += n
		case 3:
			n := min(dice.IntN(port.Burst), len(stage))
			before, drops := q.counts.TxPackets, q.counts.Drops[packet.PortTxFull]
			q.Tx(stage[:n])
			if sent, full := int(q.counts.TxPackets-before), int(q.counts.Drops[packet.PortTxFull]-drops); sent+full != n {
				t.Fatalf("step %d: of %d packets %d were sent and %d dropped", step, n, sent, full)
			}
			out += n
			stage = slices.Delete(stage, 0, n)
		case 4:
			k.takeSent()
		case 5:
			for range dice.IntN(60) {
				k.complete()
			}
		case 6:
			q.Flush()
		}
		if pool.FreeFrames()+q.Held()+len(stage) != pool.Frames() || pool.InUse() != len(stage) {
			t.Fatalf("step %d: %d free, %d held, %d in stages, %d out, of %d", step, pool.FreeFrames(), q.Held(), len(stage), pool.InUse(), pool.Frames())
		}
		if q.rxHeld > q.target || q.txHeld > 2*int(q.tx.size)+len(k.sent) {
			t.Fatalf("step %d: %d frames held for receiving (bound %d), %d for sending", step, q.rxHeld, q.target, q.txHeld)
		}
	}
	if in < 10_000 || out < 10_000 || q.counts.Drops[packet.PortTxFull] == 0 {
		t.Errorf("a dull test: %d in, %d out, %d dropped", in, out, q.counts.Drops[packet.PortTxFull])
	}
	for _, p := range stage {
		pool.Put(p)
	}
	// A close takes all back, whoever has it.
	if err := q.shut(); err != nil {
		t.Fatal(err)
	}
	seen := make(map[uint32]bool)
	for f, ok := pool.TakeFrame(); ok; f, ok = pool.TakeFrame() {
		if seen[f] {
			t.Fatalf("frame %d came back twice", f)
		}
		seen[f] = true
	}
	if len(seen) != pool.Frames() {
		t.Errorf("%d of %d frames came back", len(seen), pool.Frames())
	}
}

// Short of memory, receiving leaves the reserve to the stages, and starts again
// when there is more.
func TestRefillLeavesAReserve(t *testing.T) {
	k := newKernel(t, 512, 256, 0)
	q, pool := k.q, k.q.pool
	var stage []*packet.Packet
	for pool.FreeFrames() > q.reserve+refillBatch/2 {
		stage = append(stage, pool.Get())
	}
	before := pool.FreeFrames()
	q.Flush()
	if free := pool.FreeFrames(); free != q.reserve || q.rxHeld != before-free {
		t.Errorf("%d frames free, reserve %d; %d went to the kernel", free, q.reserve, q.rxHeld)
	}
	k.takeEmpty()
	for k.receive(60, 0) {
	}
	var burst [port.Burst]*packet.Packet
	stage = append(stage, burst[:q.Rx(burst[:])]...)
	q.Flush()
	if q.rxHeld != 0 || pool.FreeFrames() != q.reserve {
		t.Errorf("%d frames went to the kernel with %d free, reserve %d", q.rxHeld, pool.FreeFrames(), q.reserve)
	}
	for _, p := range stage {
		pool.Put(p)
	}
	q.Flush()
	if q.rxHeld != q.target {
		t.Errorf("%d frames are with the kernel, want %d", q.rxHeld, q.target)
	}
}

// What lies in a full ring is not touched, and the worker may not sleep on it.
func TestTransmitRingStaysFull(t *testing.T) {
	k := newKernel(t, 512, 128, 0)
	q, pool := k.q, k.q.pool
	for i := range 200 {
		p := pool.Get()
		p.Resize(60)
		p.Data[0] = byte(i)
		q.Tx([]*packet.Packet{p})
	}
	var c port.Counters
	c.Add(&q.counts)
	if c.TxPackets != 128 || c.Drops[packet.PortTxFull] != 72 {
		t.Errorf("%d sent, %d dropped, want 128 and 72", c.TxPackets, c.Drops[packet.PortTxFull])
	}
	if q.PreparePoll() {
		t.Error("a worker must come back to send what waits")
	}
	k.takeSent()
	for i, d := range k.sent {
		if got := pool.Arena()[d.addr]; got != byte(i) || d.len != 60 {
			t.Fatalf("descriptor %d: mark %d, %d bytes", i, got, d.len)
		}
	}
	for k.complete() {
	}
	q.Flush()
	if q.txHeld != 0 || !q.PreparePoll() {
		t.Errorf("%d frames held for sending after all were completed", q.txHeld)
	}
}

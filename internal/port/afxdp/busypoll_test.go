package afxdp

import (
	"encoding/binary"
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"weir/internal/packet"
	"weir/internal/port"
	"weir/internal/testkit/netns"
)

// pollBed is a queue on a veth, and a packet socket at its other end.
type pollBed struct {
	q    *Queue
	pool *packet.Pool
	far  int
}

func onVeth(t *testing.T, f func(b *pollBed)) {
	t.Helper()
	world, err := netns.New("weirpoll")
	check(t, err)
	defer func() { check(t, world.Close()) }()
	a, err := world.Namespace("a")
	check(t, err)
	b, err := world.Namespace("b")
	check(t, err)
	check(t, a.WriteSysctl("ipv6/conf/default/disable_ipv6", "1"))
	check(t, b.WriteSysctl("ipv6/conf/default/disable_ipv6", "1"))
	check(t, netns.Veth(netns.End{In: a, Name: "a0"}, netns.End{In: b, Name: "b0"}))
	bed := &pollBed{}
	bed.pool, err = packet.NewPool(512, 0)
	check(t, err)
	check(t, b.Do(func() error {
		l, err := port.FindLink("b0")
		check(t, err)
		proto := int(binary.BigEndian.Uint16([]byte{0x34, 0x12}))
		bed.far, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, proto)
		check(t, err)
		check(t, unix.SetsockoptTimeval(bed.far, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 10}))
		return unix.Bind(bed.far, &unix.SockaddrLinklayer{Ifindex: l.Index, Protocol: uint16(proto)})
	}))
	defer unix.Close(bed.far)
	check(t, a.Do(func() error {
		program, err := Attach("a0", Native)
		check(t, err)
		bed.q, err = program.Open(0, NewUMEM(bed.pool), Options{})
		check(t, err)
		f(bed)
		check(t, program.Close())
		return bed.q.Close()
	}))
	if free := bed.pool.FreeFrames(); free != bed.pool.Frames() {
		t.Errorf("%d of %d frames are back", free, bed.pool.Frames())
	}
	check(t, bed.pool.Close())
}

// frame is one of a type that nobody else sends.
func frame(i int) []byte {
	f := make([]byte, 60)
	copy(f, "\xff\xff\xff\xff\xff\xff\x02\x00\x00\x00\x00\x01\x12\x34")
	f[14] = byte(i)
	return f
}

// sends puts n frames into the transmit ring, without a Flush.
func (b *pollBed) sends(n int) {
	for i := range n {
		p := b.pool.Get()
		p.Resize(60)
		copy(p.Data, frame(i))
		b.q.Tx([]*packet.Packet{p})
	}
}

// arrive receives n frames at the other end.
func (b *pollBed) arrive(t *testing.T, n int) {
	t.Helper()
	var buf [2048]byte
	for i := range n {
		if _, _, err := unix.Recvfrom(b.far, buf[:], 0); err != nil || buf[14] != byte(i) {
			t.Errorf("frame %d: there came %d, %v", i, buf[14], err)
			return
		}
	}
}

func option(t *testing.T, fd, name int) int {
	t.Helper()
	n, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, name)
	check(t, err)
	return n
}

// budgetIs finds out what SO_BUSY_POLL_BUDGET is, which Linux tells nobody: who is not privileged
// may not raise it.
func budgetIs(t *testing.T, fd, budget int) bool {
	t.Helper()
	done := make(chan [2]error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends without its capabilities
		var both [2]error
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var none [2]unix.CapUserData
		both[0] = unix.Capset(&header, &none[0])
		both[1] = both[0]
		if both[0] == nil {
			both[1] = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BUSY_POLL_BUDGET, budget+1)
			both[0] = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BUSY_POLL_BUDGET, budget)
		}
		done <- both
	}()
	both := <-done
	return both[0] == nil && errors.Is(both[1], unix.EPERM)
}

// The socket's options are set, and taken back.
func TestPreferBusyPoll(t *testing.T) {
	onVeth(t, func(b *pollBed) {
		for _, row := range []struct{ budget, prefer, micros int }{{64, 1, busyPollMicros}, {7, 1, busyPollMicros}, {0, 0, 0}} {
			check(t, preferBusyPoll(b.q.fd, row.budget))
			if prefer, micros := option(t, b.q.fd, unix.SO_PREFER_BUSY_POLL), option(t, b.q.fd, unix.SO_BUSY_POLL); prefer != row.prefer || micros != row.micros {
				t.Errorf("budget %d: SO_PREFER_BUSY_POLL %d, SO_BUSY_POLL %d", row.budget, prefer, micros)
			}
			if !budgetIs(t, b.q.fd, row.budget) {
				t.Errorf("SO_BUSY_POLL_BUDGET is not %d", row.budget)
			}
		}
	})
}

// A veth has no NAPI id to tell: the queue says so and goes on without busy polling.
func TestBusyPollWithoutNAPI(t *testing.T) {
	onVeth(t, func(b *pollBed) {
		err := b.q.BusyPoll(64)
		if !errors.Is(err, ErrNoNAPI) || !strings.HasPrefix(err.Error(), `AF_XDP on interface "a0" queue 0: busy polling: Linux tells the socket no NAPI id`) {
			t.Errorf("on veth: %v", err)
		}
		if b.q.polls || option(t, b.q.fd, unix.SO_PREFER_BUSY_POLL) != 0 || option(t, b.q.fd, unix.SO_BUSY_POLL) != 0 {
			t.Error("something of it is left on")
		}
		check(t, b.q.BusyPoll(0))
		b.sends(40)
		b.q.Flush()
		b.arrive(t, 40)
	})
}

// With busy polling a queue asks the driver when it has nothing, once, and asks for all it sends.
// The calls are counted at the other end of a pair of sockets, in the place of the queue's.
func TestBusyPollCalls(t *testing.T) {
	k := newKernel(t, 512, 128, 0)
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	check(t, err)
	q, judge := k.q, pair[1]
	defer func() { check(t, unix.Close(judge)); check(t, q.shut()) }()
	q.fd = pair[0]
	const some = 5
	var burst [port.Burst]*packet.Packet
	calls := func() (rx, tx int) { // since the last time
		t.Helper()
		for ; ; rx++ {
			if _, _, err := unix.Recvfrom(q.fd, burstless[:], unix.MSG_DONTWAIT); err != nil {
				break
			}
		}
		rx = some - rx
		for ; ; tx++ {
			if _, _, err := unix.Recvfrom(judge, burstless[:], unix.MSG_DONTWAIT); err != nil {
				break
			}
		}
		for range some {
			_, err := unix.Write(judge, []byte{1}) // each call of recvfrom takes one
			check(t, err)
		}
		return rx, tx
	}
	expect := func(when string, wantRx, wantTx int) {
		t.Helper()
		if rx, tx := calls(); rx != wantRx || tx != wantTx {
			t.Errorf("%s it asked %d times for frames and %d times to send, want %d and %d", when, rx, tx, wantRx, wantTx)
		}
	}
	calls()
	for _, polls := range []bool{false, true} {
		q.polls = polls
		asks := 0
		if polls {
			asks = 1
		}
		q.Flush()
		*q.tx.flags = 0
		expect("with nothing to send", 0, 0)
		if n := q.Rx(burst[:]); n != 0 {
			t.Fatalf("%d packets of nothing", n)
		}
		expect("with nothing there", asks, 0)
		k.takeEmpty()
		k.receive(60, 1)
		n := q.Rx(burst[:])
		expect("with a frame that waits", 0, 0)
		if n != 1 {
			t.Fatalf("%d packets of one", n)
		}
		q.Tx(burst[:n])
		q.Flush()
		expect("with a packet to send that the driver need not be told of", 0, asks)
		k.takeSent()
		k.complete()
		q.Flush()
	}
}

var burstless [8]byte

// poll(2) has the driver send, whatever sendto does.
func TestWakeDriver(t *testing.T) {
	onVeth(t, func(b *pollBed) {
		b.sends(20)
		if b.q.tx.pending() != 20 {
			t.Errorf("%d frames wait", b.q.tx.pending())
		}
		b.q.wakeDriver()
		b.arrive(t, 20)
	})
}

// A queue whose calls poll brings and sends what others do. That the driver is not polled by them,
// for want of an id, is no matter here: it has its interrupts.
func TestTrafficWhileBusyPolling(t *testing.T) {
	onVeth(t, func(b *pollBed) {
		check(t, preferBusyPoll(b.q.fd, 64))
		b.q.polls = true
		for range 50 {
			for i := range 30 {
				_, err := unix.Write(b.far, frame(i))
				check(t, err)
			}
			var burst [port.Burst]*packet.Packet
			until := time.Now().Add(10 * time.Second)
			for got := 0; got < 30; {
				if time.Now().After(until) {
					t.Errorf("%d of 30 frames came", got)
					return
				}
				n := b.q.Rx(burst[:])
				for _, p := range burst[:n] {
					if p.Data[14] != byte(got) {
						t.Errorf("frame %d came as number %d", p.Data[14], got)
					}
					got++
				}
				b.q.Tx(burst[:n])
				b.q.Flush()
			}
			b.arrive(t, 30)
		}
	})
}

package port_test

import (
	"encoding/binary"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"weir/internal/packet"
	"weir/internal/port"
	"weir/internal/port/afpacket"
	"weir/internal/port/afxdp"
	"weir/internal/port/tap"
	"weir/internal/testkit/netns"
)

// deadline bounds every wait of these tests; it is never waited out when they pass.
const deadline = 20 * time.Second

// driver opens queues of an interface, the way the director will.
type driver struct {
	name string
	mode afxdp.Mode // "" for afpacket and tap
	want string     // Facts.Driver
}

var (
	packetSockets = driver{"afpacket", "", "afpacket"}
	xdpNative     = driver{"afxdp native", afxdp.Native, "afxdp native copy"}
	xdpGeneric    = driver{"afxdp generic", afxdp.Generic, "afxdp generic copy"}
	drivers       = []driver{packetSockets, xdpNative, xdpGeneric} // of an interface
	twin          = driver{"tap", "", "tap"}                       // makes its interface
	allDrivers    = append(slices.Clip(drivers), twin)
)

// memory is a worker's packet memory.
type memory struct {
	pool *packet.Pool
	umem *afxdp.UMEM
}

func newMemory(t testing.TB, small, big int) *memory {
	t.Helper()
	pool, err := packet.NewPool(small, big)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if pool.FreeFrames() != pool.Frames() || pool.InUse() != 0 {
			t.Errorf("pool at the end: %d of %d frames are back, %d packets are out", pool.FreeFrames(), pool.Frames(), pool.InUse())
			return // closing it now could crash whoever still uses it
		}
		if err := pool.Close(); err != nil {
			t.Error(err)
		}
	})
	return &memory{pool, afxdp.NewUMEM(pool)}
}

// openPort opens queues of an interface, one for each memory, and closes them
// with the test.
type openPort struct {
	facts   port.Facts
	queues  []port.Queue
	program *afxdp.Program
	device  *tap.Device
	link    *port.Link
	close   func()
}

func open(t testing.TB, d driver, ns *netns.Namespace, ifname string, id uint16, ring int, memories ...*memory) *openPort {
	t.Helper()
	o := new(openPort)
	check(t, ns.Do(func() (err error) {
		if d == twin {
			if o.device, err = tap.Create(tap.Options{Name: "h0", Port: "d0", MAC: port.MAC{2, 0, 0, 0, 0, 2}, MTU: 1500, Queues: len(memories), Whole: true}); err != nil {
				return err
			}
			if err := o.device.Link.SetUp(); err != nil {
				return err
			}
			o.link = o.device.Link
		} else if o.link, err = port.FindLink(ifname); err != nil {
			return err
		}
		if d.mode != "" {
			if o.program, err = afxdp.Attach(ifname, d.mode); err != nil {
				return err
			}
		}
		var group afpacket.Group
		for i, m := range memories {
			var q port.Queue
			if o.device != nil {
				q, err = o.device.Open(i, m.pool, id)
			} else if o.program != nil {
				q, err = o.program.Open(i, m.umem, afxdp.Options{Port: id, RxRing: ring, TxRing: ring})
			} else {
				q, err = afpacket.Open(o.link, m.pool, afpacket.Options{Port: id, Group: &group})
			}
			if err != nil {
				return err
			}
			o.queues = append(o.queues, q)
		}
		return nil
	}))
	if o.device != nil {
		o.facts = o.device.Facts(id, ifname)
	} else if o.program != nil {
		o.facts = o.program.Facts(id, ifname)
	} else {
		o.facts = afpacket.Facts(o.link, id, ifname)
	}
	if o.facts.Driver != d.want {
		t.Errorf("the driver says it is %q, want %q", o.facts.Driver, d.want)
	}
	closed := false
	o.close = func() {
		if closed {
			return
		}
		closed = true
		if o.program != nil {
			if err := o.program.Close(); err != nil {
				t.Error(err)
			}
		}
		if o.device != nil {
			if err := o.device.Close(); err != nil {
				t.Error(err)
			}
		}
		for _, q := range o.queues {
			if err := q.Close(); err != nil {
				t.Error(err)
			}
			if q.Held() != 0 {
				t.Errorf("a closed queue holds %d frames", q.Held())
			}
		}
	}
	t.Cleanup(o.close)
	return o
}

func (o *openPort) counters() *port.Counters {
	c := new(port.Counters)
	for _, q := range o.queues {
		q.Counters(c)
	}
	return c
}

// cable makes two namespaces, host and dir, with a veth h0 to d0 between them.
func cable(t testing.TB, queues, mtu int) (host, dir *netns.Namespace) {
	t.Helper()
	w := newWorld(t)
	host, dir = namespace(t, w, "host"), namespace(t, w, "dir")
	check(t, netns.Veth(netns.End{In: host, Name: "h0", Queues: queues, MTU: mtu}, netns.End{In: dir, Name: "d0", Queues: queues, MTU: mtu}))
	return host, dir
}

// ends makes what a driver's queues and a socket on h0 are the two ends of: a
// cable, or with a TAP just a namespace, in which open makes h0.
func ends(t testing.TB, d driver, queues int) (host, dir *netns.Namespace) {
	t.Helper()
	if d != twin {
		return cable(t, queues, 0)
	}
	ns := namespace(t, newWorld(t), "host")
	return ns, ns
}

var worlds atomic.Uint64

func newWorld(t testing.TB) *netns.World {
	t.Helper()
	// A world cleans up by the prefix of its names: each needs its own.
	w, err := netns.New("weirport" + strconv.FormatUint(worlds.Add(1), 10))
	check(t, err)
	t.Cleanup(func() { check(t, w.Close()) })
	return w
}

// namespace makes one that says nothing by itself: no IPv6.
func namespace(t testing.TB, w *netns.World, name string) *netns.Namespace {
	t.Helper()
	n, err := w.Namespace(name)
	check(t, err)
	check(t, n.WriteSysctl("ipv6/conf/default/disable_ipv6", "1"))
	return n
}

// raw is a plain packet socket at the other end of the cable: the judge of what
// the drivers send and receive. It sees frames of one ethertype.
type raw struct {
	t  testing.TB
	fd int
}

// testType is the ethertype for local experiments (IEEE 802, 9.2.4).
const testType = 0x88b5

func openRaw(t testing.TB, ns *netns.Namespace, ifname string, ethertype uint16) *raw {
	t.Helper()
	r := &raw{t: t}
	check(t, ns.Do(func() (err error) {
		l, err := port.FindLink(ifname)
		if err != nil {
			return err
		}
		r.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		if err := unix.SetsockoptInt(r.fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1); err != nil {
			return err
		}
		if err := unix.SetsockoptInt(r.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 16<<20); err != nil {
			return err
		}
		return unix.Bind(r.fd, &unix.SockaddrLinklayer{Ifindex: l.Index, Protocol: ethertype<<8 | ethertype>>8})
	}))
	t.Cleanup(func() { unix.Close(r.fd) })
	return r
}

func (r *raw) send(frame []byte) {
	r.t.Helper()
	until := time.Now().Add(deadline)
	for {
		_, err := unix.Write(r.fd, frame)
		if err == nil {
			return
		}
		if (err != unix.ENOBUFS && err != unix.EAGAIN) || time.Now().After(until) {
			r.t.Fatalf("send a frame of %d bytes: %v", len(frame), err)
		}
	}
}

// receive waits for a frame.
func (r *raw) receive(buf []byte) []byte {
	r.t.Helper()
	poll(r.t, r.fd)
	n, err := unix.Read(r.fd, buf)
	if err != nil {
		r.t.Fatalf("receive a frame: %v", err)
	}
	return buf[:n]
}

// poll waits until fd is readable.
func poll(t testing.TB, fd int) {
	t.Helper()
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	until := time.Now().Add(deadline)
	for {
		n, err := unix.Poll(fds, int(time.Until(until).Milliseconds()))
		switch {
		case n > 0:
			return
		case err == unix.EINTR:
		case err != nil:
			t.Fatal(err)
		default:
			t.Fatalf("nothing to read within %v", deadline)
		}
	}
}

// receive waits until a queue has brought packets, sleeping as a worker does.
func receive(t testing.TB, q port.Queue, burst []*packet.Packet) int {
	t.Helper()
	until := time.Now().Add(deadline)
	for {
		if n := q.Rx(burst); n > 0 {
			return n
		}
		if time.Now().After(until) {
			t.Fatalf("no packet within %v", deadline)
		}
		if q.PreparePoll() {
			poll(t, q.FD())
		}
	}
}

// receiveAll receives on all queues of a port until frames of them were either
// received or counted as dropped, gives each packet with its queue's number to
// f, and frees it. It returns how many were received. The kernel may deliver
// some time after a frame was sent.
func receiveAll(t testing.TB, o *openPort, frames int, f func(queue int, p *packet.Packet)) (got int) {
	t.Helper()
	var burst [port.Burst]*packet.Packet
	waitUntil(t, strconv.Itoa(frames)+" frames received or counted", func() bool {
		for i, q := range o.queues {
			for n := q.Rx(burst[:]); n > 0; n = q.Rx(burst[:]) {
				for _, p := range burst[:n] {
					f(i, p)
					p.Pool().Put(p)
				}
				got += n
			}
		}
		lost := uint64(0)
		for _, n := range o.counters().Drops {
			lost += n
		}
		if o.program != nil {
			lost += o.program.Unserved()
		}
		return got+int(lost) >= frames
	})
	return got
}

// waitUntil looks again and again, and gives way to others in between.
func waitUntil(t testing.TB, what string, f func() bool) {
	t.Helper()
	for until := time.Now().Add(deadline); !f(); unix.Syscall(unix.SYS_SCHED_YIELD, 0, 0, 0) {
		if time.Now().After(until) {
			t.Fatalf("not within %v: %s", deadline, what)
		}
	}
}

// numbered makes test frame number i, n bytes long.
func numbered(i, n int) []byte {
	f := make([]byte, n)
	copy(f, "\x02\x00\x00\x00\x00\x02\x02\x00\x00\x00\x00\x01")
	binary.BigEndian.PutUint16(f[12:], testType)
	binary.BigEndian.PutUint32(f[14:], uint32(i))
	for j := 18; j < n; j++ {
		f[j] = byte(i*7 + j)
	}
	return f
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// expectDrops compares the drops of a port with what a test wants, all others 0.
func expectDrops(t testing.TB, c *port.Counters, want map[packet.Reason]uint64) {
	t.Helper()
	for r, n := range c.Drops {
		if n != want[packet.Reason(r)] {
			t.Errorf("%s is %d, want %d", packet.Reason(r), n, want[packet.Reason(r)])
		}
	}
}

func ethtool(t testing.TB, ns *netns.Namespace, ifname string, settings ...string) {
	t.Helper()
	_, err := ns.Run(t.Context(), "ethtool", append([]string{"-K", ifname}, settings...)...)
	check(t, err)
}

package tap_test

import (
	"net"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"weir/internal/packet"
	"weir/internal/port"
	"weir/internal/port/tap"
	"weir/internal/testkit/netns"
)

// deadline bounds every wait of these tests; it is never waited out when they pass.
const deadline = 20 * time.Second

var (
	mac    = port.MAC{2, 0, 0, 0, 0, 7}
	worlds atomic.Uint64
)

// namespace makes one that says nothing by itself: no IPv6.
func namespace(t testing.TB) *netns.Namespace {
	t.Helper()
	w, err := netns.New("weirtap" + strconv.FormatUint(worlds.Add(1), 10))
	check(t, err)
	t.Cleanup(func() { check(t, w.Close()) })
	n, err := w.Namespace("ns")
	check(t, err)
	check(t, n.WriteSysctl("ipv6/conf/default/disable_ipv6", "1"))
	return n
}

func options(name string) tap.Options {
	return tap.Options{Name: name, Port: "dpdk0", MAC: mac, MTU: 1500, Queues: 1, Whole: true}
}

func create(t testing.TB, ns *netns.Namespace, o tap.Options) (d *tap.Device) {
	t.Helper()
	check(t, ns.Do(func() (err error) {
		d, err = tap.Create(o)
		return err
	}))
	t.Cleanup(func() { check(t, d.Close()) })
	return d
}

func open(t testing.TB, ns *netns.Namespace, d *tap.Device, pool *packet.Pool) (q *tap.Queue) {
	t.Helper()
	check(t, ns.Do(func() (err error) {
		q, err = d.Open(0, pool, 3)
		return err
	}))
	t.Cleanup(func() {
		check(t, q.Close())
		if q.Held() != 0 {
			t.Errorf("a closed queue holds %d frames", q.Held())
		}
	})
	return q
}

func newPool(t testing.TB, small, big int) *packet.Pool {
	t.Helper()
	pool, err := packet.NewPool(small, big)
	check(t, err)
	t.Cleanup(func() {
		if pool.FreeFrames() != pool.Frames() || pool.InUse() != 0 {
			t.Errorf("pool at the end: %d of %d frames are back, %d packets are out", pool.FreeFrames(), pool.Frames(), pool.InUse())
		}
		check(t, pool.Close())
	})
	return pool
}

// link is what Linux says of an interface, nil if there is none.
func link(t testing.TB, ns *netns.Namespace, name string) (l *port.Link) {
	t.Helper()
	check(t, ns.Do(func() error {
		for _, n := range port.LinkNames() {
			if n == name {
				var err error
				l, err = port.FindLink(name)
				return err
			}
		}
		return nil
	}))
	return l
}

// left makes a TAP or TUN such as a program leaves behind.
func left(t testing.TB, ns *netns.Namespace, name string, mode netlink.TuntapMode, flags netlink.TuntapFlag) {
	t.Helper()
	check(t, ns.Do(func() error {
		a := netlink.NewLinkAttrs()
		a.Name = name
		l := &netlink.Tuntap{LinkAttrs: a, Mode: mode, Flags: flags, Queues: 1}
		if err := netlink.LinkAdd(l); err != nil {
			return err
		}
		for _, f := range l.Fds {
			if err := f.Close(); err != nil {
				return err
			}
		}
		return nil
	}))
}

// frame puts an Ethernet frame of n bytes, of the type for local experiments, into
// a packet.
func frame(t testing.TB, p *packet.Packet, n int) *packet.Packet {
	t.Helper()
	if p == nil || !p.Resize(n) {
		t.Fatalf("no memory for %d bytes", n)
	}
	clear(p.Data)
	copy(p.Data, "\xff\xff\xff\xff\xff\xff\x02\x00\x00\x00\x00\x01\x88\xb5")
	return p
}

func counters(q *tap.Queue) *port.Counters {
	c := new(port.Counters)
	q.Counters(c)
	return c
}

func expectDrops(t testing.TB, c *port.Counters, want map[packet.Reason]uint64) {
	t.Helper()
	for r, n := range c.Drops {
		if n != want[packet.Reason(r)] {
			t.Errorf("%s is %d, want %d", packet.Reason(r), n, want[packet.Reason(r)])
		}
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func expectSays(t testing.TB, err error, says ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	for _, s := range says {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("%q does not say %q", err, s)
		}
	}
}

// readable waits until fd has something to say, an error included.
func readable(t testing.TB, fd int) {
	t.Helper()
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for until := time.Now().Add(deadline); ; {
		n, err := unix.Poll(fds, int(time.Until(until).Milliseconds()))
		if n > 0 {
			return
		}
		if err != nil && err != unix.EINTR || time.Now().After(until) {
			t.Fatalf("nothing on the queue: %v", err)
		}
	}
}

// udp is a UDP socket on an address of the namespace.
func udp(t testing.TB, ns *netns.Namespace, address string) *net.UDPConn {
	t.Helper()
	c, err := ns.ListenPacket("udp", address)
	check(t, err)
	t.Cleanup(func() { c.Close() })
	return c.(*net.UDPConn)
}

func TestMain(m *testing.M) {
	if os.Getenv(killedRole) != "" {
		beKilled()
	}
	os.Exit(m.Run())
}

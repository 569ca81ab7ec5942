package tap_test

import (
	"bufio"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"weir/internal/packet"
	"weir/internal/port"
	"weir/internal/port/tap"
	"weir/internal/testkit/netns"
)

// A device that another program left behind is taken over with its addresses, and stays
// that program's: neither Keep nor the end changes how long it lasts.
func TestTakeOverForeign(t *testing.T) {
	ns := namespace(t)
	left(t, ns, "old.kni", netlink.TUNTAP_MODE_TAP, netlink.TUNTAP_NO_PI|netlink.TUNTAP_MULTI_QUEUE)
	check(t, ns.LinkUp("old.kni"))
	check(t, ns.Address("old.kni", netip.MustParsePrefix("10.9.0.1/24")))
	was := link(t, ns, "old.kni")

	// Refused on the way, it is as it was.
	bad := options("old.kni")
	bad.MTU = 70000
	check(t, ns.Do(func() error {
		_, err := tap.Create(bad)
		expectSays(t, err, "mtu 70000")
		return nil
	}))

	d := create(t, ns, options("old.kni"))
	if l := d.Link; !d.TakenOver || !d.Foreign || d.Former != was.MAC || l.Index != was.Index || !l.Up || l.MAC != mac || l.MTU != 1500 {
		t.Errorf("taken over: %v, foreign: %v, it had %x, %+v", d.TakenOver, d.Foreign, d.Former, *l)
	}
	check(t, ns.Do(d.Keep))
	pool := newPool(t, 64, 0)
	q := open(t, ns, d, pool)
	works(t, ns, q, pool)
	check(t, q.Close())
	check(t, d.Close())
	if link(t, ns, "old.kni") == nil {
		t.Error("another program's device is gone")
	}
	if k := kept(t, ns); len(k) != 0 {
		t.Errorf("another program's is ours: %+v", k)
	}
}

// works has Linux, which has 10.9.0.1/24 on the device, say something on it.
func works(t *testing.T, ns *netns.Namespace, q *tap.Queue, pool *packet.Pool) {
	t.Helper()
	c := udp(t, ns, "10.9.0.1:0")
	_, err := c.WriteToUDPAddrPort([]byte("hello"), netip.MustParseAddrPort("10.9.0.2:9"))
	check(t, err)
	readable(t, q.FD()) // its ARP request
	var burst [port.Burst]*packet.Packet
	if n := q.Rx(burst[:]); n != 1 || string(burst[0].Data[12:14]) != "\x08\x06" || burst[0].In != 3 {
		t.Errorf("received %d packets", n)
	} else {
		pool.Put(burst[0])
	}
}

func kept(t *testing.T, ns *netns.Namespace) (all []tap.Kept) {
	t.Helper()
	check(t, ns.Do(func() (err error) {
		all, err = tap.AllKept()
		return err
	}))
	return all
}

// expectKept waits until Linux says so of the one device that is kept: a program that
// was killed closes it a moment later.
func expectKept(t *testing.T, ns *netns.Namespace, want tap.Kept) {
	t.Helper()
	var got []tap.Kept
	for until := time.Now().Add(deadline); ; runtime.Gosched() {
		if got = kept(t, ns); len(got) == 1 && got[0] == want {
			return
		}
		if time.Now().After(until) {
			t.Fatalf("kept are %+v, want %+v", got, want)
		}
	}
}

// killedRole in the environment makes the test binary one that holds a device until
// it is killed; keptRole one that keeps it.
const (
	killedRole = "WEIR_TEST_TAP_KILLED"
	keptRole   = "WEIR_TEST_TAP_KEPT"
)

func beKilled() {
	d, err := tap.Create(options("dpdk0.kni"))
	if err == nil && os.Getenv(keptRole) != "" {
		err = d.Keep()
	}
	if err != nil {
		os.Stdout.WriteString(err.Error())
		os.Exit(1)
	}
	os.Stdout.WriteString("ready\n")
	for {
		_ = unix.Pause()
	}
}

// What a director that did not come to Keep leaves behind when it is killed: nothing.
func TestKilled(t *testing.T) {
	ns := namespace(t)
	p := start(t, ns, killedRole)
	check(t, ns.Do(func() error {
		_, err := tap.Create(options("dpdk0.kni"))
		expectSays(t, err, "is another weir running")
		return nil
	}))
	p.Kill()
	for until := time.Now().Add(deadline); link(t, ns, "dpdk0.kni") != nil; runtime.Gosched() {
		if time.Now().After(until) {
			t.Fatal("the device is still there")
		}
	}
	if d := create(t, ns, options("dpdk0.kni")); d.TakenOver {
		t.Error("there was something to take over")
	}
}

// A device that is kept outlasts a kill and an orderly end, with what Linux has on it,
// and goes on when the next one has it.
func TestKept(t *testing.T) {
	ns := namespace(t)
	p := start(t, ns, killedRole, keptRole)
	open1 := tap.Kept{Name: "dpdk0.kni", Port: "dpdk0", Open: true}
	left := open1
	left.Open = false
	expectKept(t, ns, open1)
	check(t, ns.LinkUp("dpdk0.kni"))
	check(t, ns.Address("dpdk0.kni", netip.MustParsePrefix("10.9.0.1/24")))
	index := link(t, ns, "dpdk0.kni").Index
	p.Kill()
	expectKept(t, ns, left)
	if l := link(t, ns, "dpdk0.kni"); l.Index != index || !l.Up || l.Carrier {
		t.Errorf("left behind: %+v", *l)
	}

	other := options("dpdk0.kni")
	other.Port = "dpdk7"
	check(t, ns.Do(func() error {
		_, err := tap.Create(other)
		expectSays(t, err, "the twin of port dpdk0", "weir purge", "kni_name")
		return nil
	}))

	pool := newPool(t, 64, 0)
	for _, row := range []struct {
		name   string
		by     string // what the operator does first
		mac    port.MAC
		mtu    int // of the port
		queues int
		former port.MAC
		want   int // the twin's MTU
	}{
		{"as it was", "", mac, 1500, 1, port.MAC{}, 1500},
		{"more queues", "", mac, 1500, 3, port.MAC{}, 1500},
		{"the port has a longer MTU", "", mac, 9000, 1, port.MAC{}, 9000},
		{"a shorter one", "", mac, 1500, 2, port.MAC{}, 1500},
		{"the operator wants a shorter one", "1400", mac, 1500, 1, port.MAC{}, 1400},
		{"and wants it still", "", mac, 1500, 1, port.MAC{}, 1400},
		{"more than the port can", "1600", mac, 1500, 1, port.MAC{}, 1500},
		{"another interface", "", port.MAC{2, 0, 0, 0, 0, 9}, 1500, 1, mac, 1500},
	} {
		if row.by != "" {
			mtu, err := strconv.Atoi(row.by)
			check(t, err)
			check(t, ns.Do(func() error { return link(t, ns, "dpdk0.kni").SetMTU(mtu) }))
		}
		o := options("dpdk0.kni")
		o.MAC, o.MTU, o.Queues = row.mac, row.mtu, row.queues
		d := create(t, ns, o)
		check(t, ns.Do(d.Keep))
		if l := d.Link; !d.TakenOver || d.Foreign || d.Former != row.former || l.Index != index || !l.Up || l.MAC != row.mac || l.MTU != row.want {
			t.Errorf("%s: taken over: %v, foreign: %v, it had %x, %+v", row.name, d.TakenOver, d.Foreign, d.Former, *l)
		}
		q := open(t, ns, d, pool)
		if row.queues == 1 { // of more, Linux chooses one
			carrier(t, ns, "dpdk0.kni")
			check(t, ns.Do(func() error { _, err := ns.Run(t.Context(), "ip", "neigh", "flush", "dev", "dpdk0.kni"); return err }))
			works(t, ns, q, pool)
		}
		check(t, errors.Join(q.Close(), d.Close()))
		expectKept(t, ns, left)
	}

	d := create(t, ns, options("dpdk0.kni"))
	check(t, ns.Do(func() error { return (&tap.Kept{Name: "dpdk0.kni"}).Remove() }))
	if link(t, ns, "dpdk0.kni") == nil {
		t.Error("removed while it is open")
	}
	check(t, d.Close())
	if k := kept(t, ns); len(k) != 0 || link(t, ns, "dpdk0.kni") != nil {
		t.Errorf("still kept: %+v", k)
	}
}

// carrier waits until Linux sends on the device again.
func carrier(t *testing.T, ns *netns.Namespace, name string) {
	t.Helper()
	for until := time.Now().Add(deadline); !link(t, ns, name).Carrier; runtime.Gosched() {
		if time.Now().After(until) {
			t.Fatalf("%s has no carrier", name)
		}
	}
}

func start(t *testing.T, ns *netns.Namespace, roles ...string) *netns.Process {
	t.Helper()
	child := exec.Command(os.Args[0])
	child.Env = os.Environ()
	for _, role := range roles {
		child.Env = append(child.Env, role+"=1")
	}
	out, err := child.StdoutPipe()
	check(t, err)
	p, err := ns.Start(child)
	check(t, err)
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || line != "ready\n" {
		t.Fatalf("the child said %q, %v", line, err)
	}
	return p
}

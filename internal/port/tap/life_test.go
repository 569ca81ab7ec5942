package tap_test

import (
	"errors"
	"net/netip"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"weir/internal/packet"
	"weir/internal/port"
	"weir/internal/port/tap"
)

// A device is what was asked for, down, and gone when it and its queues are closed,
// in whatever order.
func TestDevice(t *testing.T) {
	ns := namespace(t)
	pool := newPool(t, 64, 0)
	for _, deviceFirst := range []bool{true, false} {
		o := options("fifteen.bytesk")
		o.Name += "n" // exactly MaxName
		o.MTU, o.Queues = 1400, 3
		d := create(t, ns, o)
		l := link(t, ns, o.Name)
		want := port.Link{
			Name: o.Name, Index: l.Index, MAC: mac, MTU: 1400, Kind: "tuntap", Driver: "tun",
			RxQueues: l.RxQueues, TxQueues: l.TxQueues, SpeedMbps: l.SpeedMbps, FullDuplex: true,
		}
		if *l != want || *d.Link != want || d.TakenOver {
			t.Errorf("got %+v, the device says %+v\nwant %+v", *l, *d.Link, want)
		}
		facts := port.Facts{
			ID: 5, Name: "dpdk0.kni", IfName: o.Name, IfIndex: l.Index, MAC: mac, MTU: 1400, Driver: "tap",
			TxCsum: true, TxGSO: true, RxQueues: 3, TxQueues: 3,
		}
		if f := d.Facts(5, "dpdk0.kni"); f != facts {
			t.Errorf("facts %+v\nwant %+v", f, facts)
		}
		check(t, ns.Do(func() error { return errors.Join(d.Link.SetUp(), d.Link.SetMTU(1300)) }))
		if l := link(t, ns, o.Name); !l.Up || !l.Carrier || l.MTU != 1300 {
			t.Errorf("after it was switched on, with another MTU: %+v", *l)
		}
		for _, on := range []bool{false, true} {
			check(t, d.SetCarrier(on))
			if l := link(t, ns, o.Name); l.Carrier != on {
				t.Errorf("carrier %v, want %v", l.Carrier, on)
			}
		}
		q := open(t, ns, d, pool)
		_, err := d.Open(0, pool, 0)
		expectSays(t, err, o.Name, "no queue 0 to open", "it has 3")
		_, err = d.Open(3, pool, 0)
		expectSays(t, err, "no queue 3")
		if deviceFirst {
			check(t, d.Close())
			if link(t, ns, o.Name) == nil {
				t.Error("it went with a queue open")
			}
			check(t, q.Close())
		} else {
			check(t, q.Close())
			check(t, d.Close())
		}
		if l := link(t, ns, o.Name); l != nil {
			t.Errorf("still there after Close: %+v", *l)
		}
	}
}

// What can't be is refused with a sentence, and what is there stays as it is.
func TestRefusals(t *testing.T) {
	ns := namespace(t)
	check(t, ns.Bridge("br.kni"))
	left(t, ns, "tun.kni", netlink.TUNTAP_MODE_TUN, netlink.TUNTAP_DEFAULTS|netlink.TUNTAP_MULTI_QUEUE)
	left(t, ns, "one.kni", netlink.TUNTAP_MODE_TAP, netlink.TUNTAP_DEFAULTS|netlink.TUNTAP_ONE_QUEUE)
	create(t, ns, options("held.kni"))
	with := func(f func(*tap.Options)) tap.Options {
		o := options("new.kni")
		f(&o)
		return o
	}
	for _, row := range []struct {
		name string
		o    tap.Options
		says []string
	}{
		{"no name", options(""), []string{"1 to 15 bytes", "kni_name"}},
		{"a long name", options("sixteen.byteskni"), []string{"sixteen.byteskni", "1 to 15 bytes"}},
		{"a pattern", options("dpdk%d.kni"), []string{"'%'"}},
		{"a path", options("a/b"), []string{"'/'"}},
		{"a letter with the byte of Latin-1's space", options("l\u00e0.kni"), []string{"a space"}},
		{"no port's name", with(func(o *tap.Options) { o.Port = "a, b" }), []string{`"a, b"`}},
		{"no queue", with(func(o *tap.Options) { o.Queues = 0 }), []string{"1 to 64 queues, not 0"}},
		{"many queues", with(func(o *tap.Options) { o.Queues = 65 }), []string{"1 to 64 queues, not 65"}},
		{"no mac", with(func(o *tap.Options) { o.MAC = port.MAC{} }), []string{"000000000000 is no MAC"}},
		{"a group's mac", with(func(o *tap.Options) { o.MAC[0] |= 1 }), []string{"030000000007 is no MAC"}},
		{"mtu", with(func(o *tap.Options) { o.MTU = 70000 }), []string{"set mtu 70000"}},
		{"another kind", options("br.kni"), []string{`of kind "bridge"`, "ip link set dev br.kni name OTHER"}},
		{"a tun", options("tun.kni"), []string{"TUN device"}},
		{"one queue only", options("one.kni"), []string{"one queue only", "ip link del one.kni"}},
		{"another program's", options("held.kni"), []string{"another weir"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			check(t, ns.Do(func() error {
				before := port.LinkNames()
				_, err := tap.Create(row.o)
				expectSays(t, err, row.says...)
				if after := port.LinkNames(); len(after) != len(before) {
					t.Errorf("there are %v, were %v", after, before)
				}
				return nil
			}))
		})
	}
}

// A device that somebody removes under us wakes who sleeps on it, once, and what is
// sent there is counted.
func TestRemovedUnderUs(t *testing.T) {
	ns := namespace(t)
	pool := newPool(t, 64, 0)
	d := create(t, ns, options("dpdk0.kni"))
	q := open(t, ns, d, pool)
	check(t, ns.Do(d.Link.SetUp))
	var burst [port.Burst]*packet.Packet
	if n := q.Rx(burst[:]); n != 0 || !q.PreparePoll() || q.FD() < 0 {
		t.Fatalf("received %d packets from a silent Linux", n)
	}
	removed := make(chan error, 1)
	go func() {
		_, err := ns.Run(t.Context(), "ip", "link", "del", "dpdk0.kni")
		removed <- err
	}()
	readable(t, q.FD())
	check(t, <-removed)
	if n := q.Rx(burst[:]); n != 0 || q.FD() != -1 {
		t.Errorf("received %d packets from a device that is gone; FD is %d, which a worker would poll", n, q.FD())
	}
	q.Tx([]*packet.Packet{frame(t, pool.Get(), 60), frame(t, pool.Get(), 60)})
	expectDrops(t, counters(q), map[packet.Reason]uint64{packet.PortDown: 2})
	// The name is free for the next.
	create(t, ns, options("dpdk0.kni"))
}

// The director closes the device while a worker reads and writes.
func TestCloseWhileReading(t *testing.T) {
	ns := namespace(t)
	pool := newPool(t, 64, 0)
	d := create(t, ns, options("dpdk0.kni"))
	q := open(t, ns, d, pool)
	check(t, ns.Do(d.Link.SetUp))
	check(t, ns.Address("dpdk0.kni", netip.MustParsePrefix("10.9.0.1/24")))
	var leave, breaths atomic.Int64
	closed := make(chan error, 1)
	go func() {
		var burst [port.Burst]*packet.Packet
		for leave.Load() == 0 {
			n := q.Rx(burst[:])
			q.Tx(burst[:n])
			q.Tx([]*packet.Packet{frame(t, pool.Get(), 60)})
			breaths.Add(1)
		}
		closed <- q.Close()
	}()
	breathe := func() {
		for from, until := breaths.Load(), time.Now().Add(deadline); breaths.Load() < from+3; runtime.Gosched() {
			if time.Now().After(until) {
				t.Fatal("the worker does not breathe")
			}
		}
	}
	breathe()
	check(t, d.Close())
	breathe()
	leave.Store(1)
	check(t, <-closed)
	if c := counters(q); c.TxPackets == 0 {
		t.Error("nothing was sent")
	}
	if link(t, ns, "dpdk0.kni") != nil {
		t.Error("still there after Close")
	}
}

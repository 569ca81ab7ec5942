package e2e

import (
	"errors"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"weir/internal/testkit/netns"
)

// xdpWaits waits until established flows are forwarded by XDP, on both ports.
func (d *director) xdpWaits() {
	d.t.Helper()
	d.likeCards()
	d.sendsByXDP("dpdk0", true)
	d.sendsByXDP("dpdk1", true)
}

// program of an interface of the director's, 0 if there is none.
func (d *director) programOn(port string) uint32 {
	d.t.Helper()
	id, err := d.net.Director.XDP(d.linkOf(port))
	if err != nil {
		d.t.Fatal(err)
	}
	return id
}

// counterOf reads one of Linux's counters of a namespace: of TCP in net/snmp, of TcpExt in
// net/netstat.
func (b *bed) counterOf(in *netns.Namespace, group, name string) (n int) {
	b.t.Helper()
	file := map[string]string{"Tcp:": "snmp", "TcpExt:": "netstat"}[group]
	var text []byte
	if err := in.Do(func() (err error) {
		text, err = os.ReadFile("/proc/thread-self/net/" + file)
		return err
	}); err != nil {
		b.t.Fatal(err)
	}
	var names []string
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(line)
		switch i := slices.Index(names, name); {
		case words[0] != group:
		case names == nil:
			names = words
		case i > 0:
			if n, err := strconv.Atoi(words[i]); err == nil {
				return n
			}
		}
	}
	b.t.Fatalf("no %s %s in\n%s", group, name, text)
	return 0
}

// lostSegments is how many segments of established connections a namespace has sent again
// without hearing that the first one had arrived as well (RFC 2883): on a busy machine
// Linux repeats what was late, too.
func (b *bed) lostSegments(in *netns.Namespace) int {
	b.t.Helper()
	return b.counterOf(in, "Tcp:", "RetransSegs") - b.counterOf(in, "TcpExt:", "TCPSynRetrans") - b.counterOf(in, "TcpExt:", "TCPDSACKRecv")
}

// dials is how a connection from the client ends within a time.
func (d *director) dials(address string, in time.Duration) error {
	c, err := d.client().Dial(within(d.t, in), "tcp", address)
	if err == nil {
		c.Close()
	}
	return err
}

// While no daemon runs, XDP goes on forwarding what is established; what else is for the
// director gets no answer, and Linux gets the rest. The next daemon goes on, one that has no
// XDP takes the programs away, and purge does.
func TestUnattended(t *testing.T) {
	t.Parallel()
	d := newDirector(t, setup{driver: "afxdp", mode: "native", workers: 1, queues: 1, offload: "on", keep: true, conf: smallTable})
	d.echoServices()
	// Linux would answer for the VIPs, if it heard who asks.
	onLinux := func(command string) {
		d.run(d.net.Director, "ip addr "+command+" 10.0.0.100/32 dev lo")
		d.run(d.net.Director, "ip addr "+command+" 2001:db8:10::100/128 dev lo")
	}
	onLinux("add")
	d.run(d.net.Director, "ip addr add 10.0.0.66/16 dev dpdk1")
	d.run(d.net.Director, "ip addr add 2001:db8:10::66/64 dev dpdk1 nodad")
	d.xdpWaits()
	vips := []string{"10.0.0.100:7000", "[2001:db8:10::100]:7000"}
	linux := []string{"10.0.0.66:7000", "[2001:db8:10::66]:7000"}
	var all []*longFlows
	for _, vip := range vips {
		all = append(all, d.longFlows(vip, 20))
	}
	move := func(when string) {
		t.Helper()
		for _, f := range all {
			f.move(t, when)
		}
	}
	goesOn := func(when string) {
		t.Helper()
		for _, vip := range vips {
			if err := d.dials(vip, patience); err != nil {
				t.Errorf("%s a new connection to %s: %v", when, vip, err)
			}
		}
		move(when)
	}
	move("at first")
	lost := func() int { return d.lostSegments(d.client()) + d.lostSegments(d.rs(1)) }
	was := lost()
	before := d.programOn("dpdk1")

	d.kill()
	move("without a daemon")
	if id := d.programOn("dpdk1"); id != before {
		t.Errorf("without a daemon dpdk1 has program %d, and had %d", id, before)
	}
	began := time.Now()
	d.serve()
	goesOn("after a kill")
	t.Logf("new connections %v after the start; %d segments were lost", time.Since(began), lost()-was)
	if id := d.programOn("dpdk1"); id == before || id == 0 {
		t.Errorf("the next daemon has program %d on dpdk1, the one before had %d", id, before)
	}
	if n := d.stat("port_rx_nobody"); n != 0 {
		t.Errorf("%d packets were lost while there was no daemon", n)
	}

	// Stopped as for an upgrade. No daemon runs: who asks for a VIP gets no answer, from
	// nobody; Linux's own addresses are Linux's.
	d.xdpWaits()
	if err := d.daemon.Stop(within(t, patience)); err != nil {
		t.Fatal(err)
	}
	d.killed = true // the end of this one was looked at
	for i := range vips {
		if err := d.dials(linux[i], patience); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("without a daemon Linux says to who asks for %s: %v", linux[i], err)
		}
		if err := d.dials(vips[i], time.Second/2); err == nil || errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("without a daemon somebody says to who asks for %s: %v", vips[i], err)
		}
	}
	d.run(d.client(), "ping -c 1 -W 20 10.0.0.66")
	d.run(d.client(), "ping -c 1 -W 20 2001:db8:10::66")
	if out, err := d.client().Run(within(t, patience), "arping", "-c", "1", "-w", "1", "-I", "eth0", "10.0.0.100"); err == nil {
		t.Errorf("without a daemon somebody has the VIP:\n%s", out)
	}
	move("after a stop")
	d.serve()
	goesOn("after a stop")
	if n := d.stat("port_rx_nobody"); n < 3 { // two SYNs at least, and who asked for the VIP
		t.Errorf("of packets for the director that came while there was none %d were counted", n)
	}

	// The next one's configuration says that there is no XDP: nothing stays after it, and
	// Linux gets all.
	onLinux("del")
	d.kill()
	d.setup.offload = "off"
	d.serve()
	goesOn("with offload off")
	if r := d.offload(); r.Running || r.ByXDP != 0 {
		t.Errorf("with offload off: %+v", r)
	}
	d.kill()
	d.noXDP()
	d.setup.offload = "on"
	d.serve()
	goesOn("with offload on again")
	d.xdpWaits()
	for _, f := range all {
		if failed, err := f.end(); failed > 0 {
			t.Errorf("%d flows failed, the first: %v", failed, err)
		}
	}
	onLinux("add")
	d.kill()
	d.run(d.net.Director, program("weir")+" purge --pin "+d.pins)
	d.noXDP()
	for i, vip := range vips { // the test has teeth: now Linux gets it
		if err := d.dials(vip, patience); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("after purge, Linux says to who asks for %s: %v", vips[i], err)
		}
	}
	if left, err := os.ReadDir(d.pins); err == nil {
		t.Errorf("purge has left %v", left)
	}
}

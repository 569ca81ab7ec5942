//go:build long

package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// manyFlows is how many connections there are, half of each family.
const manyFlows = 10000

// TestRestartUnderTenThousand is the whole promise: 10,000 connections whose ends check every
// byte, each with a line and its echo every three seconds, while the daemon is killed and started
// again 20 times, and replaced by another build 5 times. None fails, no segment of any of them is lost, so
// that none waits for its repetition; new connections are made within a second of a start, and
// counters go on. What it prints is the evidence of docs/operations.md. Both ends of the connections
// keep the machine busy; the daemon goes before them once it is ready, as it does by default, and
// beside them while it starts.
func TestRestartUnderTenThousand(t *testing.T) {
	other := otherBuild(t)
	d := newDirector(t, setup{driver: "afxdp", mode: "native", workers: 1, queues: 1, offload: "on", keep: true, conf: smallTable})
	d.echoServices()
	for port, service := range []string{"10.0.0.100:7001", "[2001:db8:10::100]:7001"} {
		local := []string{"192.168.100.200", "2001:db8:100::200"}[port]
		server := []string{"192.168.100.2:7001", "[2001:db8:100::2]:7001"}[port]
		d.script("./ipvsadm -A -t " + service + " -s rr\n./ipvsadm -a -t " + service + " -r " + server + " -b\n" +
			"./ipvsadm --add-laddr -z " + local + " -t " + service + " -F dpdk0")
	}
	d.startCmd(d.rs(1), roleCommand("echo-server 7001"))
	d.listening(d.rs(1), "[::1]:7001")
	d.xdpWaits()
	began := time.Now()
	all := []*longFlows{
		d.longFlowsEach("10.0.0.100:7001", manyFlows/2, 3*time.Second),
		d.longFlowsEach("[2001:db8:10::100]:7001", manyFlows/2, 3*time.Second),
	}
	t.Logf("%d connections were made in %v", manyFlows, time.Since(began))
	d.serviceOn("u", 7002, 1)
	way := d.wayMeter("10.0.0.100:7002", 7002)
	move := func(when string) {
		t.Helper()
		for _, f := range all {
			f.move(t, when)
		}
	}
	// took says how long lines took since the last call.
	took := func() (slowest time.Duration, late int64) {
		for _, f := range all {
			slowest = max(slowest, time.Duration(f.slowest.Swap(0)))
			late += f.late.Swap(0)
		}
		return slowest, late
	}
	carried := func() int {
		list := d.do("./ipvsadm -ln --stats --exact")
		return packets(list, "10.0.0.100:7001") + packets(list, "[2001:db8:10::100]:7001")
	}
	lost := func() int { return d.lostSegments(d.client()) + d.lostSegments(d.rs(1)) }
	repeated := func() int {
		return d.counterOf(d.client(), "Tcp:", "RetransSegs") + d.counterOf(d.rs(1), "Tcp:", "RetransSegs")
	}
	// tell prints what happened since the last call. Lines take as long as the machine is busy: the programs
	// at both ends share it with the daemon.
	gone, again := 0, 0
	tell := func(when string) (segments, datagrams int, longest time.Duration) {
		slowest, late := took()
		datagrams, longest = way.take(t)
		segments, gone = lost()-gone, lost()
		repeats := repeated() - again
		again += repeats
		t.Logf("%s: %d segments and %d datagrams lost, a datagram was %v on its way at most; %d segments repeated, the slowest line took %v, %d more than %v",
			when, segments, datagrams, longest, repeats, slowest, late, gapBound)
		return segments, datagrams, longest
	}
	move("at first")
	move("at first")
	tell("at first")
	move("left alone")
	tell("left alone")

	var starts []time.Duration
	var worst time.Duration
	totalSegments, totalDatagrams := 0, 0
	counted := carried()
	for round := range 25 {
		how := "kill"
		if round%5 == 3 {
			how = "upgrade"
			d.binary = map[bool]string{true: other}[d.binary == ""]
		}
		d.kill()
		began := time.Now()
		d.serve()
		ready := time.Since(began)
		for _, address := range []string{"10.0.0.100:7001", "[2001:db8:10::100]:7001"} {
			if err := d.dials(address, patience); err != nil {
				t.Fatalf("a new connection to %s after %s %d: %v", address, how, round, err)
			}
		}
		fresh := time.Since(began)
		starts = append(starts, fresh)
		when := fmt.Sprintf("%s %d", how, round)
		move(when)
		segments, datagrams, longest := tell(fmt.Sprintf("%s: ready after %v, new connections after %v", when, ready.Round(time.Millisecond), fresh.Round(time.Millisecond)))
		totalSegments, totalDatagrams, worst = totalSegments+segments, totalDatagrams+datagrams, max(worst, longest)
		if want := map[bool]string{false: "dev", true: "other"}[d.binary != ""]; !strings.Contains(d.do("./weir version"), want) {
			t.Errorf("%s: it is not version %s", when, want)
		}
		now := carried()
		if now < counted+manyFlows {
			t.Errorf("%s: counters were %d and are %d", when, counted, now)
		}
		counted = now
		for _, reason := range []string{"port_rx_nobody", "port_rx_no_queue", "port_rx_no_frame", "port_rx_ring_full", "offload_full", "offload_refused"} {
			if n := d.stat(reason); n > 0 {
				t.Logf("%s: %s %d", when, reason, n)
			}
		}
	}
	slices.Sort(starts)
	t.Logf("new connections after %v at best, %v in the middle, %v at worst; %d segments and %d datagrams lost in all, a datagram was %v on its way at most",
		starts[0], starts[len(starts)/2], starts[len(starts)-1], totalSegments, totalDatagrams, worst)
	if starts[len(starts)-1] > time.Second {
		t.Errorf("new connections worked %v after a start", starts[len(starts)-1])
	}
	if totalSegments > 0 || totalDatagrams > 0 || worst > gapBound {
		t.Errorf("there was a gap")
	}
	for _, f := range all {
		if failed, err := f.end(); failed > 0 {
			t.Errorf("%d flows of %d failed, the first: %v", failed, manyFlows/2, err)
		}
	}
}

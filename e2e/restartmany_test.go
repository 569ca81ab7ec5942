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
// byte, each with a line and its echo every second, while the daemon is killed and started
// again 20 times, and replaced by another build 5 times. None fails, no segment of any of them is lost, so
// that none waits for its repetition; new connections are made within a second of a start, and
// counters go on. What it prints is the evidence of docs/operations.md.
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
		d.longFlowsEach("10.0.0.100:7001", manyFlows/2, time.Second),
		d.longFlowsEach("[2001:db8:10::100]:7001", manyFlows/2, time.Second),
	}
	t.Logf("%d connections were made in %v", manyFlows, time.Since(began))
	gap := d.gapMeter("10.0.0.100:7000")
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
	move("at first")
	move("at first")
	took()
	gap.take(t)
	repeated := func() int { return d.repeated(d.client()) + d.repeated(d.rs(1)) }
	atRest := repeated()
	move("left alone")
	slowest, late := took()
	t.Logf("left alone: the slowest line took %v, %d took more than %v, %d segments were repeated; datagrams had a gap of %v", slowest, late, gapBound, repeated()-atRest, gap.take(t))

	var starts []time.Duration
	total := 0
	counted := carried()
	for round := range 25 {
		way := "kill"
		if round%5 == 3 {
			way = "upgrade"
			d.binary = map[bool]string{true: other}[d.binary == ""]
		}
		was := repeated()
		d.kill()
		began := time.Now()
		d.serve()
		ready := time.Since(began)
		for _, address := range []string{"10.0.0.100:7001", "[2001:db8:10::100]:7001"} {
			if err := d.dials(address, patience); err != nil {
				t.Fatalf("a new connection to %s after %s %d: %v", address, way, round, err)
			}
		}
		fresh := time.Since(began)
		starts = append(starts, fresh)
		move(fmt.Sprintf("%s %d:", way, round))
		slowest, late := took()
		again := repeated() - was
		total += again
		t.Logf("%s %d: ready after %v, new connections after %v; the slowest line took %v, %d took more than %v, %d segments were repeated; datagrams had a gap of %v",
			way, round, ready, fresh, slowest, late, gapBound, again, gap.take(t))
		if want := map[bool]string{false: "dev", true: "other"}[d.binary != ""]; !strings.Contains(d.do("./weir version"), want) {
			t.Errorf("%s: it is not version %s", way, want)
		}
		now := carried()
		if now < counted+manyFlows {
			t.Errorf("%s %d: counters were %d and are %d", way, round, counted, now)
		}
		counted = now
		if n := d.stat("port_rx_nobody"); n > 0 {
			t.Logf("%s %d: %d packets came that XDP does not forward, while no daemon ran", way, round, n)
		}
	}
	slices.Sort(starts)
	t.Logf("new connections after %v at best, %v in the middle, %v at worst; %d segments were repeated in all", starts[0], starts[len(starts)/2], starts[len(starts)-1], total)
	if starts[len(starts)-1] > time.Second {
		t.Errorf("new connections worked %v after a start", starts[len(starts)-1])
	}
	if total > 0 {
		t.Errorf("%d segments had to be repeated", total)
	}
	for _, f := range all {
		if failed, err := f.end(); failed > 0 {
			t.Errorf("%d flows of %d failed, the first: %v", failed, manyFlows/2, err)
		}
	}
}

package e2e

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"weir/internal/testkit/netns"
)

// amount is how much traffic a cell of the matrix carries.
type amount struct {
	fresh, kept int64 // HTTP requests on new and on kept connections
	stream      int64 // bytes each way
	queries     int64
}

var (
	full = amount{fresh: 20_000, kept: 100_000, stream: 1 << 30, queries: 50_000}
	some = amount{fresh: 5_000, kept: 25_000, stream: 128 << 20, queries: 10_000}
)

// cell is one field of the matrix.
type cell struct {
	setup
	amount
}

// cells is the matrix. The first cell of each driver carries the full amount, one other
// some of it; with WEIR_E2E_FULL all others are there, and carry it all.
func cells() (all []cell) {
	for _, driver := range drivers {
		for i, s := range []setup{
			{workers: 1, queues: 1},
			{workers: 1, queues: 2},
			{workers: 2, queues: 1, apart: true},
			{workers: 2, queues: 2},
			{workers: 2, queues: 2, apart: true, renamed: true},
		} {
			s.driver, s.mode = driver.driver, driver.mode
			c := cell{s, some}
			whole := os.Getenv("WEIR_E2E_FULL") != ""
			if i == 0 || whole {
				c.amount = full
			} else if i != 3 && !whole {
				continue
			}
			all = append(all, c)
		}
	}
	// GSO frames that one port brings are too large for the other, which needs
	// them cut, and the way back has none. With the workers apart the pieces go
	// from one worker to the other.
	return append(all,
		cell{setup{driver: "afpacket", lanDriver: "afxdp", workers: 2, queues: 1, apart: true}, some},
		cell{setup{driver: "afpacket", lanDriver: "afxdp", workers: 1, queues: 1}, some},
		cell{setup{driver: "afxdp", mode: "native", lanDriver: "afpacket", workers: 1, queues: 1}, some})
}

// TestTraffic carries HTTP, bulk streams, iperf3 and DNS through the director over
// every driver, with one and two workers and queues. With the workers apart, each
// serves one port only, so that the two directions of every connection arrive on
// different workers.
func TestTraffic(t *testing.T) {
	for _, c := range cells() {
		t.Run(c.String(), func(t *testing.T) {
			d := newDirector(t, c.setup)
			for _, rs := range d.net.Servers {
				d.nginx(rs)
				d.dnsmasq(rs, "192.0.2."+rs.Name()[2:])
			}
			d.streamServer(d.rs(1))
			d.iperf3(d.rs(1))
			d.script(tutorial)
			d.serviceOn("u", 53, 1, 2)
			d.serviceOn("t", 8080, 1)
			d.serviceOn("t", 5201, 1)
			c.carry(t, d)
		})
	}
}

// carry sends the cell's traffic.
func (c cell) carry(t *testing.T, d *director) {
	t.Run("new connections", func(t *testing.T) {
		r := roleOf[loadResult](d.bed.as(t), d.client(), "http-load 10.0.0.100:80 %d 64 new", c.fresh)
		r.ok(t, c.fresh)
		// A SYN that TCP had to repeat may take a turn in vain: allow one in a hundred.
		if off := r.Servers["rs1"] - c.fresh/2; max(off, -off) > c.fresh/100 {
			t.Errorf("rr must give each server half of %d, gave %v", c.fresh, r.Servers)
		}
	})
	t.Run("kept connections", func(t *testing.T) {
		roleOf[loadResult](d.bed.as(t), d.client(), "http-load 10.0.0.100:80 %d 64 kept", c.kept).ok(t, c.kept)
	})
	t.Run("DNS", func(t *testing.T) {
		roleOf[loadResult](d.bed.as(t), d.client(), "dns-load 10.0.0.100:53 %d 32", c.queries).ok(t, c.queries)
		if out := d.as(t).run(d.client(), "dig +short +tries=1 @10.0.0.100 weir.test"); !strings.HasPrefix(out, "192.0.2.") {
			t.Errorf("dig printed %q", out)
		}
	})
	if c.mode == "generic" {
		t.Run("GSO is refused with advice", func(t *testing.T) { d.as(t).adviceOnGSO() })
	}
	t.Run("stream", func(t *testing.T) {
		roleOf[streamResult](d.bed.as(t), d.client(), "stream-client 10.0.0.100:8080 %d", c.stream).equal(t, c.stream)
	})
	t.Run("iperf3", func(t *testing.T) { d.bed.as(t).iperf(t) })
}

// advice is the line of the log that helps against GSO frames in generic XDP.
var advice = regexp.MustCompile(`there run: ethtool -K \S+((?: [a-z-]+ off)+)`)

// adviceOnGSO sends GSO frames into generic XDP, which may refuse them: then they
// are counted under a reason of their own and the log names the ethtool line that
// helps. The line is then run on all senders.
func (d *director) adviceOnGSO() {
	d.t.Helper()
	before := d.stat("port_rx_too_big")
	sender := d.startCmd(d.client(), roleCommand("stream-client 10.0.0.100:8080 %d", 16<<20))
	d.counted("port_rx_too_big", before)
	sender.Kill()
	eventually(d.t, "the log names the ethtool line", func() bool { return advice.MatchString(d.log.String()) })
	d.everySender("ethtool -K eth0" + advice.FindStringSubmatch(d.log.String())[1])
}

// wholeFrames keeps senders from GSO frames where the director's driver may refuse
// them.
func (d *director) wholeFrames() {
	d.t.Helper()
	if d.setup.mode == "generic" {
		d.everySender("ethtool -K eth0 tso off gso off")
	}
}

// everySender runs a command on the client and on all real servers.
func (d *director) everySender(line string) {
	d.t.Helper()
	for _, sender := range append([]*netns.Namespace{d.client()}, d.net.Servers...) {
		d.run(sender, line)
	}
}

package director

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"weir/internal/spec"
	"weir/internal/testkit/netns"
)

// newKeep is a folder for what outlives a director.
func newKeep(t testing.TB) string {
	t.Helper()
	w, err := netns.New("weir-take")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	dir, err := w.Pins("pins")
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "weir")
}

// die is what kill -9 does: nothing of the director runs any more, and the kernel lets go
// of its folder.
func (b *small) die() {
	b.t.Helper()
	if err := b.keep.Close(); err != nil {
		b.t.Fatal(err)
	}
	b.closing.Do(func() {}) // it can't any more
	for _, w := range b.workers {
		w.Neigh().Flush()
	}
}

// heir is the next director of a dead one, a moment later.
func (b *small) heir(s shape, later time.Duration) *small {
	b.t.Helper()
	s.keep, s.now = b.boot.Keep, b.nanos+uint64(later)
	h := newSmall(b.t, s)
	h.breathe()
	h.left() // it announces its addresses
	return h
}

// family is what a director of the tests has of one.
type family struct {
	name, vip, lip, real, client string
	ip                           string // the word of a header
	key                          spec.ServiceKey
	tcp                          spec.ServiceKey
	arm                          func(*spec.Spec) error
}

func web(vip string) spec.ServiceKey {
	return spec.ServiceKey{Proto: spec.TCP, Virtual: netip.MustParseAddrPort(vip)}
}

// families have a DNS service and a web server each, both sides known by MAC.
var families = []family{
	{
		name: "IPv4", vip: "10.0.0.100", lip: "192.168.1.200", real: "192.168.1.2", client: "1.2.3.", ip: "ip",
		key: dns, tcp: web("10.0.0.100:80"),
		arm: all(twoArm(), addService(web("10.0.0.100:80"), "rr"), addDest(web("10.0.0.100:80"), "192.168.1.2:80", 1), addLocal(web("10.0.0.100:80"), "192.168.1.200")),
	},
	{
		name: "IPv6", vip: "2001:db8:1::100", lip: "2001:db8::200", real: "2001:db8::2", client: "2001:db8:f::", ip: "ip6",
		key: udp("[2001:db8:1::100]:53"), tcp: web("[2001:db8:1::100]:80"),
		arm: all(
			addAddr("lan", "2001:db8::1/64"), addAddr("wan", "2001:db8:1::1/64"), addAddr("wan", "2001:db8:1::100/128"),
			addRoute("::/0", "wan", "2001:db8:1::fe"),
			station("wan", "2001:db8:1::fe", macGW), station("lan", "2001:db8::2", macRS),
			addService(udp("[2001:db8:1::100]:53"), "rr"), addDest(udp("[2001:db8:1::100]:53"), "[2001:db8::2]:53", 1), addLocal(udp("[2001:db8:1::100]:53"), "2001:db8::200"),
			addService(web("[2001:db8:1::100]:80"), "rr"), addDest(web("[2001:db8:1::100]:80"), "[2001:db8::2]:80", 1), addLocal(web("[2001:db8:1::100]:80"), "2001:db8::200"),
		),
	},
}

// conversation is a flow by what its ends send.
type conversation struct{ ask, answer string }

// begin opens a connection with a packet and returns the conversation of what follows.
func (b *small) begin(f *family, proto string, i int, first, ask, answer string) conversation {
	b.t.Helper()
	port := map[string]int{"udp": 53, "tcp": 80}[proto]
	head := fmt.Sprintf("%s %s%d > %s / %s %d > %d ", f.ip, f.client, i+1, f.vip, proto, 4000+i, port)
	out := b.fromWAN(head + first)
	if len(out) != 1 || !strings.HasPrefix(out[0], "lan: "+f.ip+" "+f.lip) {
		b.t.Fatalf("%s%s: %v", head, first, out)
	}
	back := fmt.Sprintf("%s %s > %s / %s %d > %s ", f.ip, f.real, f.lip, proto, port, portAfter(out[0], proto))
	return conversation{head + ask, back + answer}
}

// portAfter is the source port of a line.
func portAfter(line, proto string) string {
	w := strings.Fields(line)
	return w[slices.Index(w, proto)+1]
}

// ways has both ends of all say their next, and returns what left.
func (b *small) ways(said []conversation) (all []string) {
	for _, c := range said {
		all = append(all, b.fromWAN(c.ask)...)
		all = append(all, b.fromLAN(c.answer)...)
	}
	return all
}

// A director that is killed leaves connections, services and counters to the next one.
func TestHeir(t *testing.T) {
	for i := range families {
		f := &families[i]
		t.Run(f.name, func(t *testing.T) {
			s := shape{keep: newKeep(t)}
			a := newSmall(t, s)
			a.change(f.arm)
			a.pass(3 * time.Second) // addresses are probed for
			a.left()
			var said []conversation
			for i := range 20 {
				said = append(said, a.begin(f, "udp", i, "data=4", "data=4", "data=4"))
			}
			for i := range 20 {
				c := a.begin(f, "tcp", i, "S seq=100", "A seq=101 ack=501", "A seq=501 ack=101")
				a.fromLAN(strings.Replace(c.answer, "A seq=501 ack=101", "SA seq=500 ack=101", 1))
				said = append(said, c)
			}
			syn := a.begin(f, "tcp", 90, "S seq=100", "A seq=101 ack=501", "A seq=501 ack=101")
			a.ways(said) // the first segments tell the client's address
			a.ways(said)
			was := a.ways(said)
			if len(was) != 80 {
				t.Fatalf("%d packets of 80: %v", len(was), was)
			}
			udp, tcp := a.view(f.key).Dests[0], a.view(f.tcp).Dests[0]
			if udp.Inactive != 20 || tcp.Active != 20 || tcp.Inactive != 1 || a.Gauges().HalfOpen != 1 {
				t.Fatalf("%+v %+v", udp, tcp)
			}
			for round, workers := range []int{1, 2, 1, 3} {
				a.die()
				s.workers = workers
				b := a.heir(s, 3*time.Second)
				if !strings.Contains(b.said.String(), "weir goes on with 41 connections and 2 services of the one before it, whose last breath was 3") {
					t.Errorf("it says %s", &b.said)
				}
				if u, c := b.view(f.key).Dests[0], b.view(f.tcp).Dests[0]; u.Count != udp.Count || c.Count != tcp.Count ||
					u.Inactive != 20 || c.Active != 20 || c.Inactive != 1 {
					t.Errorf("round %d: %+v %+v\nwant %+v %+v", round, u, c, udp, tcp)
				}
				if is := b.ways(said); !slices.Equal(is, was) {
					t.Errorf("round %d: it forwards\n%s\nand the one before\n%s", round, strings.Join(is, "\n"), strings.Join(was, "\n"))
				}
				udp, tcp = b.view(f.key).Dests[0], b.view(f.tcp).Dests[0]
				if used, _, _, ok := b.LocalCounts(netip.MustParseAddr(f.lip)); !ok || used != 41 {
					t.Errorf("round %d: %d ports in use", round, used)
				}
				if g := b.Gauges(); g.HalfOpen != 1 || g.Conns != 41 {
					t.Errorf("round %d: %+v", round, g)
				}
				if n := b.dropped(); n != 0 {
					t.Errorf("round %d: %d packets dropped", round, n)
				}
				a = b
			}
			// The handshake that was under way goes on.
			if out := a.fromLAN(strings.Replace(syn.answer, "A seq=501 ack=101", "SA seq=500 ack=101", 1)); len(out) != 1 {
				t.Errorf("its answer: %v", out)
			}
			a.left()
			if out := a.fromWAN(syn.ask); len(out) != 1 || a.Gauges().HalfOpen != 0 {
				t.Errorf("its third segment: %v", out)
			}
			// All of them end in their time, and give back what they had.
			a.pass(13 * time.Second)
			if v := a.view(f.key).Dests[0]; v.Inactive != 0 || v.Active != 0 {
				t.Errorf("%+v", v)
			}
			a.nanos += 885e9
			a.pass(20 * time.Second)
			a.left()
			if used, _, _, ok := a.LocalCounts(netip.MustParseAddr(f.lip)); a.shared.Flows.Len() != 0 || !ok || used != 0 || a.view(f.tcp).Dests[0].Active != 0 {
				t.Errorf("%d connections, %d ports, %+v are left", a.shared.Flows.Len(), used, a.view(f.tcp))
			}
		})
	}
}

// No port is given twice, and one that was in use a moment ago is known for that.
func TestHeirOfPorts(t *testing.T) {
	s := shape{keep: newKeep(t), ports: [2]uint16{2000, 2031}}
	a := newSmall(t, s)
	a.change(twoArm())
	a.left()
	owner := map[string]int{}
	open := func(b *small, client int) {
		t.Helper()
		out := b.fromWAN(fmt.Sprintf("ip 1.2.3.4 > 10.0.0.100 / udp %d > 53 data=4", client))
		if len(out) != 1 {
			t.Fatalf("client %d: %v", client, out)
		}
		lport := portAfter(out[0], "udp")
		if other := owner[lport]; other != 0 {
			t.Fatalf("client %d has port %s, and so has %d", client, lport, other)
		}
		owner[lport] = client
	}
	for i := range 32 {
		open(a, 4000+i)
		if i%8 == 7 {
			a.die()
			a = a.heir(s, time.Second)
		}
	}
	if out := a.fromWAN("ip 1.2.3.4 > 10.0.0.100 / udp 5000 > 53 data=4"); len(out) != 0 {
		t.Errorf("there is a port left: %v", out)
	}
	a.pass(14 * time.Second)
	clear(owner)
	a.die()
	a = a.heir(s, 0)
	for i := range 32 {
		open(a, 6000+i)
	}
}

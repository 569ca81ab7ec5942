package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// bgpPage is the page that TestBGP runs.
const bgpPage = "bgp-bfd.md"

// bgpVIPs are the page's VIPs.
var bgpVIPs = []string{"123.1.2.3", "2001:db8:123::3"}

// watched starts the page's keepalived on the i-th director, as its unit does.
func (s *switched) watched(i int) *keepalived {
	s.t.Helper()
	unit := blockOf(s.t, bgpPage, quorumSection, "systemctl edit weir-keepalived")
	_, options, found := strings.Cut(unit, "ExecStart=/usr/local/bin/keepalived -n ")
	options, _, file := strings.Cut(options, " -f /etc/keepalived/keepalived.conf")
	if !found || !file {
		s.t.Fatalf("docs/%s: the unit says\n%s", bgpPage, unit)
	}
	conf := blockOf(s.t, bgpPage, quorumSection, "`/etc/keepalived/keepalived.conf`")
	k := s.directors[i].keepalived(forDirector(i, conf), strings.Fields(options)...)
	eventually(s.t, "the services are there", func() bool {
		out := k.do("./ipvsadm -ln")
		return strings.Contains(out, "123.1.2.3:80 rr") && strings.Contains(out, "[2001:db8:123::3]:80 rr")
	})
	if strings.Contains(k.log.String(), k.file+":") {
		s.t.Errorf("keepalived warns of the page's file:\n%s", k.log)
	}
	return k
}

const quorumSection = "Announcing while quorum holds"

// serves asks a VIP four times.
func (s *switched) serves(vip string) {
	s.t.Helper()
	if strings.Contains(vip, ":") {
		vip = "[" + vip + "]"
	}
	for range 4 {
		if out := s.run(s.client(), "curl -sS -g --max-time 10 http://"+vip+"/"); !strings.HasPrefix(out, "Your ip:port : ") {
			s.t.Errorf("curl %s printed %q", vip, out)
		}
	}
}

// bgpBed is the picture of docs/bgp-bfd.md: two directors that announce VIPs of both families
// while quorum holds.
type bgpBed struct {
	*switched
	routers  []*frr // the switch's, and the directors'
	watchers []*keepalived
}

// newBGP builds it, with services of DR and tunnel beside the page's. No real server serves yet.
func newBGP(t *testing.T, setups ...setup) *bgpBed {
	t.Helper()
	b := &bgpBed{switched: newSwitched(t, inTime(setups...)...)}
	b.holdVIPs("2001:db8:123::4/128", "2001:db8:123::5/128")
	b.routers = append(b.routers, b.switchOf(bgpPage, "bgpd", "bfdd"))
	for i := range b.directors {
		b.web(i, "")
		b.begin(i)
		b.routers = append(b.routers, b.frrOf(i, bgpPage))
		b.watchers = append(b.watchers, b.watched(i))
	}
	return b
}

// begin does what a start of the i-th director's unit does.
func (b *bgpBed) begin(i int) {
	b.t.Helper()
	b.twinAndRules(i, bgpPage)
	b.directors[i].rules(forDirector(i, blockOf(b.t, ospfPage, "Connections that outlive a director", "IPv6 is the same")))
	b.directors[i].linux("ip addr add 2001:db8:123::4/128 dev dpdk1.kni\nip addr add 2001:db8:123::5/128 dev dpdk1.kni")
}

// both waits until both directors announce everything, and are watched.
func (b *bgpBed) both() {
	b.t.Helper()
	for _, vip := range append(bgpVIPs[:2:2], "2001:db8:123::4", "2001:db8:123::5") {
		b.nextHops(vip, "swp1", "swp2")
	}
	eventually(b.t, "the switch watches both directors by BFD, in both families", func() bool {
		return strings.Count(b.routers[0].vtysh("-c", "show bfd peers brief"), " up ") == 4
	})
}

// all has all real servers serve.
func (b *bgpBed) all() {
	b.t.Helper()
	for i := range b.webs {
		b.web(i, "[::]:80 ipv6only=off")
	}
	b.checked()
	b.both()
}

// TestBGP runs docs/bgp-bfd.md: VIPs are announced while quorum holds, and directors are taken out.
func TestBGP(t *testing.T) {
	t.Parallel()
	b := newBGP(t, drivers[1], drivers[0])
	eventually(t, "all sessions are there, and announce nothing but what asks for no quorum", func() bool {
		out := b.routers[0].vtysh("-c", "show bgp summary established json")
		return strings.Count(out, `"pfxRcd":0`) == 2 && strings.Count(out, `"pfxRcd":2`) == 2
	})
	b.quorumHolds()
	working := blockOf(t, bgpPage, "Is it working?", "")
	for _, f := range b.routers {
		f.page(working, map[string]string{"show bfd peers brief": " up ", "show bgp ipv4 unicast": "123.1.2.3/32", "show bgp ipv6 unicast": "2001:db8:123::3/128"})
	}

	// Taken out by its keepalived, whose services stay; by hand; all of it.
	const out = "Taking a director out"
	if err := b.watchers[0].process.Stop(within(t, patience)); err != nil {
		t.Error(err)
	}
	for _, vip := range bgpVIPs {
		if last := b.lastFailure(endpointOf(vip), time.Now(), requestPatience); last > time.Second {
			// One whose handshake moves with the route is reset by the other director.
			t.Errorf("%s: when one of two withdrew, a connection begun %s later failed", vip, last)
		}
		b.nextHops(vip, "swp2")
	}
	for _, service := range []string{"-t 123.1.2.3:80", "-t [2001:db8:123::3]:80"} {
		if list := b.directors[0].do("./ipvsadm -ln " + service); strings.Count(list, "->") != 3 {
			t.Errorf("of the service that keepalived leaves is left\n%s", list)
		}
	}
	b.watchers[0].start()
	b.both()
	byHand := blockOf(t, bgpPage, out, "by hand")
	b.directors[1].linux(forDirector(1, byHand))
	for _, vip := range bgpVIPs {
		b.nextHops(vip, "swp1")
	}
	b.directors[1].linux(strings.ReplaceAll(byHand, "addr del", "addr add"))
	b.both()
	dr, tunnel := b.longLived("[2001:db8:123::4]:80", 16), b.longLived("[2001:db8:123::5]:80", 16)
	live := func(when string) {
		t.Helper()
		dr.live(when)
		tunnel.live(when)
	}
	whole := blockOf(t, bgpPage, out, "end its sessions")
	b.routers[1].page(whole, nil)
	for _, vip := range []string{"123.1.2.3", "2001:db8:123::4", "2001:db8:123::5"} {
		b.nextHops(vip, "swp2")
	}
	live("when one director is out")
	b.routers[1].page(strings.ReplaceAll(whole, "'neighbor", "'no neighbor"), nil)
	b.both()
	live("when it is in again")
}

// TestBGPDeath: one director dies, and the other when it is back. New connections of both
// families work within a second by BFD, those of DR and tunnel with mh go on, and who is back
// announces what it did, without a hand.
func TestBGPDeath(t *testing.T) {
	t.Parallel()
	b := newBGP(t, drivers[1], drivers[0])
	b.all()
	dr, tunnel := b.longLived("[2001:db8:123::4]:80", 16), b.longLived("[2001:db8:123::5]:80", 16)
	live := func(when string) {
		t.Helper()
		dr.live(when)
		tunnel.live(when)
	}
	for i, d := range b.directors {
		for n, last := range b.outages(d.dies, endpointOf(bgpVIPs[0]), endpointOf(bgpVIPs[1])) {
			if last <= 0 || last > time.Second {
				t.Errorf("%s: with BFD, the last connection that failed was begun %s after the death of director %d, want some and none after %s", bgpVIPs[n], last, i+1, time.Second)
			}
		}
		for _, vip := range bgpVIPs {
			b.nextHops(vip, []string{"swp2", "swp1"}[i])
			b.serves(vip)
		}
		live("after a death")
		<-d.daemon.Done()
		d.serve()
		b.begin(i)
		b.both()
		live("when the dead is back")
		for _, vip := range bgpVIPs {
			if last := b.lastFailure(endpointOf(vip), time.Now(), requestPatience); last > 0 {
				t.Errorf("%s: when the dead was back, a connection begun %s later failed", vip, last)
			}
		}
	}
	for i, d := range b.directors {
		if d.gauge("conns_taken_over") == 0 {
			t.Errorf("director %d took no connection over", i+1)
		}
	}
}

// quorumHolds has real servers come, die and return, and a director lose its way to them: what
// is announced follows, by each family and each director for itself. All are there in the end.
func (b *bgpBed) quorumHolds() {
	b.t.Helper()
	const v4, v6, all = "80", "[::]:80", "[::]:80 ipv6only=off"
	announced := func(vip string, ports ...string) {
		b.t.Helper()
		b.nextHops(vip, ports...)
		if len(ports) > 0 {
			b.serves(vip)
		} else if a, err := b.client().Run(within(b.t, patience), "curl", "-sS", "-g", "--max-time", "1", "http://"+endpointOf(vip)+"/"); err == nil {
			b.t.Errorf("curl %s, which nobody announces, printed %q", vip, a)
		}
	}
	for _, step := range []struct {
		what, rs1, rs2 string
		v4, v6         bool
	}{
		{"no server", "", "", false, false},
		{"one server, of IPv4", v4, "", true, false},
		{"and another, of IPv6", v4, v6, true, true},
		{"IPv4 is dead", "", v6, false, true},
		{"all are dead", "", "", false, false},
		{"both are back", all, all, true, true},
		{"one is dead", all, "", true, true},
		{"it is back", all, all, true, true},
	} {
		began := time.Now()
		for i, listen := range []string{step.rs1, step.rs2} {
			if b.listens[i] != listen {
				b.web(i, listen)
			}
		}
		b.checked()
		for i, holds := range []bool{step.v4, step.v6} {
			if holds {
				announced(bgpVIPs[i], "swp1", "swp2")
			} else {
				announced(bgpVIPs[i])
			}
		}
		b.t.Logf("%s: seen after %s", step.what, time.Since(began).Round(10*time.Millisecond))
	}
	if err := b.net.LAN.LinkDown("weir1"); err != nil {
		b.t.Fatal(err)
	}
	for _, vip := range bgpVIPs {
		announced(vip, "swp2")
	}
	if err := b.net.LAN.LinkUp("weir1"); err != nil {
		b.t.Fatal(err)
	}
	b.both()
	for _, vip := range bgpVIPs {
		b.serves(vip)
	}
}

// checked waits until the directors have the real servers that listen there, and no other.
func (b *bgpBed) checked() {
	b.t.Helper()
	for i, d := range b.directors {
		for n, l := range b.listens {
			for family, a := range []string{fmt.Sprintf("192.168.100.%d:80", n+2), fmt.Sprintf("[2001:db8:100::%d]:80", n+2)} {
				serves := l != "" && (family == 0 || l != "80") && (family == 1 || l != "[::]:80")
				service := "./ipvsadm -ln -t " + endpointOf(bgpVIPs[family])
				eventually(b.t, fmt.Sprintf("director %d has %s: %t", i+1, a, serves), func() bool {
					return strings.Contains(d.do(service), "-> "+a+" ") == serves
				})
			}
		}
	}
}

// endpointOf is a VIP's address and the port of all services here.
func endpointOf(vip string) string {
	if strings.Contains(vip, ":") {
		return "[" + vip + "]:80"
	}
	return vip + ":80"
}

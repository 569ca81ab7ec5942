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
	if strings.Contains(k.log.String(), "level=WARN") {
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

// TestBGP runs docs/bgp-bfd.md: two directors announce VIPs of both families while quorum
// holds, and die in turn.
func TestBGP(t *testing.T) {
	t.Parallel()
	s := newSwitched(t, drivers[1], drivers[0])
	s.holdVIPs("2001:db8:123::4/128", "2001:db8:123::5/128")
	l3 := s.switchOf(bgpPage, "bgpd", "bfdd")
	start := func(i int) {
		t.Helper()
		s.twinAndRules(i, bgpPage)
		s.directors[i].rules(forDirector(i, blockOf(t, ospfPage, "Connections that outlive a director", "IPv6 is the same")))
		s.directors[i].linux("ip addr add 2001:db8:123::4/128 dev dpdk1.kni\nip addr add 2001:db8:123::5/128 dev dpdk1.kni")
	}
	both := func() {
		t.Helper()
		for _, vip := range append(bgpVIPs[:2:2], "2001:db8:123::4", "2001:db8:123::5") {
			s.nextHops(vip, "swp1", "swp2")
		}
		eventually(t, "the switch watches both directors by BFD, in both families", func() bool {
			return strings.Count(l3.vtysh("-c", "show bfd peers brief"), " up ") == 4
		})
	}
	routers := []*frr{l3}
	for i := range s.directors {
		s.web(i, "") // no real server serves yet
		start(i)
		routers = append(routers, s.frrOf(i, bgpPage))
	}
	var watchers []*keepalived
	for i := range s.directors {
		watchers = append(watchers, s.watched(i))
	}
	eventually(t, "all sessions are there, and announce nothing but what asks for no quorum", func() bool {
		out := l3.vtysh("-c", "show bgp summary established json")
		return strings.Count(out, `"pfxRcd":0`) == 2 && strings.Count(out, `"pfxRcd":2`) == 2
	})

	s.quorumHolds(both)
	working := blockOf(t, bgpPage, "Is it working?", "")
	for _, f := range routers {
		f.page(working, map[string]string{"show bfd peers brief": " up ", "show bgp ipv4 unicast": "123.1.2.3/32", "show bgp ipv6 unicast": "2001:db8:123::3/128"})
	}
	dr, tunnel := s.longLived("[2001:db8:123::4]:80", 16), s.longLived("[2001:db8:123::5]:80", 16)
	live := func(when string) {
		t.Helper()
		dr.live(when)
		tunnel.live(when)
	}

	// One dies, and the other when it is back: one VIP each shows how long it takes.
	for i, vip := range bgpVIPs {
		d := s.directors[i]
		d.dies()
		if last := s.lastFailure(endpointOf(vip), time.Now(), firstSYN); last == 0 || last > time.Second {
			t.Errorf("%s: with BFD, the last connection that failed was begun %s after the death, want some and none after %s", vip, last, time.Second)
		}
		for _, vip := range bgpVIPs {
			s.nextHops(vip, []string{"swp2", "swp1"}[i])
			s.serves(vip)
		}
		live("after a death")
		<-d.daemon.Done()
		d.serve()
		start(i)
		both()
		live("when the dead is back")
		for _, vip := range bgpVIPs {
			if last := s.lastFailure(endpointOf(vip), time.Now(), requestPatience); last > 0 {
				t.Errorf("%s: when the dead was back, a connection begun %s later failed", vip, last)
			}
		}
	}

	// Taken out by its keepalived, whose services stay; by hand; all of it.
	const out = "Taking a director out"
	if err := watchers[0].process.Stop(within(t, patience)); err != nil {
		t.Error(err)
	}
	for _, vip := range bgpVIPs {
		if last := s.lastFailure(endpointOf(vip), time.Now(), requestPatience); last > time.Second {
			// One whose handshake moves with the route is reset by the other director.
			t.Errorf("%s: when one of two withdrew, a connection begun %s later failed", vip, last)
		}
		s.nextHops(vip, "swp2")
	}
	for _, service := range []string{"-t 123.1.2.3:80", "-t [2001:db8:123::3]:80"} {
		if list := s.directors[0].do("./ipvsadm -ln " + service); strings.Count(list, "->") != 3 {
			t.Errorf("of the service that keepalived leaves is left\n%s", list)
		}
	}
	watchers[0].start()
	both()
	byHand := blockOf(t, bgpPage, out, "by hand")
	s.directors[1].linux(forDirector(1, byHand))
	for _, vip := range bgpVIPs {
		s.nextHops(vip, "swp1")
	}
	s.directors[1].linux(strings.ReplaceAll(byHand, "addr del", "addr add"))
	both()
	whole := blockOf(t, bgpPage, out, "end its sessions")
	routers[1].page(whole, nil)
	for _, vip := range []string{"123.1.2.3", "2001:db8:123::4", "2001:db8:123::5"} {
		s.nextHops(vip, "swp2")
	}
	live("when one director is out")
	routers[1].page(strings.ReplaceAll(whole, "'neighbor", "'no neighbor"), nil)
	both()
	live("when it is in again")
	for i, d := range s.directors {
		if d.gauge("conns_taken_over") == 0 {
			t.Errorf("director %d took no connection over", i+1)
		}
	}
}

// quorumHolds has real servers come, die and return, and a director lose its way to them: what
// is announced follows, by each family and each director for itself. All are there in the end.
func (s *switched) quorumHolds(both func()) {
	s.t.Helper()
	const v4, v6, all = "80", "[::]:80", "[::]:80 ipv6only=off"
	announced := func(vip string, ports ...string) {
		s.t.Helper()
		s.nextHops(vip, ports...)
		if len(ports) > 0 {
			s.serves(vip)
		} else if a, err := s.client().Run(within(s.t, patience), "curl", "-sS", "-g", "--max-time", "1", "http://"+endpointOf(vip)+"/"); err == nil {
			s.t.Errorf("curl %s, which nobody announces, printed %q", vip, a)
		}
	}
	was := make([]string, len(s.webs))
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
			if was[i] != listen {
				s.web(i, listen)
				was[i] = listen
			}
		}
		s.checked(step.rs1, step.rs2)
		for i, holds := range []bool{step.v4, step.v6} {
			if holds {
				announced(bgpVIPs[i], "swp1", "swp2")
			} else {
				announced(bgpVIPs[i])
			}
		}
		s.t.Logf("%s: seen after %s", step.what, time.Since(began).Round(10*time.Millisecond))
	}
	if err := s.net.LAN.LinkDown("weir1"); err != nil {
		s.t.Fatal(err)
	}
	for _, vip := range bgpVIPs {
		announced(vip, "swp2")
	}
	if err := s.net.LAN.LinkUp("weir1"); err != nil {
		s.t.Fatal(err)
	}
	both()
	for _, vip := range bgpVIPs {
		s.serves(vip)
	}
}

// checked waits until the directors have the real servers that listen there, and no other.
func (s *switched) checked(listen ...string) {
	s.t.Helper()
	for i, d := range s.directors {
		for n, l := range listen {
			for family, a := range []string{fmt.Sprintf("192.168.100.%d:80", n+2), fmt.Sprintf("[2001:db8:100::%d]:80", n+2)} {
				serves := l != "" && (family == 0 || l != "80") && (family == 1 || l != "[::]:80")
				service := "./ipvsadm -ln -t " + endpointOf(bgpVIPs[family])
				eventually(s.t, fmt.Sprintf("director %d has %s: %t", i+1, a, serves), func() bool {
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

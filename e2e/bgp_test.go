package e2e

import (
	"strings"
	"testing"
	"time"

	"weir/internal/config/keepalivedconf"
)

// bgpPage is the page that TestBGP runs.
const bgpPage = "bgp-bfd.md"

// bgpVIPs are the page's VIPs.
var bgpVIPs = []string{"123.1.2.3", "2001:db8:123::3"}

// quorum runs what keepalived runs when a service of the page's keepalived.conf gains or
// loses its quorum, in the director's namespace.
func (d *director) quorum(vip string, holds bool) {
	d.t.Helper()
	conf := blockOf(d.t, bgpPage, "Announcing while quorum holds", "`keepalived.conf`")
	c, warnings, err := keepalivedconf.ParseBytes(bgpPage, []byte(conf), "")
	if err != nil || len(warnings) > 0 {
		d.t.Fatalf("docs/%s, keepalived.conf: %v %v", bgpPage, err, warnings)
	}
	for _, vs := range c.Servers {
		if vs.Virtual.Addr().String() != vip {
			continue
		}
		command := vs.QuorumDown.Command
		if holds {
			command = vs.QuorumUp.Command
		}
		d.run(d.net.Director, command)
		return
	}
	d.t.Fatalf("docs/%s, keepalived.conf, has no service of %s", bgpPage, vip)
}

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
	quorum := func(i int) {
		t.Helper()
		for _, vip := range bgpVIPs {
			s.directors[i].quorum(vip, true)
		}
	}
	both := func() {
		t.Helper()
		for _, vip := range append(bgpVIPs, "2001:db8:123::4", "2001:db8:123::5") {
			s.nextHops(vip, "swp1", "swp2")
		}
		eventually(t, "the switch watches both directors by BFD, in both families", func() bool {
			return strings.Count(l3.vtysh("-c", "show bfd peers brief"), " up ") == 4
		})
	}
	routers := []*frr{l3}
	for i := range s.directors {
		start(i)
		routers = append(routers, s.frrOf(i, bgpPage))
	}
	eventually(t, "all sessions are there, and announce nothing but what asks for no quorum", func() bool {
		out := l3.vtysh("-c", "show bgp summary established json")
		return strings.Count(out, `"pfxRcd":0`) == 2 && strings.Count(out, `"pfxRcd":2`) == 2
	})
	for _, vip := range bgpVIPs {
		s.nextHops(vip)
	}

	// The quorum comes, on both; goes on one; goes on the other.
	for i := range s.directors {
		quorum(i)
	}
	both()
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
	for _, vip := range bgpVIPs {
		s.serves(vip)
		s.directors[0].quorum(vip, false)
		if last := s.lastFailure(endpointOf(vip), time.Now(), requestPatience); last > time.Second {
			// One whose handshake moves with the route is reset by the other director.
			t.Errorf("%s: when the quorum of one of two went, a connection begun %s later failed", vip, last)
		}
		s.nextHops(vip, "swp2")
		s.serves(vip)
		s.directors[1].quorum(vip, false)
		s.nextHops(vip)
		s.directors[0].quorum(vip, true)
		s.nextHops(vip, "swp1")
		s.serves(vip)
		s.directors[1].quorum(vip, true)
	}
	both()

	// One dies, and the other when it is back: one VIP each shows how long it takes. BFD's
	// 450 ms are the same for both. On a machine whose CPUs are all busy with other tests,
	// FRR has been seen to take 3.3 s for IPv6; without BFD it is 9 s.
	longest := []time.Duration{time.Second, 5 * time.Second}
	for i, vip := range bgpVIPs {
		d := s.directors[i]
		d.dies()
		if last := s.lastFailure(endpointOf(vip), time.Now(), firstSYN); last == 0 || last > longest[i] {
			t.Errorf("%s: with BFD, the last connection that failed was begun %s after the death, want some and none after %s", vip, last, longest[i])
		}
		for _, vip := range bgpVIPs {
			s.nextHops(vip, []string{"swp2", "swp1"}[i])
			s.serves(vip)
		}
		live("after a death")
		<-d.daemon.Done()
		d.serve()
		start(i)
		quorum(i)
		both()
		live("when the dead is back")
		for _, vip := range bgpVIPs {
			if last := s.lastFailure(endpointOf(vip), time.Now(), requestPatience); last > 0 {
				t.Errorf("%s: when the dead was back, a connection begun %s later failed", vip, last)
			}
		}
	}

	// Taken out by hand, as the page has it: its VIPs, all of it.
	const out = "Taking a director out"
	s.directors[0].linux(blockOf(t, bgpPage, out, "or by hand"))
	for _, vip := range bgpVIPs {
		s.nextHops(vip, "swp2")
	}
	quorum(0)
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

// endpointOf is a VIP's address and the port of all services here.
func endpointOf(vip string) string {
	if strings.Contains(vip, ":") {
		return "[" + vip + "]:80"
	}
	return vip + ":80"
}

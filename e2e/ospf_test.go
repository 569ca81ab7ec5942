package e2e

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"
)

// ospfZebra and ospfOspfd are the section's two files, comments and all.
const ospfZebra = `! -*- zebra -*-
!
! zebra sample configuration file
!
! Id: zebra.conf.sample,v 1.1 2002/12/13 20:15:30 paul Exp $
!
hostname localhost.localdomain # change to it real hostname
password ****
enable password ****

log file /var/log/quagga/zebra.log
service password-encryption
`

const ospfOspfd = `log file /var/log/quagga/ospf.log
log stdout
log syslog
password ****
enable password ****
interface dpdk1.kni      # should be wan-side kni device
ip ospf hello-interval 10
ip ospf dead-interval 40
router ospf
ospf router-id 192.168.100.200 # just use LAN IP
log-adjacency-changes
auto-cost reference-bandwidth 1000
network 172.10.0.0/30 area 0.0.0.0 # announce inter-connection network
network 123.1.2.3/32 area 0.0.0.0 # announce VIP
`

// ospfSwitch is what the section leaves to the switch, whose timers are FRR's own: a
// hello every 10 s, dead after 40 s.
const ospfSwitch = `router ospf
 ospf router-id 172.10.0.1
 network 172.10.0.0/16 area 0.0.0.0
`

// TestOSPF runs the section "Full-NAT with OSPF/ECMP (two-arm)" as written, with FRR for
// its Quagga: comments behind commands are left out, **** is a password, and logs are
// where this test's are. A second director is the first but for its addresses. When one dies,
// the section's dead interval of 40 s is how long it takes until all new connections work.
func TestOSPF(t *testing.T) {
	t.Parallel() // it waits, nearly all of the time
	s := newSwitched(t, drivers[0], drivers[1])
	s.newFRR(s.l3).run(ospfSwitch, "ospfd")
	var routers []*frr
	for i, d := range s.directors {
		d.script(forDirector(i, ospfTutorial))
		d.linux(forDirector(i, ospfLinux))
		neighbour := forDirector(i, "172.10.0.1")
		if out := d.run(d.net.Director, "ping -c 1 -W 5 "+neighbour); !strings.Contains(out, "64 bytes from "+neighbour+": icmp_seq=1 ttl=64 ") {
			t.Errorf("ping printed %s", out)
		}
		f := d.newFRR(d.net.Director)
		log := strings.NewReplacer("/var/log/quagga", f.dir, "****", "zebra")
		f.daemon("zebra", log.Replace(withoutComments(ospfZebra)))
		f.daemon("ospfd", log.Replace(withoutComments(forDirector(i, ospfOspfd))))
		routers = append(routers, f)
	}
	for _, f := range routers {
		f.shows("show ip ospf interface dpdk1.kni", "Timer intervals configured, Hello 10s, Dead 40s")
		f.shows("show ip ospf neighbor", "Full/")
	}
	s.nextHops("123.1.2.3", "swp1", "swp2")
	for range 4 {
		if out := s.run(s.client(), "curl -sS --max-time 10 123.1.2.3"); !strings.HasPrefix(out, "Your ip:port : ") {
			t.Errorf("curl printed %q", out)
		}
	}
	const hello, dead = 10 * time.Second, 40 * time.Second
	// The last hello came up to hello before the death.
	if last := s.outages(s.directors[0].dies, "123.1.2.3:80")[0]; last < dead-hello-time.Second || last > dead+time.Second {
		t.Errorf("the last connection that failed was begun %s after the death, want %s at most, and %s less at least", last, dead, hello)
	}
	s.nextHops("123.1.2.3", "swp2")
}

// ospfPage is the page that the tests below run.
const ospfPage = "ospf-ecmp.md"

// twinAndRules does what a start of the page's unit does, for the i-th director.
func (s *switched) twinAndRules(i int, page string) {
	s.t.Helper()
	d := s.directors[i]
	d.linux(forDirector(i, blockOf(s.t, page, "A director", "`/etc/weir.twins`")))
	d.rules(forDirector(i, blockOf(s.t, page, "A director", "`/etc/weir.rules`")))
}

// frrOf starts the FRR of a page's section: the daemons that the page's sed turns on in
// Debian's own file.
func (s *switched) frrOf(i int, page string) *frr {
	s.t.Helper()
	if unit := blockOf(s.t, page, "A director", "`systemctl edit frr`"); unit != urgentUnit {
		s.t.Errorf("docs/%s gives FRR another priority than the tests do:\n%s", page, unit)
	}
	f := s.newFRR(s.directors[i].net.Director)
	debian, err := os.ReadFile("/etc/frr/daemons")
	if err != nil {
		s.t.Fatal(err)
	}
	daemons := f.write("daemons", string(debian))
	install := blockOf(s.t, page, "A director", "On a fresh Debian")
	_, sed, _ := strings.Cut(install, "\nsed ")
	if out, err := exec.Command("sh", "-ec", "sed "+strings.ReplaceAll(sed, "/etc/frr/daemons", daemons)).CombinedOutput(); err != nil {
		s.t.Fatalf("%s: %v\n%s", sed, err, out)
	}
	on, err := os.ReadFile(daemons)
	if err != nil {
		s.t.Fatal(err)
	}
	var names []string
	for _, m := range regexp.MustCompile(`(?m)^(\w+d)=yes`).FindAllStringSubmatch(string(on), -1) {
		names = append(names, m[1])
	}
	f.run(forDirector(i, blockOf(s.t, page, "A director", "`/etc/frr/frr.conf`")), names...)
	return f
}

// switchOf starts the switch of a page.
func (s *switched) switchOf(page string, daemons ...string) *frr {
	s.t.Helper()
	s.scriptIn(s.l3, blockOf(s.t, page, "The switch", "ports to the directors"))
	f := s.newFRR(s.l3)
	f.run(blockOf(s.t, page, "The switch", "`/etc/frr/frr.conf`"), daemons...)
	return f
}

// TestOSPFTwoDirectors runs docs/ospf-ecmp.md: two directors announce the same VIPs, and die
// in turn.
func TestOSPFTwoDirectors(t *testing.T) {
	t.Parallel()
	s := newSwitched(t, inTime(drivers[0], drivers[2])...)
	s.holdVIPs("123.1.2.4/32", "123.1.2.5/32")
	l3 := s.switchOf(ospfPage, "ospfd", "bfdd")
	var routers []*frr
	for i, d := range s.directors {
		s.twinAndRules(i, ospfPage)
		s.mhServices(i)
		d.linux("ip addr add 123.1.2.4/32 dev dpdk1.kni\nip addr add 123.1.2.5/32 dev dpdk1.kni")
		routers = append(routers, s.frrOf(i, ospfPage))
	}
	vips := []string{"123.1.2.3", "123.1.2.4", "123.1.2.5"}
	both := func() {
		for _, vip := range vips {
			s.nextHops(vip, "swp1", "swp2")
		}
		l3.shows("show bfd peers brief", "172.10.0.2                              up", "172.10.0.6                              up")
	}
	both()
	working := blockOf(t, ospfPage, "Is it working?", "")
	for _, f := range append(routers, l3) {
		f.page(working, map[string]string{"show ip ospf neighbor": "Full/", "show bfd peers brief": " up ", "show ip route 123.1.2.3/32": "Known via \"ospf\""})
	}
	dr, tunnel := s.longLived("123.1.2.4:80", 16), s.longLived("123.1.2.5:80", 16)
	live := func(when string) {
		t.Helper()
		dr.live(when)
		tunnel.live(when)
	}

	// With BFD.
	if last := s.outages(s.directors[0].dies, "123.1.2.3:80")[0]; last <= 0 || last > time.Second {
		t.Errorf("with BFD, the last connection that failed was begun %s after the death, want some and none after %s", last, time.Second)
	}
	live("after a death")
	<-s.directors[0].daemon.Done()
	s.directors[0].serve()
	s.twinAndRules(0, ospfPage)
	s.mhServices(0)
	s.directors[0].linux("ip addr add 123.1.2.4/32 dev dpdk1.kni\nip addr add 123.1.2.5/32 dev dpdk1.kni")
	both()

	// A cable that is cut.
	live("when the dead is back")
	if err := s.l3.LinkDown("swp1"); err != nil {
		t.Fatal(err)
	}
	if last := s.lastFailure("123.1.2.3:80", time.Now(), firstSYN); last > time.Second {
		t.Errorf("a connection begun %s after the cut failed", last)
	}
	s.nextHops("123.1.2.3", "swp2")
	eventually(t, "the switch's zebra has seen it, too", func() bool { return !strings.Contains(l3.vtysh("-c", "show ip route"), "172.10.0.2") })
	if err := s.l3.LinkUp("swp1"); err != nil {
		t.Fatal(err)
	}
	both()

	// Taken out by its routes, by hand.
	live("after a cut")
	s.directors[0].linux(blockOf(t, ospfPage, "Taking a director out", "Take its routes away"))
	for _, vip := range vips {
		s.nextHops(vip, "swp2")
	}
	live("when one director is out")
	s.twinVIPs(0)
	both()
	live("when it is in again")
	for i, d := range s.directors {
		if n := d.gauge("conns_taken_over"); n == 0 {
			t.Errorf("director %d took no connection over", i+1)
		}
	}

	// Without BFD, the dead interval does it. The director's ospfd may take the end of BFD
	// for the switch's, and find its neighbour anew.
	withoutBFD := func(f *frr, port string) {
		f.vtysh("-c", "configure terminal", "-c", "interface "+port, "-c", "no ip ospf bfd")
	}
	withoutBFD(l3, "swp2")
	eventually(t, "BFD ends", func() bool { return !strings.Contains(routers[1].vtysh("-c", "show bfd peers brief"), " up ") })
	withoutBFD(routers[1], "dpdk1.kni")
	routers[1].shows("show ip ospf neighbor", "Full/")
	eventually(t, "the switch has both neighbours", func() bool { return strings.Count(l3.vtysh("-c", "show ip ospf neighbor"), "Full/") == 2 })
	s.nextHops("123.1.2.3", "swp1", "swp2")
	const dead = 3 * time.Second
	if last := s.outages(s.directors[1].dies, "123.1.2.3:80")[0]; last <= 0 || last > dead+time.Second {
		t.Errorf("with a dead interval of %s, a connection begun %s after the death failed", dead, last)
	}
	s.nextHops("123.1.2.3", "swp1")
}

// TestOSPF6 runs the page's section on IPv6: OSPFv3 and BFD between link-local addresses.
func TestOSPF6(t *testing.T) {
	t.Parallel()
	s := newSwitched(t, inTime(drivers[2], drivers[1])...)
	l3 := s.newFRR(s.l3)
	l3.run(blockOf(t, ospfPage, ospf6Section, "On the switch"), "ospf6d", "bfdd")
	start := func(i int) {
		t.Helper()
		s.directors[i].rules(forDirector(i, blockOf(t, ospfPage, ospf6Section, "`/etc/weir.rules`")))
		s.directors[i].linux(forDirector(i, blockOf(t, ospfPage, ospf6Section, "`/etc/weir.twins`")))
	}
	routers := []*frr{l3}
	for i := range s.directors {
		start(i)
		f := s.newFRR(s.directors[i].net.Director)
		f.run(forDirector(i, blockOf(t, ospfPage, ospf6Section, "`/etc/frr/frr.conf`")), "ospf6d", "bfdd")
		routers = append(routers, f)
	}
	const vip = "2001:db8:123::3"
	both := func() {
		t.Helper()
		s.nextHops(vip, "swp1", "swp2")
		eventually(t, "the switch watches both directors by BFD", func() bool {
			return strings.Count(l3.vtysh("-c", "show bfd peers brief"), " up ") == 2
		})
	}
	both()
	working := blockOf(t, ospfPage, ospf6Section, "Is it working")
	for _, f := range routers {
		f.page(working, map[string]string{"show ipv6 ospf6 neighbor": "Full/", "show bfd peers brief": " up ", "show ipv6 ospf6 route": vip + "/128"})
	}
	s.serves(vip)
	for i, d := range s.directors {
		if last := s.outages(d.dies, endpointOf(vip))[0]; last <= 0 || last > time.Second {
			t.Errorf("with BFD, the last connection that failed was begun %s after the death, want some and none after %s", last, time.Second)
		}
		s.nextHops(vip, []string{"swp2", "swp1"}[i])
		s.serves(vip)
		<-d.daemon.Done()
		d.serve()
		start(i)
		both()
	}
	s.directors[1].linux("ip addr del " + vip + "/128 dev dpdk1.kni")
	s.nextHops(vip, "swp1")
	s.serves(vip)
}

// ospf6Section is the page's.
const ospf6Section = "IPv6"

// mhServices adds the page's services whose connections outlive a director.
func (s *switched) mhServices(i int) {
	s.t.Helper()
	s.directors[i].rules(forDirector(i, blockOf(s.t, ospfPage, "Connections that outlive a director", "with the same weights")))
}

// holdVIPs makes real servers ready for DR and tunnel.
func (s *switched) holdVIPs(vips ...string) {
	s.t.Helper()
	for _, rs := range s.net.Servers {
		newDecapsulator(s.t, rs)
		s.scriptIn(rs, quietARP)
		for _, vip := range vips {
			s.run(rs, "ip addr add "+vip+" dev lo")
		}
	}
}

// twinVIPs puts the VIPs back that "Taking a director out" took.
func (s *switched) twinVIPs(i int) {
	s.t.Helper()
	s.directors[i].linux(strings.ReplaceAll(blockOf(s.t, ospfPage, "Taking a director out", "Take its routes away"), "addr del", "addr add"))
}

package e2e

import (
	"strings"
	"testing"
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
// where this test's are.
func TestOSPF(t *testing.T) {
	t.Parallel()
	s := newSwitched(t, drivers[0])
	d := s.directors[0]
	s.nginx(s.rs(1))
	s.nginx(s.rs(2))
	s.newFRR(s.l3).run(ospfSwitch, "ospfd")
	d.script(ospfTutorial)
	d.linux(ospfLinux)
	if out := d.run(d.net.Director, "ping -c 1 -W 5 172.10.0.1"); !strings.Contains(out, "64 bytes from 172.10.0.1: icmp_seq=1 ttl=64 ") {
		t.Errorf("ping printed %s", out)
	}
	f := d.newFRR(d.net.Director)
	log := strings.NewReplacer("/var/log/quagga", f.dir, "****", "zebra")
	f.daemon("zebra", log.Replace(withoutComments(ospfZebra)))
	f.daemon("ospfd", log.Replace(withoutComments(ospfOspfd)))
	f.shows("show ip ospf interface dpdk1.kni", "Timer intervals configured, Hello 10s, Dead 40s")
	f.shows("show ip ospf neighbor", "Full/")
	eventually(t, "the switch has the VIP's route", func() bool {
		return strings.HasPrefix(s.run(s.l3, "ip route show 123.1.2.3"), "123.1.2.3 nhid ") &&
			strings.Contains(s.run(s.l3, "ip route show 123.1.2.3"), " via 172.10.0.2 dev d1 proto ospf ")
	})
	for range 4 {
		if out := s.run(s.client(), "curl -sS --max-time 10 123.1.2.3"); !strings.HasPrefix(out, "Your ip:port : 192.168.100.20") {
			t.Errorf("curl printed %q", out)
		}
	}
}

//go:build long

package e2e

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"weir/internal/testkit/netns"
)

// overBonds are what the section "KNI for Bonding/VLAN" has in the place of dpdk0 and
// dpdk1 in the sections before it, whose commands are otherwise as written.
var overBonds = []struct {
	dev string
	setup
}{
	{"bond0", drivers[2]},
	{"bond0.100", drivers[0]},
}

// activeBackup needs nothing of the switch: both cables lead to plain ports of it.
const activeBackup = "mode 1\nprimary dpdk0\nlink_up_delay 2000"

// eachBond runs a test over the devices, side by side: they wait, most of the time.
func eachBond(t *testing.T, test func(t *testing.T, dev string, s setup)) {
	t.Parallel()
	for _, row := range overBonds {
		t.Run(row.dev+" "+row.setup.String(), func(t *testing.T) {
			t.Parallel()
			s := row.setup
			s.bond = activeBackup
			test(t, row.dev, s)
		})
	}
}

// bonded starts a director on a network that has its dpdk0 on the switch; dpdk1 comes
// beside it.
func bonded(t *testing.T, s setup, ports []string, build func(label string) (*netns.Network, error)) *director {
	t.Helper()
	d := &director{setup: s, ports: ports, wan: "dpdk2", lan: "dpdk0"}
	d.bed = bedOf(t, func(label string) (*netns.Network, error) {
		n, err := build(label)
		if err != nil {
			return nil, err
		}
		err = errors.Join(netns.Veth(netns.End{In: n.Director, Name: "dpdk1"}, netns.End{In: n.LAN, Name: "weir1"}), n.LAN.Attach("weir1", "switch"))
		if err != nil {
			return nil, errors.Join(err, n.World.Close())
		}
		return n, nil
	})
	d.serve()
	t.Cleanup(d.end)
	return d
}

// onBond makes the device, if it is a VLAN, and puts the machines on the bond's side into it.
func (d *director) onBond(dev string) {
	d.t.Helper()
	if dev == "bond0" {
		return
	}
	d.do("./dpip vlan add link bond0 id 100")
	links := map[*netns.Namespace]string{}
	for _, rs := range d.net.Servers {
		links[rs] = "eth0"
	}
	if len(d.ports) == 2 {
		links[d.client()] = "eth0"
	}
	d.tagged(100, links)
	for _, port := range []string{"weir", "weir1"} {
		d.run(d.net.LAN, "ethtool -K "+port+" txvlan off")
	}
}

// webs starts nginx on the real servers for both families, and the agent before it.
func (d *director) webs() {
	d.t.Helper()
	for _, rs := range d.net.Servers {
		d.agentOn(rs, "--trust", "192.168.100.200/31").run()
		d.nginxWith(rs, strings.Replace(fmt.Sprintf(nginxAnswer, rs.Name()), "listen 80 backlog=4096;", "listen 80 backlog=4096; listen [::]:80;", 1))
		d.listening(rs, "127.0.0.1:80")
		d.listening(rs, "[::1]:80")
	}
}

// across pings, while the primary takes over again: an address from a machine, by way of
// the bond. Fifty a second for 4 s, which are link_up_delay and as long.
type across struct {
	from    *netns.Namespace
	address string
}

// withoutPrimary cuts the primary's cable at the switch, and mends it: what holds before has
// to hold with the other cable, and when the primary is back. Nothing is lost while it
// takes over.
func (d *director) withoutPrimary(in *netns.Namespace, port string, through across, holds func(when string)) {
	d.t.Helper()
	holds("with both cables")
	_, before := d.packets("dpdk1")
	if err := in.LinkDown(port); err != nil {
		d.t.Fatal(err)
	}
	d.bondIs("ative/slaves 1/2")
	holds("without the primary's cable")
	if _, after := d.packets("dpdk1"); after == before {
		d.t.Error("nothing left by dpdk1: this shows nothing")
	}
	if err := in.LinkUp(port); err != nil {
		d.t.Fatal(err)
	}
	if lost, _ := d.pings(through.from, through.address, 200, 20*time.Millisecond); lost != "" {
		d.t.Errorf("%s pings %s while the primary takes over: want one answer for each of 200, but %s\n%s", through.from.Name(), through.address, lost, d.do("./weir stats"))
	}
	d.bondIs(", active, primary) dpdk1")
	holds("when the primary is back")
}

// bondIs waits until the bond's status says so.
func (d *director) bondIs(want string) {
	d.t.Helper()
	eventually(d.t, "the bond's status says "+want, func() bool {
		return strings.Contains(d.do("./dpip link show bond0 status"), want)
	})
}

// answers curls a URL from the client.
func (b *bed) answers(in *netns.Namespace, when, url, want string) {
	b.t.Helper()
	if out := b.run(in, "curl -sS --max-time 20 "+url); !strings.HasPrefix(out, "Your ip:port : "+want+":") {
		b.t.Errorf("%s: curl of %s printed %q", when, url, out)
	}
}

// drTutorial6 is the section "DR Mode (one-arm)" with IPv6.
const drTutorial6 = `
./dpip addr add 2001:db8:100::1/64 dev dpdk0
./dpip addr add 2001:db8:100::254/128 dev dpdk0
./ipvsadm -A -t [2001:db8:100::254]:80 -s rr
./ipvsadm -a -t [2001:db8:100::254]:80 -r [2001:db8:100::2] -g
./ipvsadm -a -t [2001:db8:100::254]:80 -r [2001:db8:100::3] -g
`

// TestBondKeepalived is the sections "DR Mode (one-arm)" and "Full-NAT with Keepalived
// (one-arm)" over a bond, and a VLAN on it, their twins included.
func TestBondKeepalived(t *testing.T) {
	eachBond(t, func(t *testing.T, dev string, s setup) {
		d := bonded(t, s, []string{"dpdk0", "dpdk1"}, func(label string) (*netns.Network, error) {
			return netns.NewOneArm(label, netns.OneArmOptions{
				Client: netip.MustParsePrefix("192.168.100.46/24"), Client6: netip.MustParsePrefix("2001:db8:100::46/64"),
				Servers:  []netip.Prefix{netip.MustParsePrefix("192.168.100.2/24"), netip.MustParsePrefix("192.168.100.3/24")},
				Servers6: []netip.Prefix{netip.MustParsePrefix("2001:db8:100::2/64"), netip.MustParsePrefix("2001:db8:100::3/64")},
			})
		})
		d.webs()
		d.onBond(dev)
		on := strings.NewReplacer("dpdk0", dev)

		for _, rs := range d.net.Servers {
			d.scriptIn(rs, strings.ReplaceAll(drServer, "VIP", "192.168.100.254")+quietARP+"ip addr add 2001:db8:100::254/128 dev lo nodad\n")
		}
		d.quietly(on.Replace(drTutorial + drTutorial6))
		d.ask("192.168.100.254", `X-Real-Server: (rs[12])\r\n\r\nYour ip:port : 192\.168\.100\.46:(\d+)\n$`)
		for range 2 {
			d.answers(d.client(), "DR", "http://[2001:db8:100::254]/", "2001:db8:100::46")
		}
		d.quietly(on.Replace("./ipvsadm -C\n./dpip addr flush dev dpdk0\n./dpip -6 addr flush dev dpdk0"))
		for _, rs := range d.net.Servers {
			d.scriptIn(rs, "ip addr del 192.168.100.254/32 dev lo\nip addr del 2001:db8:100::254/128 dev lo")
		}

		d.twin(dev, "192.168.100.28/24")
		d.linux("ip addr add 2001:db8:100::28/64 dev " + dev + ".kni nodad")
		k := d.keepalived(strings.ReplaceAll(on.Replace(keepalivedTutorial), "****", "1111"))
		d.lists("./ipvsadm -ln", fmt.Sprintf(keepalivedServices, 100, 100))
		holds := func() bool {
			return strings.Contains(d.do("./dpip addr show"), "inet 192.168.100.254/32 scope global "+dev+"\n")
		}
		eventually(t, "the VIP is on "+dev, holds)
		d.quietly(on.Replace("./dpip route add 192.168.100.0/24 dev dpdk0"))
		conns := d.longLived("192.168.100.254:80", 4)
		d.withoutPrimary(d.net.LAN, "weir", across{d.client(), "192.168.100.254"}, func(when string) {
			conns.live(when)
			d.answers(d.client(), when, "192.168.100.254", "192.168.100.46")
			for _, a := range []string{"192.168.100.254", "192.168.100.28", "2001:db8:100::28"} {
				d.once(d.client(), a)
			}
			if !holds() {
				t.Errorf("%s the VIP is not there", when)
			}
		})
		if err := k.process.Stop(within(t, patience)); err != nil {
			t.Errorf("keepalived did not end well: %v", err)
		}
	})
}

// bondTwoArm has the real servers on the bond's side and the client at dpdk2.
func bondTwoArm(t *testing.T, s setup) *director {
	t.Helper()
	return bonded(t, s, []string{"dpdk0", "dpdk1", "dpdk2"}, func(label string) (*netns.Network, error) {
		return netns.NewTwoArm(label, netns.TwoArmOptions{WAN: "dpdk2"})
	})
}

// tutorial6 is the section "Simple Full-NAT (two-arm)" with IPv6.
const tutorial6 = `
./dpip addr add 2001:db8:10::100/128 dev dpdk1
./dpip route add 2001:db8:10::/64 dev dpdk1
./dpip route add 2001:db8:100::/64 dev dpdk0
./ipvsadm -A -t [2001:db8:10::100]:80 -s rr
./ipvsadm -a -t [2001:db8:10::100]:80 -r [2001:db8:100::2] -b
./ipvsadm -a -t [2001:db8:10::100]:80 -r [2001:db8:100::3] -b
./ipvsadm --add-laddr -z 2001:db8:100::200 -t [2001:db8:10::100]:80 -F dpdk0
`

// TestBondFullNAT is the section "Simple Full-NAT (two-arm)" with a bond, and a VLAN on
// it, toward the real servers.
func TestBondFullNAT(t *testing.T) {
	eachBond(t, func(t *testing.T, dev string, s setup) {
		d := bondTwoArm(t, s)
		d.webs()
		d.onBond(dev)
		on := strings.NewReplacer("dpdk0", dev, "dpdk1", "dpdk2")
		d.quietly(on.Replace(tutorial + tutorial6))
		d.curl()
		conns := d.longLived("10.0.0.100:80", 4)
		d.withoutPrimary(d.net.LAN, "weir", across{d.rs(1), "192.168.100.200"}, func(when string) {
			conns.live(when)
			d.answers(d.client(), when, "10.0.0.100", "10.0.0.48")
			d.answers(d.client(), when, "http://[2001:db8:10::100]/", "2001:db8:10::48")
		})
	})
}

// snatTutorial6 is the section "SNAT Mode (two-arm)" with IPv6.
const snatTutorial6 = `
./dpip addr add 2001:db8:10::3/64 dev dpdk1 sapool
./dpip addr add 2001:db8:100::1/64 dev dpdk0
./ipvsadm -A -s rr -H proto=tcp,src-range=[2001:db8:100::2-2001:db8:100::ff],oif=dpdk1
./ipvsadm -a -H proto=tcp,src-range=[2001:db8:100::2-2001:db8:100::ff],oif=dpdk1 -r [2001:db8:10::3]:0 -w 100 -J
`

// TestBondSNAT is the section "SNAT Mode (two-arm)", by keepalived and by hand, with a
// bond, and a VLAN on it, toward the hosts.
func TestBondSNAT(t *testing.T) {
	eachBond(t, func(t *testing.T, dev string, s setup) {
		d := bondTwoArm(t, s)
		d.tunnelOutside()
		d.onBond(dev)
		for _, host := range d.net.Servers {
			d.scriptIn(host, "ip route add default via 192.168.100.1\nip route add default via 2001:db8:100::1")
		}
		on := strings.NewReplacer("dpdk0", dev, "dpdk1", "dpdk2")

		d.do(on.Replace("./dpip addr add 192.168.100.1/24 dev dpdk0"))
		k := d.keepalived(on.Replace(keepalivedSNAT()))
		eventually(t, "keepalived has made its services", func() bool { return strings.Count(d.do("./ipvsadm -ln"), "123.1.2.2:0") == 3 })
		d.answers(d.rs(1), "by keepalived", internet, "123.1.2.2")
		d.once(d.rs(2), internet)
		if err := k.process.Stop(within(t, patience)); err != nil {
			t.Error(err)
		}
		d.do(on.Replace("./dpip addr del 192.168.100.1/24 dev dpdk0"))

		d.quietly(on.Replace(snatTutorial + snatTutorial6))
		d.withoutPrimary(d.net.LAN, "weir", across{d.rs(1), internet}, func(when string) {
			for i := range d.net.Servers {
				d.answers(d.rs(i+1), when, internet, "123.1.2.3")
				d.answers(d.rs(i+1), when, "http://["+netns.ClientAddr6.Addr().String()+"]/", "2001:db8:10::3")
			}
			d.once(d.rs(1), internet, "-s", "4000") // in fragments
		})
	})
}

// TestBondOSPF is the section "Full-NAT with OSPF/ECMP (two-arm)" with a bond, and a VLAN
// on it, toward the switch, and with FRR on their twins.
func TestBondOSPF(t *testing.T) {
	eachBond(t, func(t *testing.T, dev string, how setup) {
		s := newSwitched(t, how)
		d := s.directors[0]
		if dev != "bond0" {
			d.do("./dpip vlan add link bond0 id 100")
			s.tagged(100, map[*netns.Namespace]string{s.l3: "swp1"})
			for _, port := range []string{"cable0", "cable1"} {
				s.run(s.l3, "ethtool -K "+port+" txvlan off")
			}
		}
		on := strings.NewReplacer("dpdk0", "dpdk2", "dpdk1", dev)
		s.newFRR(s.l3).run(fastOSPF("swp1")+ospfSwitch, "ospfd")
		d.script(on.Replace(ospfTutorial + ospfTutorial6))
		d.linux(on.Replace(ospfLinux + ospfLinux6))
		s.run(s.l3, "ip route add 2001:db8:123::3/128 via 2001:db8:172::2")
		f := d.newFRR(d.net.Director)
		log := strings.NewReplacer("/var/log/quagga", f.dir, "****", "zebra", "hello-interval 10", "hello-interval 1", "dead-interval 40", "dead-interval 4")
		f.daemon("zebra", log.Replace(withoutComments(ospfZebra)))
		f.daemon("ospfd", log.Replace(withoutComments(on.Replace(ospfOspfd))))
		f.shows("show ip ospf neighbor", "Full/")
		s.nextHops("123.1.2.3", "swp1")
		d.withoutPrimary(s.l3, "cable0", across{s.client(), "123.1.2.3"}, func(when string) {
			for _, url := range []string{"123.1.2.3", "http://[2001:db8:123::3]/"} {
				if out := s.run(s.client(), "curl -sS --max-time 10 "+url); !strings.HasPrefix(out, "Your ip:port : ") {
					t.Errorf("%s: curl of %s printed %q", when, url, out)
				}
			}
			d.once(s.client(), "123.1.2.3")
			if out := f.vtysh("-c", "show ip ospf neighbor"); !strings.Contains(out, "Full/") {
				t.Errorf("%s there is no neighbour:\n%s", when, out)
			}
		})
	})
}

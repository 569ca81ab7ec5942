package e2e

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"weir/internal/testkit/netns"
)

// vlanTutorial is the section "VLAN Device", but for the line about a bond.
const vlanTutorial = `
dpip vlan add dpdk0.100 link dpdk0 proto 802.1q id 100
dpip vlan add link dpdk0 proto 802.1q id 101            # auto generate dev name
dpip vlan add link dpdk1 id 102
`

// onVLANs is what the tutorial says of its sections: replace the interfaces by the
// virtual devices.
var onVLANs = strings.NewReplacer("dpdk0", "dpdk0.100", "dpdk1", "dpdk1.102")

// tagged puts machines into a VLAN. A cable's end at the director gets frames with their
// tags in them: beside them, AF_XDP would not see them (docs/vlan.md).
func (b *bed) tagged(id uint16, links map[*netns.Namespace]string) {
	b.t.Helper()
	for in, name := range links {
		b.run(in, "ethtool -K "+name+" txvlan off")
		if err := in.Tag(name, 0x8100, id); err != nil {
			b.t.Fatal(err)
		}
	}
}

// vlans makes the section's devices and puts all machines of the network into them.
func (d *director) vlans() {
	d.t.Helper()
	for line := range strings.Lines(vlanTutorial) {
		line, _, _ = strings.Cut(line, "#")
		if line = strings.TrimSpace(line); line == "" || len(d.ports) == 1 && strings.Contains(line, "dpdk1") {
			continue
		}
		if got := d.do("./" + line); got != "" {
			d.t.Errorf("%s printed %q", line, got)
		}
	}
	lan, wan := map[*netns.Namespace]string{}, map[*netns.Namespace]string{}
	for _, rs := range d.net.Servers {
		lan[rs] = "eth0"
	}
	if len(d.ports) == 1 {
		lan[d.client()] = "eth0"
	} else {
		wan[d.client()] = "eth0"
	}
	d.tagged(100, lan)
	d.tagged(102, wan)
	d.run(d.net.LAN, "ethtool -K weir txvlan off")
}

// queueFigures are the frames that each queue received or sent, of `link show -s -v`.
func queueFigures(t *testing.T, shown, way string) (each []uint64) {
	t.Helper()
	for _, m := range regexp.MustCompile(`\n {8}\d+ +`+way+`_q\d+_packets: (\d+)`).FindAllStringSubmatch(shown, -1) {
		n, err := strconv.ParseUint(m[1], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		each = append(each, n)
	}
	if len(each) == 0 {
		t.Fatalf("no queue's frames (%s) are in\n%s", way, shown)
	}
	return each
}

// TestVLAN runs the section "VLAN Device", and on its devices the sections "Simple
// Full-NAT" and "SNAT".
func TestVLAN(t *testing.T) {
	t.Parallel() // it asks little of the machine
	two := drivers[0]
	two.workers, two.queues = 2, 2
	for _, s := range []setup{two, drivers[2]} {
		t.Run(s.String(), func(t *testing.T) {
			d := newDirector(t, s)
			d.vlans()
			d.prints(map[string]string{
				"./dpip vlan show":                   "dpdk0.100 link dpdk0 proto 802.1q id 100\ndpdk0.101 link dpdk0 proto 802.1q id 101\ndpdk1.102 link dpdk1 proto 802.1q id 102\n",
				"./dpip vlan show dpdk0.100":         "dpdk0.100 link dpdk0 proto 802.1q id 100\n",
				"./dpip vlan show link dpdk0 id 101": "dpdk0.101 link dpdk0 proto 802.1q id 101\n",
			})
			for _, rs := range d.net.Servers {
				d.agentOn(rs).run()
				d.nginx(rs)
			}
			d.quietly(onVLANs.Replace(tutorial))
			for _, row := range shown {
				if got, want := unpadded(d.do(row.command)), onVLANs.Replace(row.want); got != want {
					t.Errorf("%s printed\n%swant\n%s", row.command, got, want)
				}
			}
			d.curl()
			d.run(d.client(), "ping -c 3 -i 0.2 -W 5 10.0.0.100")
			// Its whole life: saved, taken away with all it has, restored.
			saved := d.do("./ipvsadm -S")
			if a := d.try("./dpip vlan del dpdk0.100"); a.code == 0 || !strings.Contains(a.stderr, "resource busy") {
				t.Errorf("a VLAN with a local address of a service was deleted: %d %s", a.code, a.stderr)
			}
			d.quietly("./ipvsadm -C\n./dpip vlan del dpdk0.100\n./dpip vlan del link dpdk0 id 101\n./dpip vlan del dpdk1.102")
			if left := d.do("./dpip addr show") + d.do("./dpip vlan show") + d.do("./dpip route show") + d.do("./ipvsadm -S"); strings.Contains(left, "dpdk") {
				t.Errorf("after the VLANs were deleted there is left\n%s", left)
			}
			if a := d.tryWith(saved, "./ipvsadm", "-R"); a.code != 0 {
				t.Fatalf("-R: %s", a.stderr)
			}
			if again := d.do("./ipvsadm -S"); again != saved {
				t.Errorf("restored\n%s\nsaved\n%s", again, saved)
			}
			d.curlAnyPort()
			if n := d.do("./dpip link show dpdk1.102 -s"); !regexp.MustCompile(`\n +[1-9]\d+ +[1-9]\d+ +[1-9]\d+ +[1-9]\d+`).MatchString(n) {
				t.Errorf("what went through the VLAN is not counted:\n%s", n)
			} else if !strings.Contains(n, "    UP 10000 Mbps full-duplex ") {
				t.Errorf("the VLAN has not the speed of its link:\n%s", n)
			}
			all := d.do("./dpip link show dpdk1 -s -v")
			if got, want := queueFigures(t, all, "rx"), max(s.queues, 1); len(got) != want || slices.Max(got) == 0 {
				t.Errorf("%d queues received frames, %v of them, want %d queues:\n%s", len(got), got, want, all)
			}
			if got := queueFigures(t, all, "tx"); slices.Max(got) == 0 {
				t.Errorf("no queue sent:\n%s", all)
			}
		})
	}
}

// curlAnyPort is a request of its own.
func (d *director) curlAnyPort() {
	d.t.Helper()
	if out := d.run(d.client(), "curl -sS --max-time 20 10.0.0.100"); !strings.HasPrefix(out, "Your ip:port : 10.0.0.48:") {
		d.t.Errorf("curl printed %q", out)
	}
}

// SNAT over VLANs, and a large transfer: super-frames with tags.
func TestVLANSNAT(t *testing.T) {
	t.Parallel() // it asks little of the machine
	for _, s := range []setup{drivers[0], drivers[2]} {
		t.Run(s.String(), func(t *testing.T) {
			d := newDirector(t, s)
			d.vlans()
			d.outside()
			d.quietly(onVLANs.Replace(snatTutorial))
			for i := range 2 {
				if out := d.run(d.rs(i+1), "curl -sS --max-time 20 "+internet); !strings.HasPrefix(out, "Your ip:port : 123.1.2.3:") {
					t.Errorf("host %d: curl printed %q", i+1, out)
				}
			}
			d.run(d.rs(1), "ping -c 2 -i 0.2 -W 5 -s 4000 "+internet)
		})
	}
}

// DR and the section "Full-NAT with Keepalived" over a VLAN, its twin included.
func TestVLANKeepalived(t *testing.T) {
	t.Parallel() // it waits, most of the time
	d := drOneArm(t, drivers[0])
	d.vlans()
	d.quietly(onVLANs.Replace(drTutorial))
	d.ask("192.168.100.254", `X-Real-Server: (rs[12])\r\n\r\nYour ip:port : 192\.168\.100\.46:(\d+)\n$`)
	d.quietly("./ipvsadm -C\n./dpip addr flush dev dpdk0.100")
	for _, rs := range d.net.Servers {
		d.run(rs, "ip addr del 192.168.100.254/32 dev lo")
	}
	d.twin("dpdk0.100", "192.168.100.28/24")
	k := d.keepalived(strings.ReplaceAll(onVLANs.Replace(keepalivedTutorial), "****", "1111"))
	d.lists("./ipvsadm -ln", fmt.Sprintf(keepalivedServices, 100, 100))
	eventually(t, "the VIP is on the VLAN", func() bool {
		return strings.Contains(d.do("./dpip addr show"), "inet 192.168.100.254/32 scope global dpdk0.100\n")
	})
	d.quietly("./dpip route add 192.168.100.0/24 dev dpdk0.100")
	d.once(d.client(), "192.168.100.254")
	d.once(d.client(), "192.168.100.28")
	if out := d.run(d.client(), "curl -sS --max-time 20 192.168.100.254"); !strings.HasPrefix(out, "Your ip:port : 192.168.100.20") { // a local address
		t.Errorf("curl printed %q", out)
	}
	if err := k.process.Stop(within(t, patience)); err != nil {
		t.Errorf("keepalived did not end well: %v", err)
	}
}

// The section "Full-NAT with OSPF/ECMP" over a VLAN toward the switch.
func TestVLANOSPF(t *testing.T) {
	t.Parallel() // it waits, most of the time
	s := newSwitched(t, drivers[0])
	d := s.directors[0]
	d.do("./dpip vlan add link dpdk1 id 102")
	s.tagged(102, map[*netns.Namespace]string{s.l3: "swp1"})
	wan := strings.NewReplacer("dpdk1", "dpdk1.102")
	s.newFRR(s.l3).run(fastOSPF("swp1")+ospfSwitch, "ospfd")
	d.script(wan.Replace(ospfTutorial))
	d.linux(wan.Replace(ospfLinux))
	f := d.newFRR(d.net.Director)
	log := strings.NewReplacer("/var/log/quagga", f.dir, "****", "zebra", "hello-interval 10", "hello-interval 1", "dead-interval 40", "dead-interval 4")
	f.daemon("zebra", log.Replace(withoutComments(ospfZebra)))
	f.daemon("ospfd", log.Replace(withoutComments(wan.Replace(ospfOspfd))))
	f.shows("show ip ospf neighbor", "Full/")
	s.nextHops("123.1.2.3", "swp1")
	if out := s.run(s.client(), "curl -sS --max-time 10 123.1.2.3"); !strings.HasPrefix(out, "Your ip:port : ") {
		t.Errorf("curl printed %q", out)
	}
}

// fastOSPF are timers of a second.
func fastOSPF(link string) string {
	return "interface " + link + "\n ip ospf hello-interval 1\n ip ospf dead-interval 4\n"
}

package e2e

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"weir/internal/testkit/netns"
)

// adverts is how long a dead master may go unnoticed: three advertisement intervals and a
// second.
const adverts = 4 * time.Second

// node is one of two directors on the same switch, each with its keepalived.
type node struct {
	*director
	k      *keepalived
	prio   int
	source string // of VRRP and health checks, on the .kni device
}

// pairOf is two directors, the second in a namespace of its own.
func pairOf(t *testing.T) (first, second *node) {
	t.Helper()
	d := newOneArm(t, drivers[0], "dpdk0", netns.OneArmOptions{
		Client:  netip.MustParsePrefix("192.168.100.146/24"),
		Servers: []netip.Prefix{netip.MustParsePrefix("192.168.100.2/24"), netip.MustParsePrefix("192.168.100.3/24")},
	})
	first = &node{director: d, prio: 250, source: "192.168.100.28"}
	second = &node{director: d.another("weir2"), prio: 200, source: "192.168.100.29"}
	for _, n := range []*node{first, second} {
		n.twin("dpdk0", n.source+"/24")
	}
	return first, second
}

// place makes a namespace with a link called dpdk0 in the switch.
func (d *director) place(name string) *netns.Namespace {
	d.t.Helper()
	ns, err := d.net.World.Namespace(name)
	if err != nil {
		d.t.Fatal(err)
	}
	if err := netns.Veth(netns.End{In: ns, Name: "dpdk0"}, netns.End{In: d.net.LAN, Name: name}); err != nil {
		d.t.Fatal(err)
	}
	if err := d.net.LAN.Attach(name, "switch"); err != nil {
		d.t.Fatal(err)
	}
	return ns
}

// another starts a second director on the switch.
func (d *director) another(name string) *director {
	d.t.Helper()
	net := *d.net
	net.Director = d.place(name)
	b := *d.bed
	b.net, b.dir = &net, d.t.TempDir()
	e := &director{bed: &b, setup: d.setup, ports: d.ports, lan: d.lan}
	e.serve()
	d.t.Cleanup(e.end)
	return e
}

// haFile is the tutorial's file for a node, with fewer words and a fast timer where asked for.
func (n *node) haFile(state string, vips []string) string {
	excluded := ""
	if len(vips) > 1 {
		excluded = " virtual_ipaddress_excluded {\n  " + strings.Join(vips[1:], "\n  ") + "\n }\n"
	}
	return fmt.Sprintf(`
local_address_group laddr_g1 {
 %s dpdk0
}
vrrp_instance VI_1 {
 state %s
 interface dpdk0.kni
 dpdk_interface dpdk0
 virtual_router_id 123
 priority %d
 advert_int 1
 authentication {
  auth_type PASS
  auth_pass ****
 }
 virtual_ipaddress {
  %s
 }
%s}
virtual_server 192.168.100.254 80 {
 delay_loop 1
 protocol TCP
 lb_algo rr
 lb_kind FNAT
 laddr_group_name laddr_g1
 real_server 192.168.100.2 80 {
  weight 100
  TCP_CHECK {
   connect_timeout 3
  }
 }
}
`, map[int]string{250: "192.168.100.200", 200: "192.168.100.201"}[n.prio], state, n.prio, vips[0], excluded)
}

func (n *node) begin(state string, vips ...string) {
	n.t.Helper()
	n.k = n.keepalived(n.haFile(state, vips))
}

// held is how many of the addresses are on the director.
func (n *node) held() int { return strings.Count(n.do("./dpip addr show"), "192.168.100.254/32") }

// takesOver waits until a node has the VIP, and returns how long that took.
func (n *node) takesOver(began time.Time) time.Duration {
	n.t.Helper()
	eventually(n.t, n.net.Director.Name()+" has the VIP", func() bool { return n.held() == 1 })
	return time.Since(began)
}

// leaves waits until a node has not got the VIP.
func (n *node) leaves() {
	n.t.Helper()
	eventually(n.t, n.net.Director.Name()+" has not got the VIP", func() bool { return n.held() == 0 })
}

// seenAt waits until the client sees the VIP at a node: it had another's MAC in its table, and
// only an announcement changes that at once.
func (n *node) seenAt(t *testing.T) {
	t.Helper()
	mac, err := n.net.Director.MAC("dpdk0")
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the client sees the VIP at "+n.net.Director.Name(), func() bool {
		return strings.Contains(n.run(n.client(), "ip neigh show 192.168.100.254"), mac.String())
	})
	out := n.run(n.client(), "curl -sS --max-time 20 192.168.100.254")
	if !strings.HasPrefix(out, "Your ip:port") {
		t.Errorf("curl printed %q", out)
	}
}

// TestKeepalivedMasterBackup: two nodes, and every way that the first dies: the VIP is on the
// second in time and announced, and back when the first is.
func TestKeepalivedMasterBackup(t *testing.T) {
	t.Parallel() // it waits, most of the time
	const vip = "192.168.100.254"
	a, b := pairOf(t)
	a.nginx(a.rs(1))
	for _, n := range []*node{a, b} {
		n.do("./dpip route add 192.168.100.0/24 dev dpdk0")
	}
	a.begin("MASTER", vip)
	b.begin("BACKUP", vip)
	a.takesOver(time.Now())
	b.k.says("vrrp_instance VI_1 is BACKUP")
	b.leaves()
	a.run(a.client(), "ping -c 1 -W 5 "+vip)
	a.seenAt(t)
	back := func(t *testing.T) {
		t.Helper()
		a.takesOver(time.Now())
		b.leaves()
		a.seenAt(t)
	}
	for _, way := range []struct {
		name      string
		die, live func()
	}{
		{"keepalived is told to end", func() { a.k.process.Signal(syscall.SIGTERM) }, func() { <-a.k.process.Done(); a.k.start() }},
		{"kill -9 of keepalived", func() { a.k.process.Kill() }, func() { a.k.start() }},
		{"kill -9 of the stock keepalived", func() {
			for _, pid := range stockOf(a.k) {
				if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
					t.Fatal(err)
				}
			}
			a.k.process.Signal(syscall.SIGSTOP) // or it would start another before the others miss it
		}, func() { a.k.process.Signal(syscall.SIGCONT) }},
		{"cable cut", func() {
			if err := a.net.LAN.LinkDown("weir"); err != nil {
				t.Fatal(err)
			}
		}, func() {
			if err := a.net.LAN.LinkUp("weir"); err != nil {
				t.Fatal(err)
			}
		}},
		{"kill -9 of weir", func() {
			a.killed = true
			a.daemon.Kill()
		}, func() {
			a.serve()
			a.killed = false
			a.do("./dpip route add 192.168.100.0/24 dev dpdk0")
		}},
	} {
		t.Run(way.name, func(t *testing.T) {
			began := time.Now()
			way.die()
			took := b.takesOver(began)
			t.Logf("taken over after %v", took.Round(time.Millisecond))
			if took > adverts {
				t.Errorf("it took %v to take over, want %v", took, adverts)
			}
			b.seenAt(t)
			way.live()
			back(t)
		})
	}
}

// TestKeepalivedManyVIPs: 200 addresses of both families move together. All of them answer, the
// network is told of each, and where they were nothing is left.
func TestKeepalivedManyVIPs(t *testing.T) {
	t.Parallel() // it waits, most of the time
	vips := []string{"192.168.100.254"}
	for i := range 99 {
		vips = append(vips, fmt.Sprintf("192.168.101.%d", i+1))
	}
	for i := range 100 {
		vips = append(vips, fmt.Sprintf("2001:db8:101::%x", i+1))
	}
	a, b := pairOf(t)
	a.nginx(a.rs(1))
	a.scriptIn(a.client(), "ip route add 192.168.101.0/24 dev eth0\nip -6 addr add 2001:db8:101::ffff/64 dev eth0 nodad")
	count := func(n *node) int {
		out := n.do("./dpip addr show")
		return strings.Count(out, "192.168.101.") + strings.Count(out, "2001:db8:101::") + n.held()
	}
	a.begin("MASTER", vips...)
	b.begin("BACKUP", vips...)
	eventually(t, "the first has all", func() bool { return count(a) == len(vips) && count(b) == 0 })
	if silent := a.silent(vips); len(silent) > 0 {
		t.Errorf("%d of the first's do not answer: %v", len(silent), silent)
	}
	a.knownAt(a, vips)
	began := time.Now()
	a.k.process.Kill()
	eventually(t, "the second has all", func() bool { return count(b) == len(vips) })
	took := time.Since(began)
	b.knownAt(a, vips) // nobody has asked: it was told
	told := time.Since(began)
	if silent := a.silent(vips); len(silent) > 0 {
		t.Errorf("%d of the second's do not answer: %v", len(silent), silent)
	}
	eventually(t, "the first has none", func() bool { return count(a) == 0 })
	t.Logf("%d addresses moved in %v, and after %v the client knew", len(vips), took.Round(time.Millisecond), told.Round(time.Millisecond))
	if took > adverts {
		t.Errorf("it took %v, want %v", took, adverts)
	}
	b.k.process.Signal(syscall.SIGTERM)
	eventually(t, "the second has none", func() bool { return count(b) == 0 })
	if out := b.do("./dpip route show") + b.do("./dpip -6 route show"); strings.Contains(out, "192.168.101.") || strings.Contains(out, "2001:db8:101:") {
		t.Errorf("routes are left: %s", out)
	}
	a.shell("ip neigh flush all")
	if silent := a.silent(vips); len(silent) != len(vips) {
		t.Errorf("%d addresses answer that nobody has", len(vips)-len(silent))
	}
}

// silent pings all of these from the client at once, and returns those that do not answer.
func (d *director) silent(vips []string) []string {
	d.t.Helper()
	return strings.Fields(d.shell("for a in " + strings.Join(vips, " ") + "; do (ping -c 3 -i 0.5 -W 1 $a >/dev/null || echo $a) & done; wait"))
}

// shell runs a script in the client.
func (d *director) shell(script string) string {
	d.t.Helper()
	out, err := d.client().Run(within(d.t, patience), "sh", "-c", script)
	if err != nil {
		d.t.Fatal(err)
	}
	return out
}

// knownAt waits until the client knows each of the addresses to be at this node.
func (n *node) knownAt(at *node, vips []string) { n.t.Helper(); n.knownOn(at, "dpdk0", vips) }

func (n *node) knownOn(at *node, port string, vips []string) {
	n.t.Helper()
	mac, err := n.net.Director.MAC(port)
	if err != nil {
		n.t.Fatal(err)
	}
	var missing []string
	defer func() {
		if n.t.Failed() {
			n.t.Logf("the client does not know of %v", missing)
		}
	}()
	eventually(n.t, "the client knows all addresses to be at "+n.net.Director.Name(), func() bool {
		missing = nil
		known := at.shell("ip neigh show")
		for _, v := range vips {
			if !strings.Contains(known, v+" dev eth0 lladdr "+mac.String()) {
				missing = append(missing, v)
			}
		}
		return len(missing) == 0
	})
}

// TestKeepalivedBesideStock: the other node is a stock keepalived without weir.
func TestKeepalivedBesideStock(t *testing.T) {
	t.Parallel() // it waits, most of the time
	const vip = "192.168.100.254"
	d := newKeepalivedBed(t, drivers[0])
	d.nginx(d.rs(1))
	a := &node{director: d, prio: 250, source: "192.168.100.28"}
	other := d.place("stock")
	if err := other.Address("dpdk0", netip.MustParsePrefix("192.168.100.29/24")); err != nil {
		t.Fatal(err)
	}
	file := d.path("stock.conf")
	text := fmt.Sprintf("vrrp_instance VI_1 {\n state BACKUP\n interface dpdk0\n virtual_router_id 123\n priority 200\n advert_int 1\n authentication {\n auth_type PASS\n auth_pass ****\n }\n virtual_ipaddress {\n %s\n }\n}\n", vip)
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	d.startCmd(other, exec.Command("/usr/sbin/keepalived", "--vrrp", "-n", "-l", "-G", "-f", file, "-p", d.path("stock.pid"), "-r", d.path("stock-vrrp.pid")))
	otherHas := func() bool { return strings.Contains(d.run(other, "ip -4 addr show dev dpdk0"), vip) }
	eventually(t, "the stock node is master", otherHas)
	a.run(a.client(), "ping -c 1 -W 5 "+vip)
	a.do("./dpip route add 192.168.100.0/24 dev dpdk0")
	a.begin("BACKUP", vip) // of a higher priority
	a.takesOver(time.Now())
	eventually(t, "the stock node has given way", func() bool { return !otherHas() })
	a.seenAt(t)
	began := time.Now()
	a.k.process.Kill()
	eventually(t, "the stock node is master", otherHas)
	if took := time.Since(began); took > adverts {
		t.Errorf("it took %v, want %v", took, adverts)
	}
	a.leaves()
}

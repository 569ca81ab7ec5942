package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"weir/internal/testkit/netns"
)

// ospfTutorial is the director's side of the section "Full-NAT with OSPF/ECMP
// (two-arm)", command for command.
const ospfTutorial = `
# routes for LAN access
./dpip route add 192.168.100.0/24 dev dpdk0

# add service <VIP:vport> to forwarding, scheduling mode is RR.
# use ipvsadm --help for more info.
./ipvsadm -A -t 123.1.2.3:80 -s rr

# add two RS-es for service, forwarding mode is FNAT (-b)
./ipvsadm -a -t 123.1.2.3:80 -r 192.168.100.2 -b
./ipvsadm -a -t 123.1.2.3:80 -r 192.168.100.3 -b

# add at Local-IPs (LIPs) for FNAT on LAN interface
./ipvsadm --add-laddr -z 192.168.100.200 -t 123.1.2.3:80 -F dpdk0
./ipvsadm --add-laddr -z 192.168.100.201 -t 123.1.2.3:80 -F dpdk0

# add route to kni device.
./dpip route add 172.10.0.2/32 dev dpdk1 scope kni_host
`

// ospfLinux is what the section has Linux do on the twin.
const ospfLinux = `
ip link set dpdk1.kni up
ip addr add 172.10.0.2/30 dev dpdk1.kni
ip addr add 123.1.2.3/32 dev dpdk1.kni # add VIP to kni for ospfd
ip route add default via 172.10.0.1 dev dpdk1.kni
`

// linux runs command lines in the director's namespace, and returns when the director knows
// what addresses they added to twins.
func (d *director) linux(text string) {
	d.t.Helper()
	var added []string
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "$ "), "#")
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		d.run(d.net.Director, line)
		if rest, ok := strings.CutPrefix(line, "ip addr add "); ok && strings.Contains(rest, ".kni") {
			address, _, _ := strings.Cut(rest, "/")
			added = append(added, " "+address+"/")
		}
	}
	if added == nil {
		return
	}
	// Linux tells the director, who waits for some ms whether there is more to come.
	eventually(d.t, "the director knows Linux's addresses", func() bool {
		seen := d.do("./dpip -v addr show")
		return !slices.ContainsFunc(added, func(a string) bool { return !strings.Contains(seen, a) })
	})
}

// beSwitch makes the client the section's L3 switch, of both families.
func (d *director) beSwitch() {
	d.t.Helper()
	for _, line := range []string{
		"ip addr add 172.10.0.1/30 dev eth0", "ip route add 123.1.2.3/32 via 172.10.0.2",
		"ip addr add 2001:db8:172::1/64 dev eth0 nodad", "ip route add 2001:db8:123::3/128 via 2001:db8:172::2",
	} {
		d.run(d.client(), line)
	}
}

// ospfTutorial6 and ospfLinux6 are the section with IPv6.
const ospfTutorial6 = `
./dpip route add 2001:db8:100::/64 dev dpdk0
./ipvsadm -A -t [2001:db8:123::3]:80 -s rr
./ipvsadm -a -t [2001:db8:123::3]:80 -r [2001:db8:100::2] -b
./ipvsadm -a -t [2001:db8:123::3]:80 -r [2001:db8:100::3] -b
./ipvsadm --add-laddr -z 2001:db8:100::200 -t [2001:db8:123::3]:80 -F dpdk0
./dpip route add 2001:db8:172::2/128 dev dpdk1 scope kni_host
`

const ospfLinux6 = `
ip addr add 2001:db8:172::2/64 dev dpdk1.kni nodad
ip addr add 2001:db8:123::3/128 dev dpdk1.kni nodad
`

// once pings an address, and holds it to one answer for each ping.
func (d *director) once(from *netns.Namespace, address string, more ...string) {
	d.t.Helper()
	if lost, out := d.pings(from, address, 5, 200*time.Millisecond, more...); lost != "" {
		d.t.Errorf("%s pings %s: want one answer for each of five pings, but %s\n%s", from.Name(), address, lost, out)
	}
}

// pings pings so often, and says what is wrong with the answers, and what ping said. Without a
// deadline ping waits twice as long for the last answer as for those before, which on
// a busy machine is not enough; with one it sends more until it has its count, and
// the numbers of the answers say whether one of the first is missing.
func (d *director) pings(from *netns.Namespace, address string, n int, every time.Duration, more ...string) (wrong, out string) {
	d.t.Helper()
	out, err := from.Run(within(d.t, patience), "ping", append([]string{"-c", fmt.Sprint(n), "-i", fmt.Sprint(every.Seconds()), "-w", "20", address}, more...)...)
	var missing []int
	for i := 1; i <= n; i++ {
		if !strings.Contains(out, fmt.Sprintf("icmp_seq=%d ", i)) {
			missing = append(missing, i)
		}
	}
	switch {
	case len(missing) > 0:
		wrong = fmt.Sprintf("no answer to %d", missing)
	case strings.Contains(out, "DUP"):
		wrong = "there are more answers"
	case err != nil:
		wrong = err.Error()
	}
	return wrong, out
}

// onceARP asks for an address twice, and wants one answer for each question.
func (d *director) onceARP(from *netns.Namespace, address string) {
	d.t.Helper()
	// To the end of its time, so that a second answer to the last question is counted.
	out, err := from.Run(within(d.t, patience), "arping", "-b", "-c", "2", "-w", "3", "-I", "eth0", address)
	if !strings.Contains(out, "Received 2 response(s)") {
		d.t.Errorf("%s asks for %s: want one answer for each of two questions: %v\n%s", from.Name(), address, err, out)
	}
}

// The section "Full-NAT with OSPF/ECMP", but for the routing daemon, with both
// families: the twin is there, Linux and the switch ping each other over it and talk
// TCP, and the VIP on the twin serves.
func TestKNI(t *testing.T) {
	for _, s := range append(drivers[:len(drivers):len(drivers)], two) {
		t.Run(s.String(), func(t *testing.T) {
			d := newDirector(t, s)
			for i := 1; i <= 2; i++ {
				d.nginxWith(d.rs(i), strings.Replace(fmt.Sprintf(nginxAnswer, d.rs(i).Name()), "80", "[::]:80 ipv6only=off", 1))
				d.listening(d.rs(i), "[::1]:80")
			}
			d.beSwitch()
			d.script(ospfTutorial)
			d.script(ospfTutorial6)
			if out := d.run(d.net.Director, "ip -o link show dev dpdk1.kni"); strings.Contains(out, "UP") {
				t.Errorf("the twin is up before anybody wants it: %s", out)
			}
			d.linux(ospfLinux)
			d.linux(ospfLinux6)
			var pings sync.WaitGroup
			for _, a := range []string{"172.10.0.1", "2001:db8:172::1"} {
				pings.Go(func() { d.once(d.net.Director, a) })
			}
			for _, a := range []string{"172.10.0.2", "123.1.2.3", "2001:db8:172::2", "2001:db8:123::3"} {
				pings.Go(func() { d.once(d.client(), a) })
				pings.Go(func() { d.once(d.client(), a, "-s", "4000") }) // in fragments
			}
			pings.Wait()
			for _, url := range []string{"http://123.1.2.3/", "http://[2001:db8:123::3]/"} {
				for i := range 4 {
					if out := d.run(d.client(), "curl -sS --max-time 10 "+url); !strings.Contains(out, "Your ip:port : ") {
						t.Errorf("request %d of %s was answered %q", i, url, out)
					}
				}
			}
			d.streamServer(d.net.Director)
			d.wholeFrames()
			const n = 4 << 20
			for _, a := range []string{"172.10.0.2", "[2001:db8:172::2]"} {
				roleOf[streamResult](d.bed, d.client(), "stream-client %s:8080 %d", a, n).equal(t, n)
			}
			d.linux("ip addr del 172.10.0.2/30 dev dpdk1.kni\nip link set dpdk1.kni down")
			eventually(t, "Linux's addresses are gone", func() bool { return !strings.Contains(d.do("./dpip -v addr show"), "172.10.0.2") })
		})
	}
}

// Whoever has an address, it is answered for once: by Linux what it alone has, by Weir
// what Weir has, also if Linux has it too.
func TestKNIAnswersOnce(t *testing.T) {
	for _, s := range []setup{drivers[0], drivers[2]} {
		t.Run(s.String(), func(t *testing.T) {
			d := newDirector(t, s)
			d.script(tutorial)
			d.do("./dpip addr add 10.0.0.1/16 dev dpdk1")
			d.do("./dpip addr add 2001:db8:10::100/128 dev dpdk1")
			d.linux("ip link set dpdk1.kni up\nip link set dpdk0.kni up")
			d.linux("ip addr add 10.0.0.2/16 dev dpdk1.kni\nip addr add 10.0.0.100/32 dev dpdk1.kni\nip addr add 10.0.7.7/32 dev dpdk1.kni")
			d.linux("ip addr add 2001:db8:10::2/64 dev dpdk1.kni nodad\nip addr add 2001:db8:10::100/128 dev dpdk1.kni nodad")
			var asking sync.WaitGroup
			for _, a := range []string{"10.0.0.1", "10.0.0.2", "10.0.0.100", "10.0.7.7"} {
				asking.Go(func() { d.onceARP(d.client(), a) })
			}
			asking.Go(func() { d.onceARP(d.rs(1), "192.168.100.200") })
			asking.Wait()
			atClient := d.tcpdump(d.client(), "eth0")
			for _, a := range []string{"10.0.0.1", "10.0.0.2", "10.0.0.100", "10.0.7.7", "2001:db8:10::2", "2001:db8:10::100"} {
				asking.Go(func() { d.once(d.client(), a) })
			}
			asking.Go(func() { d.once(d.rs(1), "192.168.100.200") })
			asking.Wait()
			atClient.stop()
			for _, a := range []string{"2001:db8:10::2", "2001:db8:10::100"} {
				asked := atClient.count("icmpv6.type == 135 && icmpv6.nd.ns.target_address == " + a)
				answered := atClient.count("icmpv6.type == 136 && icmpv6.nd.na.target_address == " + a + " && icmpv6.nd.na.flag.s == 1")
				if asked == 0 || answered != asked {
					t.Errorf("%s was asked for %d times and answered for %d times", a, asked, answered)
				}
			}
			shown := d.do("./dpip -v addr show")
			for _, want := range []string{"inet 10.0.0.2/16 scope global dpdk1 (+kni)", "inet6 2001:db8:10::2/64 scope global dpdk1 (+kni)", "inet 10.0.0.1/16 scope global dpdk1\n"} {
				if !strings.Contains(shown, want) {
					t.Errorf("dpip -v addr show says no %q:\n%s", want, shown)
				}
			}
			for _, line := range []string{"./dpip addr show", "./dpip route show", "./ipvsadm -S"} {
				if out := d.do(line); strings.Contains(out, "10.0.0.2/") || strings.Contains(out, "10.0.7.7") {
					t.Errorf("%s tells of Linux's addresses:\n%s", line, out)
				}
			}
			// Now it is Linux that has 10.0.0.1: Weir answers for it, and pings are Linux's.
			d.do("./dpip route add 10.0.0.1/32 dev dpdk1 scope kni_host")
			d.linux("ip addr add 10.0.0.1/16 dev dpdk1.kni")
			d.onceARP(d.client(), "10.0.0.1")
			before := d.punts("kni_address")
			d.once(d.client(), "10.0.0.1")
			if got := d.punts("kni_address") - before; got < 5 {
				t.Errorf("%d of 5 pings were given to Linux", got)
			}
		})
	}
}

// count returns how many captured frames match a display filter.
func (c *capture) count(filter string) int {
	c.bed.t.Helper()
	out, err := exec.CommandContext(within(c.bed.t, patience), "tshark", "-r", c.file, "-Y", filter, "-T", "fields", "-e", "frame.number").Output()
	if err != nil {
		c.bed.t.Fatalf("tshark: %v", err)
	}
	return len(strings.Fields(string(out)))
}

// punts returns how many packets of a kind Linux was given.
func (d *director) punts(kind string) int {
	d.t.Helper()
	var stats struct {
		Punts []struct {
			Reason string
			Total  int
		}
	}
	if err := json.Unmarshal([]byte(d.do("./weir stats --json")), &stats); err != nil {
		d.t.Fatal(err)
	}
	for _, p := range stats.Punts {
		if p.Reason == kind {
			return p.Total
		}
	}
	return 0
}

// An address that comes to a twin is told to the link, also many at once; one that goes
// is Linux's no more; and the port takes the frames of the groups that Linux listens to.
func TestKNIFollowsLinux(t *testing.T) {
	d := newDirector(t, one)
	d.linux("ip link set dpdk1.kni up")
	atClient := d.tcpdump(d.client(), "eth0")
	var batch strings.Builder
	for i := range 200 {
		fmt.Fprintf(&batch, "addr add 10.9.%d.%d/32 dev dpdk1.kni\n", i/100, i%100+1)
	}
	for i := range 20 {
		fmt.Fprintf(&batch, "addr add 2001:db8:9::%x/128 dev dpdk1.kni nodad\n", i+1)
	}
	file := d.path("batch")
	if err := os.WriteFile(file, []byte(batch.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	d.run(d.net.Director, "ip -batch "+file)
	shown := func() int { return strings.Count(d.do("./dpip -v addr show"), "/32 scope global dpdk1 (+kni)") }
	eventually(t, "200 addresses are seen", func() bool { return shown() == 200 })
	d.once(d.client(), "10.0.0.48") // itself: to have something else on the capture
	atClient.stop()
	if n := atClient.count("arp.isgratuitous == 1 && arp.dst.proto_ipv4 == 10.9.0.0/16"); n < 200 {
		t.Errorf("%d of 200 addresses were told to the link", n)
	}
	if n := atClient.count("icmpv6.type == 136 && icmpv6.nd.na.target_address == 2001:db8:9::/64"); n < 20 {
		t.Errorf("%d of 20 IPv6 addresses were told to the link", n)
	}
	d.run(d.client(), "ip route add 10.9.0.0/16 dev eth0")
	d.linux("ip route add 10.0.0.0/16 dev dpdk1.kni")
	d.once(d.client(), "10.9.1.100")
	d.linux("ip addr flush dev dpdk1.kni")
	eventually(t, "all are gone", func() bool { return shown() == 0 })

	for group, of := range map[string]string{"01:00:5e:00:00:05": "OSPF", "33:33:00:00:00:05": "OSPFv3", "01:00:5e:00:00:12": "VRRP"} {
		d.linux("ip maddr add " + group + " dev dpdk1.kni")
		eventually(t, "the port takes "+of, func() bool { return strings.Contains(d.run(d.net.Director, "ip maddr show dev dpdk1"), group) })
		if out := d.do("./dpip -v maddr show"); !strings.Contains(out, "link "+group+" (+kni)") {
			t.Errorf("dpip -v maddr show says nothing of %s:\n%s", of, out)
		}
		d.linux("ip maddr del " + group + " dev dpdk1.kni")
		eventually(t, "the port takes no more "+of, func() bool { return !strings.Contains(d.run(d.net.Director, "ip maddr show dev dpdk1"), group) })
	}

	noCarrier := func() bool {
		return strings.Contains(d.run(d.net.Director, "ip -o link show dev dpdk1.kni"), "NO-CARRIER")
	}
	d.run(d.client(), "ip link set eth0 down")
	eventually(t, "the twin loses its carrier with the port", noCarrier)
	d.run(d.client(), "ip link set eth0 up")
	eventually(t, "the twin has its carrier again", func() bool { return !noCarrier() })

	mac, err := d.net.Director.MAC("dpdk1")
	if err != nil {
		t.Fatal(err)
	}
	d.linux("ip link set dpdk1.kni address 02:11:22:33:44:55")
	eventually(t, "the twin has the port's MAC address again", func() bool {
		is, err := d.net.Director.MAC("dpdk1.kni")
		return err == nil && is.String() == mac.String()
	})
	d.linux("ip link del dpdk1.kni")
	eventually(t, "it is told that the twin is gone", func() bool { return strings.Contains(d.log.String(), "somebody removed its twin dpdk1.kni") })
}

// 100 MB go to and from a program of Linux's, whole, while connections are forwarded,
// which lose nothing; and a flood of packets that nobody listens to is bounded.
func TestKNIUnderLoad(t *testing.T) {
	d := newDirector(t, one)
	d.nginx(d.rs(1))
	d.twoArm()
	d.serviceTo("t", 8000, 80, "", 1)
	d.linux("ip link set dpdk1.kni up\nip addr add 10.0.0.2/16 dev dpdk1.kni")
	d.streamServer(d.net.Director)
	load := d.steady("10.0.0.100:8000", 8, "kept")
	const n = 100 << 20
	roleOf[streamResult](d.bed, d.client(), "stream-client 10.0.0.2:8080 %d", n).equal(t, n)
	mac, err := d.net.Director.MAC(d.wan)
	if err != nil {
		t.Fatal(err)
	}
	flood := d.startCmd(d.client(), roleCommand("syn-flood %s 200", mac)) // of port 80, where no service is
	eventually(t, "Linux is given too much", func() bool { return d.stat("punt_full") > 0 })
	given := func(what string, more func()) {
		t.Helper()
		began, before, cpu := time.Now(), d.punts("lb_no_service"), cpuTime(t, d.daemon.PID())
		more()
		eventually(t, "the flood has lasted", func() bool { return time.Since(began) > 2*time.Second })
		n, took := float64(d.punts("lb_no_service")-before), time.Since(began).Seconds()
		t.Logf("of a flood %s Linux is given %.0f frames a second, and the director takes %.0f %% of a core, %.1f µs a frame", what, n/took,
			100*(cpuTime(t, d.daemon.PID())-cpu).Seconds()/took, 1e6*(cpuTime(t, d.daemon.PID())-cpu).Seconds()/n)
	}
	given("while connections are forwarded", func() { load.more(500) })
	flood.Kill()
	load.unharmed()
	d.once(d.client(), "10.0.0.2")
	for _, rate := range []int{20, 100} {
		flood = d.startCmd(d.client(), roleCommand("syn-flood %s %d", mac, rate))
		given(fmt.Sprintf("of up to %d a millisecond, and nothing else,", rate), func() {})
		flood.Kill()
	}
}

// When Linux has more to say than fits into its buffer while nobody listens, all is looked
// at again: what came and went meanwhile is known at once, and what comes then too.
func TestKNIOverrun(t *testing.T) {
	d := newDirector(t, one)
	d.linux("ip link set dpdk1.kni up")
	var came, went strings.Builder
	const n = 6000 // each word of Linux's is charged with 768 bytes or more of 2 MiB
	for i := range n {
		address := fmt.Sprintf("10.9.%d.%d/32 dev dpdk1.kni\n", i/250, i%250+1)
		came.WriteString("addr add " + address)
		if i > 0 {
			went.WriteString("addr del " + address)
		}
	}
	batch := d.path("batch")
	if err := os.WriteFile(batch, []byte(came.String()+"addr add 2001:db8:9::1/128 dev dpdk1.kni nodad\n"+went.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	d.daemon.Signal(syscall.SIGSTOP)
	d.run(d.net.Director, "ip -batch "+batch)
	d.daemon.Signal(syscall.SIGCONT)
	eventually(t, "it says that it lost words of Linux's", func() bool {
		return strings.Contains(d.log.String(), "Linux is asked again what addresses are on the .kni twins")
	})
	shown := func() string { return d.do("./dpip -v addr show") }
	eventually(t, "it knows what is there", func() bool {
		out := shown()
		return strings.Count(out, "10.9.") == 1 && strings.Contains(out, "inet 10.9.0.1/32 scope global dpdk1 (+kni)") && strings.Contains(out, "inet6 2001:db8:9::1/128 scope global dpdk1 (+kni)")
	})
	d.linux("ip addr add 10.9.0.7/32 dev dpdk1.kni\nip addr add 2001:db8:9::7/128 dev dpdk1.kni nodad")
	eventually(t, "it hears of what comes now", func() bool {
		return strings.Contains(shown(), "inet 10.9.0.7/32") && strings.Contains(shown(), "inet6 2001:db8:9::7/128")
	})
}

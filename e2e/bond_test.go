package e2e

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"weir/internal/testkit/netns"
	"weir/internal/testkit/uml"
)

// bondGuest makes the other end of the cables: in the namespace sw of the guest Linux's
// bonding of two ports. UML's cards know no speed, and LACP
// leaves such a port out; a veth does, so each card gets one in front. What takes a
// port's carrier away is a program that listens on a third card: a command of the guest's
// takes too long.
const bondGuest = `set -e
modprobe bonding; modprobe veth; modprobe sch_ingress; modprobe cls_matchall; modprobe act_mirred
ip netns add sw
for i in 3 4 5; do ip link set vec$i netns sw; done
cat >/run/carrier.py <<'END'
import fcntl, socket, struct
control = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
control.bind(("10.99.0.2", 9))
while True:
    data, peer = control.recvfrom(64)
    name, flags = data.split()
    fcntl.ioctl(control, 0x8914, struct.pack("16sh14x", name, 0x1103 if flags == b"up" else 0x1102))
    control.sendto(b"done", peer)
END
ip netns exec sw bash -e <<'END'
ip link set lo up
ip route add local 10.4.0.0/24 dev lo
ip -6 route add local 2001:db8:4::/64 dev lo
ip link set vec5 up
ip addr add 10.99.0.2/24 dev vec5
for i in 0 1; do
	ip link add u$i type veth peer name q$i
	card=vec$((3 + i))
	ip link set $card up promisc on
	ip link set u$i up promisc on
	tc qdisc add dev $card clsact
	tc filter add dev $card ingress matchall action mirred egress redirect dev u$i
	tc qdisc add dev u$i clsact
	tc filter add dev u$i ingress matchall action mirred egress redirect dev $card
done
END
ip netns exec sw python3 /run/carrier.py >/dev/null 2>&1 &
`

// bondPeer is the guest, set up once.
var bondPeer = serversOf(bondGuest)

// bondBed is a director whose bond0, of dpdk0 and dpdk1, leads to Linux's bonding, and
// whose dpdk2 leads to the client. It routes between them.
type bondBed struct {
	*director
	guest  *uml.Guest
	cables *netns.Namespace
}

// bondNetwork has the client and the director's dpdk2 on a switch, and the director's ends
// of two cables in a namespace where they can be joined to somebody and cut.
func bondNetwork(label string, queues int) (*netns.Network, *netns.Namespace, error) {
	n, err := netns.NewOneArm(label, netns.OneArmOptions{
		Client: netip.MustParsePrefix("10.1.0.9/24"), Client6: netip.MustParsePrefix("2001:db8:1::9/64"), Queues: queues, Link: "dpdk2",
	})
	if err != nil {
		return nil, nil, err
	}
	cables, err := n.World.Namespace("cables")
	for i := range 2 {
		if err == nil {
			err = netns.Veth(netns.End{In: n.Director, Name: fmt.Sprintf("dpdk%d", i), Queues: queues}, netns.End{In: cables, Name: fmt.Sprintf("a%d", i), Queues: queues})
		}
	}
	if err != nil {
		return nil, nil, errors.Join(err, n.World.Close())
	}
	return n, cables, nil
}

const bondForwarding = "\nipv4_defs {\n    forwarding on\n}\nipv6_defs {\n    forwarding on\n}\n"

// newBond starts the director on such a network.
func newBond(t *testing.T, s setup) (*director, *netns.Namespace) {
	t.Helper()
	d := &director{setup: s, ports: []string{"dpdk0", "dpdk1", "dpdk2"}}
	d.setup.conf += bondForwarding
	var cables *netns.Namespace
	d.bed = bedOf(t, func(label string) (n *netns.Network, err error) {
		n, cables, err = bondNetwork(label, s.queues)
		return n, err
	})
	return d, cables
}

// addressed gives the director and the client their addresses and routes.
func (d *director) addressed() {
	d.t.Helper()
	d.script(`
		./dpip addr add 10.3.0.1/24 dev bond0
		./dpip addr add 2001:db8:3::1/64 dev bond0
		./dpip addr add 10.1.0.1/24 dev dpdk2
		./dpip addr add 2001:db8:1::1/64 dev dpdk2
		./dpip route add 10.4.0.0/24 via 10.3.0.2 dev bond0
		./dpip route add 2001:db8:4::/64 via 2001:db8:3::2 dev bond0
	`)
	d.run(d.client(), "ip route add 10.4.0.0/24 via 10.1.0.1")
	d.run(d.client(), "ip -6 route add 2001:db8:4::/64 via 2001:db8:1::1")
}

func newBondBed(t *testing.T, s setup) *bondBed {
	t.Helper()
	guest, err := bondPeer()
	if err != nil {
		t.Fatal(err)
	}
	d, cables := newBond(t, s)
	b := &bondBed{director: d, guest: guest, cables: cables}
	t.Cleanup(func() { guest.Unplug(3); guest.Unplug(4); guest.Unplug(5) })
	err = errors.Join(guest.Plug(3, cables, "g0"), guest.Plug(4, cables, "g1"), guest.Plug(5, cables, "control"),
		cables.Address("control", netip.MustParsePrefix("10.99.0.1/24")))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		b.join(i)
	}
	d.serve()
	t.Cleanup(func() { d.end(); d.linuxQuiet() })
	d.addressed()
	return b
}

// join lays a cable between the director and the guest, of all frames: no bridge forwards
// those of LACP.
func (b *bondBed) join(i int) {
	b.t.Helper()
	for _, way := range [][2]string{{fmt.Sprintf("a%d", i), fmt.Sprintf("g%d", i)}, {fmt.Sprintf("g%d", i), fmt.Sprintf("a%d", i)}} {
		b.run(b.cables, "tc qdisc replace dev "+way[0]+" clsact")
		b.run(b.cables, "tc filter add dev "+way[0]+" ingress protocol all u32 match u32 0 0 action mirred egress redirect dev "+way[1])
	}
}

// silence lets a cable lose everything, without a word to its ends.
func (b *bondBed) silence(i int) {
	b.t.Helper()
	for _, end := range []string{"a", "g"} {
		b.run(b.cables, fmt.Sprintf("tc qdisc del dev %s%d clsact", end, i))
	}
}

// carrier cuts a cable, or mends it, so that both ends see it at once.
func (b *bondBed) carrier(i int, on bool) {
	b.t.Helper()
	word, set := "down", b.cables.LinkDown
	if on {
		word, set = "up", b.cables.LinkUp
	}
	c, err := b.cables.Dial(within(b.t, patience), "udp", "10.99.0.2:9")
	if err != nil {
		b.t.Fatal(err)
	}
	defer c.Close()
	if err := set(fmt.Sprintf("a%d", i)); err != nil {
		b.t.Fatal(err)
	}
	if got := b.exchange(c, fmt.Sprintf("u%d %s", i, word)); got != "done" {
		b.t.Fatalf("the guest says %q", got)
	}
}

// inGuest runs a script in the guest's namespace of the bond.
func (b *bondBed) inGuest(script string) string {
	b.t.Helper()
	out, err := b.guest.Run(within(b.t, 2*patience), "ip netns exec sw bash -e <<'END'\n"+script+"\nEND")
	if err != nil {
		b.t.Fatal(err)
	}
	return out
}

// bonding has the guest bond its ports anew.
func (b *bondBed) bonding(options string) {
	b.t.Helper()
	b.inGuest(`ip link del bond0 2>/dev/null || true
ip link del bond1 2>/dev/null || true
ip link add bond0 type bond miimon 10 ` + options + `
for i in 0 1; do ip link set u$i up; ip link set q$i down; ip link set q$i master bond0; done
ip link set bond0 up
ip addr add 10.3.0.2/24 dev bond0
ip addr add 2001:db8:3::2/64 dev bond0 nodad
ip route replace default via 10.3.0.1
ip -6 route replace default via 2001:db8:3::1`)
}

// status is `dpip link show bond0 status -v`.
func (b *bondBed) status() string { return b.do("./dpip -v link show bond0 status") }

// bothUp waits until LACP is done on both cables, and both ends are in the state.
func (b *bondBed) bothUp(state int) {
	b.t.Helper()
	theirs := ""
	defer func() {
		if b.t.Failed() {
			b.t.Logf("ours:\n%s\ntheirs:\n%s", b.status(), theirs)
		}
	}()
	eventually(b.t, "both cables carry traffic", func() bool {
		return strings.Count(b.status(), fmt.Sprintf("state %d (", state)) == 4
	})
	eventually(b.t, "Linux agrees", func() bool {
		theirs = b.inGuest("cat /proc/net/bonding/bond0")
		return strings.Count(theirs, fmt.Sprintf("port state: %d\n", state)) == 4
	})
}

// flood is a thousand pings a second to the guest's addresses, which spread over the cables. Linux answers them in the kernel: UML's programs are too slow for that.
type flood struct {
	mu         sync.Mutex
	sent, back int
	stopped    chan struct{}
	all        sync.WaitGroup
	conns      []net.Conn
}

// guestAddresses is how many addresses of each family the guest has.
const guestAddresses = 16

// guestAt returns an address of the guest.
func guestAt(ipv6 bool, i int) string {
	if ipv6 {
		return fmt.Sprintf("2001:db8:4::%x", i+1)
	}
	return fmt.Sprintf("10.4.0.%d", i+1)
}

func (d *director) flood(ipv6 bool) *flood {
	d.t.Helper()
	f := &flood{stopped: make(chan struct{})}
	network, request, reply, header := "ip4:icmp", byte(8), byte(0), 20 // IPv4 comes with its header
	if ipv6 {
		network, request, reply, header = "ip6:ipv6-icmp", 128, 129, 0
	}
	for i := range guestAddresses {
		c, err := d.client().Dial(within(d.t, patience), network, guestAt(ipv6, i))
		if err != nil {
			d.t.Fatal(err)
		}
		f.conns = append(f.conns, c)
		f.all.Go(func() {
			buf := make([]byte, 256)
			for {
				n, err := c.Read(buf)
				if errors.Is(err, net.ErrClosed) {
					return
				}
				if err == nil && n >= header+8 && buf[header] == reply {
					f.mu.Lock()
					f.back++
					f.mu.Unlock()
				}
			}
		})
	}
	f.all.Go(func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for begun := time.Now(); ; {
			select {
			case <-f.stopped:
				return
			case <-tick.C:
			}
			f.mu.Lock()
			for due := int(time.Since(begun) / time.Millisecond); f.sent < due; f.sent++ {
				_, _ = f.conns[f.sent%guestAddresses].Write(echoRequest(request, uint16(f.sent)))
			}
			f.mu.Unlock()
		}
	})
	return f
}

// echoRequest is a ping; Linux completes the checksum of ICMPv6.
func echoRequest(kind byte, seq uint16) []byte {
	b := []byte{kind, 0, 0, 0, 0x77, 0x65, byte(seq >> 8), byte(seq)}
	if kind == 8 {
		sum := uint32(kind)<<8 + 0x7765 + uint32(seq)
		sum = sum&0xffff + sum>>16
		sum = ^(sum&0xffff + sum>>16)
		b[2], b[3] = byte(sum>>8), byte(sum)
	}
	return b
}

func (f *flood) counts() (sent, back int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.sent, f.back
}

// more waits until so many more were sent.
func (f *flood) more(t *testing.T, n int) {
	t.Helper()
	begun, _ := f.counts()
	eventually(t, "traffic goes on", func() bool { sent, _ := f.counts(); return sent >= begun+n })
}

// stop ends the flood and returns how many pings there were and how many got no answer.
func (f *flood) stop(t *testing.T) (sent, lost int) {
	t.Helper()
	close(f.stopped)
	last, quiet := -1, 0
	eventually(t, "no more answers come", func() bool {
		_, back := f.counts()
		if quiet++; back != last {
			last, quiet = back, 0
		}
		return quiet > 30 // of 10 ms
	})
	for _, c := range f.conns {
		c.Close()
	}
	f.all.Wait()
	sent, back := f.counts()
	return sent, sent - back
}

// reached waits until the guest answers the client, at all of its addresses.
func (d *director) reached(ipv6 bool) {
	d.t.Helper()
	for i := range guestAddresses {
		eventually(d.t, guestAt(ipv6, i)+" answers", func() bool {
			_, err := d.client().Run(within(d.t, patience), "ping", "-c", "1", "-W", "1", guestAt(ipv6, i))
			return err == nil
		})
	}
}

// packets returns what a device received and sent.
func (d *director) packets(dev string) (in, out int) {
	d.t.Helper()
	said := strings.Split(d.do("./dpip link show "+dev+" -s"), "\n")
	for i, line := range said {
		if strings.Contains(line, "ipackets") && i+1 < len(said) {
			fmt.Sscan(said[i+1], &in, &out)
			return in, out
		}
	}
	d.t.Fatalf("no counts of %s in\n%s", dev, strings.Join(said, "\n"))
	return 0, 0
}

// attempts is how often a measurement is made before it counts as failed: UML shares the
// machine with everybody, and loses packets when it gets no time. When a cable is cut the
// director has the other one 1 to 8 ms later, measured on a machine with a load of 12; the
// guest's call that takes its carrier away was seen to last 160 ms, and what it sends until
// then is lost.
const attempts = 4

// settled is how many pings, of a millisecond each, are sent after a cable was mended: until
// LACP has agreed again. Asking how far it is would take the guest's time from the traffic.
const settled = 4500

// overBoth checks that a thousand pings and their answers go by both cables.
func (d *director) overBoth(ipv6 bool) {
	d.t.Helper()
	for try := 1; ; try++ {
		var before [2][2]int
		for i := range before {
			before[i][0], before[i][1] = d.packets(fmt.Sprintf("dpdk%d", i))
		}
		f := d.flood(ipv6)
		f.more(d.t, 1000)
		sent, lost := f.stop(d.t)
		shared := true
		for i := range before {
			in, out := d.packets(fmt.Sprintf("dpdk%d", i))
			in, out = in-before[i][0], out-before[i][1]
			d.t.Logf("IPv6 %v: dpdk%d brought %d and took %d of %d packets; %d were lost", ipv6, i, in, out, sent, lost)
			shared = shared && in >= sent/8 && out >= sent/8
		}
		if shared && lost <= sent/50 {
			return
		}
		if try == attempts {
			d.t.Fatalf("want a share of both cables in both directions, and hardly a packet lost")
		}
	}
}

// through cuts a cable and mends it under traffic, of which less than most may be lost.
func (b *bondBed) through(what string, ipv6 bool, most int, cut, mend func()) {
	b.t.Helper()
	for try := 1; ; try++ {
		f := b.flood(ipv6)
		f.more(b.t, 300)
		cut()
		f.more(b.t, 1000)
		mend()
		f.more(b.t, settled)
		sent, lost := f.stop(b.t)
		b.t.Logf("%s (IPv6 %v): %d of %d packets lost at 1,000/s", what, ipv6, lost, sent)
		if lost < most {
			return
		}
		if try == attempts {
			b.t.Fatalf("%s: want less than %d lost", what, most)
		}
	}
}

// TestBondLACP is mode 4 against Linux's 802.3ad.
func TestBondLACP(t *testing.T) {
	b := newBondBed(t, setup{driver: "afxdp", mode: "native", workers: 2, queues: 2, bond: "mode 4\nlacp_rate fast"})
	b.bonding("mode 802.3ad lacp_rate fast xmit_hash_policy layer2+3")
	b.bothUp(63)
	for _, ipv6 := range []bool{false, true} {
		b.reached(ipv6)
		b.overBoth(ipv6)
	}
	for i, ipv6 := range []bool{false, true} {
		b.through(fmt.Sprintf("cable %d cut and mended", i), ipv6, 100,
			func() { b.carrier(i, false) },
			func() { b.carrier(i, true) })
		b.bothUp(63)
	}
	t.Run("a cable falls silent", func(t *testing.T) {
		b := b.in(t)
		b.silence(0)
		eventually(t, "dpdk0 is given up", func() bool { return strings.Contains(b.status(), "ative/slaves 1/2") })
		b.reached(false)
		b.reached(true)
		b.join(0)
		b.bothUp(63)
	})
	t.Run("wrong key", func(t *testing.T) {
		b := b.in(t)
		// The same system, but the second port is of another aggregation.
		b.inGuest(`ip link set q1 nomaster
ip link add bond1 type bond mode 802.3ad miimon 10 lacp_rate fast ad_user_port_key 5 ad_actor_system $(cat /sys/class/net/bond0/address)
ip link set q1 down; ip link set q1 master bond1; ip link set bond1 up`)
		eventually(t, "dpdk1 stands by, in another aggregator", func() bool {
			s := b.status()
			return strings.Contains(s, "aggregator 2 standby receive CURRENT") && strings.Contains(s, "ative/slaves 1/2")
		})
		b.reached(false)
		b.reached(true)
	})
	t.Run("the partner vanishes", func(t *testing.T) {
		b := b.in(t)
		b.inGuest("ip link del bond1; ip link del bond0; ip link set q0 up; ip link set q1 up; ip addr add 10.3.0.2/24 dev q0")
		eventually(t, "one link is used alone", func() bool {
			s := b.status()
			return strings.Count(s, "nothing is heard of it") == 2 && strings.Contains(s, "ative/slaves 1/2") && strings.Contains(s, "receive DEFAULTED mux DISTRIBUTING")
		})
		b.inGuest("ip addr flush dev q0")
		b.bonding("mode 802.3ad lacp_rate fast xmit_hash_policy layer2+3")
		b.bothUp(63)
	})
}

// in returns the bed for a subtest.
func (b *bondBed) in(t *testing.T) *bondBed {
	c := *b
	c.director = b.director.as(t)
	return &c
}

// TestBondModes is all modes in turn on packet sockets, changed at run time: LACP at the slow rate,
// round robin, active-backup, XOR and broadcast.
func TestBondModes(t *testing.T) {
	b := newBondBed(t, setup{driver: "afpacket", workers: 2, queues: 2, bond: "mode 4\nlacp_rate slow\nxmit_policy layer23"})
	b.bonding("mode 802.3ad lacp_rate slow xmit_hash_policy layer2+3")
	b.bothUp(61)
	for _, ipv6 := range []bool{false, true} {
		b.reached(ipv6)
		b.overBoth(ipv6)
	}
	b.through("slow rate, cable 0 cut and mended", false, 100, func() { b.carrier(0, false) }, func() { b.carrier(0, true) })
	b.bothUp(61)

	b.bonding("mode balance-rr")
	b.do("./dpip link set bond0 bond-mode 0")
	for _, ipv6 := range []bool{false, true} {
		b.reached(ipv6)
		b.overBoth(ipv6)
	}
	b.through("balance-rr, cable 1 cut and mended", true, 100, func() { b.carrier(1, false) }, func() { b.carrier(1, true) })

	// Without a switch between them both ends have to use the same cable.
	b.bonding("mode active-backup")
	b.inGuest("echo q0 >/sys/class/net/bond0/bonding/primary")
	b.do("./dpip link set bond0 bond-mode 1")
	b.do("./dpip link set bond0 bond-primary dpdk0")
	b.reached(false)
	b.reached(true)
	if s := b.do("./dpip link show bond0 status"); !strings.Contains(s, ", active, primary) dpdk1") || !strings.Contains(s, "mode 1 ") {
		t.Errorf("the primary is not the one in use:\n%s", s)
	}
	b.through("active-backup, the primary cut and mended", false, 100, func() { b.carrier(0, false) }, func() { b.carrier(0, true) })
	eventually(t, "the primary is in use again", func() bool {
		return strings.Contains(b.status(), ", active, primary) dpdk1")
	})

	b.bonding("mode balance-xor xmit_hash_policy layer2+3")
	b.do("./dpip link set bond0 bond-mode 2")
	b.reached(true)
	b.overBoth(false)
	b.do("./dpip link del bond0 bond-slave dpdk0")
	b.linuxQuiet("dpdk0", "dpdk1") // the bond's address is dpdk0's
	b.do("./dpip link add bond0 bond-slave dpdk0")
	b.do("./dpip link del bond0 bond-slave dpdk1")
	b.linuxQuiet("dpdk0")
	b.inGuest("ip link set q1 nomaster")
	b.reached(false)
	if saved := b.do("./ipvsadm -S"); !strings.Contains(saved, "dpip link del bond0 bond-slave dpdk1\n") || !strings.Contains(saved, "dpip link set bond0 bond-mode 2\n") {
		t.Errorf("saved is not what was set:\n%s", saved)
	} else if a := b.tryWith(saved, "./ipvsadm", "-R"); a.code != 0 {
		t.Errorf("what was saved is not restored: %s", a.stderr)
	}
	b.inGuest("ip link set q1 down; ip link set q1 master bond0")
	b.do("./dpip link add bond0 bond-slave dpdk1")
	b.reached(true)
	b.overBoth(true)
	b.linuxQuiet("dpdk0", "dpdk1")
}

// linuxQuiet checks that Linux's own IPv6 is off on these members of the bond, and on no
// other ones: with it Linux speaks there with the bond's MAC address, and misleads switches.
func (d *director) linuxQuiet(members ...string) {
	d.t.Helper()
	for _, m := range []string{"dpdk0", "dpdk1"} {
		off := d.run(d.net.Director, "cat /proc/sys/net/ipv6/conf/"+m+"/disable_ipv6") == "1\n"
		if want := slices.Contains(members, m); off != want {
			d.t.Errorf("Linux's own IPv6 is off on %s: %v, want %v", m, off, want)
		}
	}
}

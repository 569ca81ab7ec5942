package e2e

import (
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"testing"

	"weir/internal/testkit/netns"
)

// Ports of the matrix. What a real server does depends on the port alone.
const (
	echoPort     = 8001 // says again what it hears
	closedPort   = 8002 // nobody is there
	narrowPort   = 8003 // says it again, at the end of a way that takes less than the client's link
	rejectedPort = 8004 // a firewall answers with an ICMP error
	mutePort     = 8005 // says it again, and the client's firewall answers that with an ICMP error
)

// narrowMTU is what the narrow ways take.
const narrowMTU = 1400

// byFamily is an address of each family.
type byFamily map[int]netip.Addr

func both(v4, v6 string) byFamily {
	return byFamily{4: netip.MustParseAddr(v4), 6: netip.MustParseAddr(v6)}
}

// on returns the addresses with their subnets' lengths.
func (a byFamily) on(bits4, bits6 int) []netip.Prefix {
	return []netip.Prefix{netip.PrefixFrom(a[4], bits4), netip.PrefixFrom(a[6], bits6)}
}

// The addresses of the matrix's machines. Their picture is at newMatrixBed.
var (
	matrixClient   = byFamily{4: netns.ClientAddr.Addr(), 6: netns.ClientAddr6.Addr()}
	matrixOtherLeg = both("10.11.0.48", "2001:db8:11::48") // the client's, to the side router
	matrixSideLeg  = both("10.11.0.1", "2001:db8:11::1")   // the side router's, to the client
	matrixFront    = both("10.0.0.1", "2001:db8:10::1")    // the director's, to the client
	matrixWAN      = both("10.0.0.3", "2001:db8:10::3")    // and the one that inside hosts go out with
	matrixBack     = both("192.168.100.1", "2001:db8:100::1")
	matrixLocal    = both("192.168.100.200", "2001:db8:100::200")
	matrixNear     = byFamily{4: netns.ServerAddr(0), 6: netns.ServerAddr6(0)}
	matrixHolder   = both("192.168.100.4", "2001:db8:100::4")
	matrixHolder2  = both("192.168.100.5", "2001:db8:100::5") // the same machine by a narrow route
	matrixInside   = both("192.168.100.10", "2001:db8:100::10")
	matrixNarrow   = both("192.168.100.250", "2001:db8:100::250")
	matrixSide     = both("192.168.100.253", "2001:db8:100::253")
	matrixFarGate  = both("192.168.101.1", "2001:db8:101::1")
	matrixFar      = both("192.168.101.2", "2001:db8:101::2")
	matrixOutGate  = both("10.9.0.1", "2001:db8:9::1")
	matrixOutside  = both("10.9.0.2", "2001:db8:9::2")
)

// The subnets.
var (
	clientNet  = map[int]string{4: "10.0.0.0/16", 6: "2001:db8:10::/64"}
	farNet     = map[int]string{4: "192.168.101.0/24", 6: "2001:db8:101::/64"}
	outsideNet = map[int]string{4: "10.9.0.0/24", 6: "2001:db8:9::/64"}
	bitsOf     = map[int]int{4: 32, 6: 128}
)

// matrixVIPs are the modes' VIPs, one for each pair of families.
var matrixVIPs = map[string]map[families]string{
	fnat:   {four: "10.0.0.101", fourToSix: "10.0.0.102", six: "2001:db8:10::101", sixToFour: "2001:db8:10::102"},
	nat:    {four: "10.0.0.103", fourToSix: "10.0.0.113", six: "2001:db8:10::103", sixToFour: "2001:db8:10::113"},
	dr:     {four: "10.0.0.104", fourToSix: "10.0.0.114", six: "2001:db8:10::104", sixToFour: "2001:db8:10::114"},
	tunnel: {four: "10.0.0.105", fourToSix: "10.0.0.106", six: "2001:db8:10::105", sixToFour: "2001:db8:10::106"},
}

// vip returns the VIP of a cell's services; SNAT has none.
func (c matrixCell) vip() netip.Addr { return netip.MustParseAddr(matrixVIPs[c.mode][c.pair]) }

// flagOf are ipvsadm's words for the modes.
var flagOf = map[string]string{fnat: "-b", nat: "-m", dr: "-g", tunnel: "-i"}

// protoWord is the protocol in a match.
func (c matrixCell) protoWord() string {
	if c.proto == icmp && c.pair.before == 6 {
		return "icmpv6"
	}
	return strings.ToLower(c.proto)
}

// service is the selector of a cell's service on a port: "-t 10.0.0.101:8001".
func (c matrixCell) service(port int) string {
	return map[string]string{tcp: "-t ", udp: "-u "}[c.proto] + endpoint(c.vip(), port)
}

func endpoint(a netip.Addr, port int) string {
	return netip.AddrPortFrom(a, uint16(port)).String()
}

// matrixBed is the director with machines for all modes around it.
type matrixBed struct {
	*director
	near    *netns.Namespace // real server of FNAT and NAT
	far     *netns.Namespace // another one, behind narrow
	narrow  *netns.Namespace
	holder  *netns.Namespace // real server of DR and Tunnel: it has their VIPs
	side    *netns.Namespace // its router to the client, which takes less than its link
	inside  *netns.Namespace // an inside host of SNAT
	outside *netns.Namespace // what inside hosts ask, behind the client, which is a router too
	front   string           // the director's port to the client
	back    string           // and the one to the real servers; one-arm the same
	refused *errorCount      // what holder's mute servers heard
}

// on returns the bed for a subtest.
func (b *matrixBed) on(t *testing.T) *matrixBed {
	c := *b
	c.director = b.as(t)
	return &c
}

// newMatrixBed builds the network, starts the director, and gives it all addresses,
// routes and services. Each machine has an IPv6 address that ends as its IPv4 one.
//
//	outside ─ client 10.0.0.48 ──────── dpdk1 ┐
//	             │                            │ director
//	             │ eth1                 dpdk0 ┘
//	             │                         │
//	          side .253 ───────────────── lan ─ near .2, holder .4 and .5, inside .10
//	                                       │    (all in 192.168.100.0/24)
//	                          far ─ narrow .250
//
// With one arm dpdk0 is the only port, and the client is on the switch as well. Less
// than their links take the ways from narrow to far, from side to the client, from
// the client to outside, and by the director's route to the second address of holder.
func newMatrixBed(t *testing.T, s setup) *matrixBed {
	t.Helper()
	b := &matrixBed{front: "dpdk1", back: "dpdk0"}
	if s.oneArm {
		b.front = "dpdk0"
		b.director = newOneArm(t, s, "dpdk0", netns.OneArmOptions{
			Client: netns.ClientAddr, Client6: netns.ClientAddr6,
			Servers:  []netip.Prefix{netip.PrefixFrom(netns.ServerAddr(0), 24)},
			Servers6: []netip.Prefix{netip.PrefixFrom(netns.ServerAddr6(0), 64)},
		})
	} else {
		s.servers = 1
		b.director = newDirector(t, s)
	}
	b.surround()
	b.configure()
	return b
}

// surround makes all of the picture but the director.
func (b *matrixBed) surround() {
	b.t.Helper()
	b.near = b.rs(1)
	b.machines()
	b.cables()
	b.waysOfLinux()
	b.firewalls()
	b.answerers()
	newDecapsulator(b.t, b.holder)
}

// machines makes the namespaces that the network has not.
func (b *matrixBed) machines() {
	b.t.Helper()
	for name, ns := range map[string]**netns.Namespace{
		"far": &b.far, "narrow": &b.narrow, "holder": &b.holder, "side": &b.side, "inside": &b.inside, "outside": &b.outside,
	} {
		var err error
		if *ns, err = b.net.World.Namespace(name); err != nil {
			b.t.Fatal(err)
		}
	}
}

// must fails the test for an error.
func (b *matrixBed) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// cables joins the machines and gives them their addresses.
func (b *matrixBed) cables() {
	b.t.Helper()
	join := func(in *netns.Namespace, addrs ...byFamily) {
		var prefixes []netip.Prefix
		for _, a := range addrs {
			prefixes = append(prefixes, a.on(24, 64)...)
		}
		b.must(b.net.Join(netns.End{In: in, Name: "eth0"}, prefixes...))
	}
	join(b.holder, matrixHolder, matrixHolder2)
	join(b.inside, matrixInside)
	join(b.narrow, matrixNarrow)
	join(b.side, matrixSide)
	for _, cable := range []struct {
		a  netns.End
		at byFamily
		b  netns.End
		to byFamily
	}{
		{netns.End{In: b.narrow, Name: "eth1"}, matrixFarGate, netns.End{In: b.far, Name: "eth0"}, matrixFar},
		{netns.End{In: b.side, Name: "eth1"}, matrixSideLeg, netns.End{In: b.client(), Name: "eth1"}, matrixOtherLeg},
		{netns.End{In: b.client(), Name: "eth2"}, matrixOutGate, netns.End{In: b.outside, Name: "eth0"}, matrixOutside},
	} {
		b.must(netns.Veth(cable.a, cable.b))
		for _, prefix := range cable.at.on(24, 64) {
			b.must(cable.a.In.Address(cable.a.Name, prefix))
		}
		for _, prefix := range cable.to.on(24, 64) {
			b.must(cable.b.In.Address(cable.b.Name, prefix))
		}
	}
}

// waysOfLinux sets the machines' routes and switches.
func (b *matrixBed) waysOfLinux() {
	b.t.Helper()
	sysctl := func(in *netns.Namespace, values map[string]string) {
		for key, value := range values {
			b.must(in.WriteSysctl(key, value))
		}
	}
	for _, in := range []*netns.Namespace{b.client(), b.near, b.far, b.narrow, b.holder, b.side, b.inside, b.outside} {
		// Several cells ask for errors within a second.
		sysctl(in, map[string]string{"ipv4/icmp_ratelimit": "0", "ipv6/icmp/ratelimit": "0"})
		// Answers take other ways than requests; packets come out of tunnels.
		for _, link := range []string{"all", "default", "eth0"} {
			sysctl(in, map[string]string{"ipv4/conf/" + link + "/rp_filter": "0"})
		}
	}
	for _, router := range []*netns.Namespace{b.narrow, b.side, b.client()} {
		sysctl(router, map[string]string{"ipv4/ip_forward": "1", "ipv6/conf/all/forwarding": "1"})
	}
	sysctl(b.client(), map[string]string{"ipv4/conf/eth1/rp_filter": "0"})
	sysctl(b.side, map[string]string{"ipv4/conf/eth1/rp_filter": "0"})
	sysctl(b.holder, map[string]string{"ipv4/conf/all/arp_ignore": "1", "ipv4/conf/all/arp_announce": "2"})
	for _, mode := range []string{dr, tunnel} {
		for pair, vip := range matrixVIPs[mode] {
			b.must(b.holder.Address("lo", netip.PrefixFrom(netip.MustParseAddr(vip), bitsOf[pair.before])))
		}
	}
	lines := map[*netns.Namespace]string{}
	route := func(in *netns.Namespace, to string, rest string) { lines[in] += "route add " + to + " " + rest + "\n" }
	for _, f := range []int{4, 6} {
		host := func(a byFamily) string { return fmt.Sprintf("%s/%d", a[f], bitsOf[f]) }
		via := func(a byFamily) string { return "via " + a[f].String() }
		route(b.near, clientNet[f], via(matrixBack))
		route(b.inside, "default", via(matrixBack))
		route(b.narrow, clientNet[f], via(matrixBack))
		route(b.far, "default", via(matrixFarGate))
		route(b.narrow, host(matrixFar), fmt.Sprintf("dev eth1 mtu %d", narrowMTU))
		// Where answers are too large for the way, side says so to the VIP.
		route(b.holder, clientNet[f], via(matrixSide))
		route(b.side, clientNet[f], via(matrixBack))
		route(b.side, host(matrixClient), via(matrixOtherLeg)+fmt.Sprintf(" mtu %d", narrowMTU))
		route(b.outside, "default", via(matrixOutGate))
		route(b.client(), host(matrixOutside), fmt.Sprintf("dev eth2 mtu %d", narrowMTU))
	}
	for in, text := range lines {
		b.ip(in, text)
	}
}

// ip runs lines of ip(8) on a machine.
func (b *matrixBed) ip(in *netns.Namespace, lines string) {
	b.t.Helper()
	cmd := exec.Command("ip", "-batch", "-")
	cmd.Stdin = strings.NewReader(lines)
	if err := b.startCmd(in, cmd).Wait(within(b.t, patience)); err != nil {
		b.t.Fatalf("%v, of these lines:\n%s", err, lines)
	}
}

// firewalls has servers and the client answer with ICMP errors.
func (b *matrixBed) firewalls() {
	b.t.Helper()
	const rules = `table inet matrix { chain in { type filter hook input priority 0;
		tcp dport %[1]d reject with icmpx type admin-prohibited
		udp dport %[1]d reject with icmpx type admin-prohibited
		udp sport %[2]d reject with icmpx type port-unreachable
	}; }`
	for _, in := range []*netns.Namespace{b.near, b.holder, b.client()} {
		_, err := in.Run(within(b.t, patience), "nft", fmt.Sprintf(rules, rejectedPort, mutePort))
		b.must(err)
	}
}

// configure gives the director all that the cells need, in one breath for the services.
func (b *matrixBed) configure() {
	b.t.Helper()
	for _, f := range []int{4, 6} {
		if f == 6 && !carriesIPv6 {
			continue
		}
		b.script(b.network(f))
	}
	var lines strings.Builder
	for _, p := range possibles {
		for _, pair := range p.pairs {
			if pair.six() && !carriesIPv6 {
				continue
			}
			for _, proto := range p.protos {
				c := matrixCell{p.mode, pair, proto}
				if c.mode == snat {
					lines.WriteString(b.outward(c))
				} else {
					lines.WriteString(b.inward(c))
				}
			}
		}
	}
	if a := b.tryWith(lines.String(), "./ipvsadm", "-R"); a.code != 0 || a.stderr != "" {
		b.t.Fatalf("the services were refused: %+v\n%s", a, &lines)
	}
	if b.setup.mode == "generic" {
		b.t.Fatal("generic XDP needs whole frames of all senders: see wholeFrames")
	}
}

// network is the director's addresses and routes of a family.
func (b *matrixBed) network(f int) string {
	var s strings.Builder
	say := func(format string, args ...any) { fmt.Fprintf(&s, "./dpip "+format+"\n", args...) }
	front, back := map[int]int{4: 16, 6: 64}[f], map[int]int{4: 24, 6: 64}[f]
	say("addr add %s/%d dev %s", matrixFront[f], front, b.front)
	say("addr add %s/%d dev %s", matrixBack[f], back, b.back)
	say("addr add %s/%d dev %s sapool", matrixWAN[f], bitsOf[f], b.front)
	for _, p := range possibles {
		for _, pair := range p.pairs {
			if vip := matrixVIPs[p.mode][pair]; vip != "" && pair.before == f {
				say("addr add %s/%d dev %s", vip, bitsOf[f], b.front)
			}
		}
	}
	say("route add %s via %s dev %s", farNet[f], matrixNarrow[f], b.back)
	say("route add %s/%d dev %s mtu %d", matrixHolder2[f], bitsOf[f], b.back, narrowMTU)
	say("route add %s via %s dev %s", outsideNet[f], matrixClient[f], b.front)
	return s.String()
}

// realServer returns the real server of a mode for a port.
func (c matrixCell) realServer(port int) netip.Addr {
	servers := map[bool]byFamily{false: matrixNear, true: matrixFar}
	if c.mode == dr || c.mode == tunnel {
		servers = map[bool]byFamily{false: matrixHolder, true: matrixHolder2}
	}
	return servers[port == narrowPort][c.pair.behind]
}

// inward is the services of a mode with a VIP, as ipvsadm -R reads them.
func (b *matrixBed) inward(c matrixCell) string {
	var s strings.Builder
	for _, port := range []int{echoPort, closedPort, narrowPort, rejectedPort, mutePort} {
		fmt.Fprintf(&s, "-A %s -s rr\n", c.service(port))
		fmt.Fprintf(&s, "-a %s -r %s %s\n", c.service(port), endpoint(c.realServer(port), port), flagOf[c.mode])
		if c.mode == fnat {
			fmt.Fprintf(&s, "-P %s -z %s -F %s\n", c.service(port), matrixLocal[c.pair.behind], b.back)
		}
	}
	return s.String()
}

// outward is the service for the inside host's packets of a protocol.
func (b *matrixBed) outward(c matrixCell) string {
	return fmt.Sprintf("-A %[1]s -s rr\n-a %[1]s -r %[2]s -w 100 -J\n", b.match(c), endpoint(matrixWAN[c.pair.behind], 0))
}

// match is the selector of that service.
func (b *matrixBed) match(c matrixCell) string {
	src := fmt.Sprintf("%[1]s-%[1]s", matrixInside[c.pair.before])
	if c.pair.before == 6 {
		src = "[" + src + "]"
	}
	return fmt.Sprintf("-H proto=%s,src-range=%s,oif=%s", c.protoWord(), src, b.front)
}

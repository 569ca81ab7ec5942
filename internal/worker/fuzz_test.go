package worker_test

import (
	"fmt"
	"log/slog"
	"net/netip"
	"testing"

	"weir/internal/clock"
	"weir/internal/director"
	"weir/internal/packet"
	"weir/internal/port"
	"weir/internal/port/pipe"
	"weir/internal/spec"
	"weir/internal/stat"
	"weir/internal/testkit/words"
	"weir/internal/wire"
)

// world is a director in memory that serves TCP, UDP and SCTP, for tests that count
// rather than read. Its workers are breathed by hand.
type world struct {
	*director.Director
	t        testing.TB
	lan, wan *pipe.Port
	twins    map[string]*pipe.Port // of the ports, down until twinsUp
	outside  *packet.Pool
	nanos    uint64
}

var (
	macGW  = words.MAC{2, 0, 0, 0, 1, 0xfe}
	macRS  = words.MAC{2, 0, 0, 0, 2, 2}
	macLan = port.MAC{2, 0, 0, 0, 2, 0}
	macWan = port.MAC{2, 0, 0, 0, 1, 0}
)

func newWorld(t testing.TB, workers, frames, conns int, edit func(*spec.Spec)) *world {
	t.Helper()
	return newWorldOf(t, 1500, workers, frames, conns, edit)
}

// newWorldOf makes one with another MTU.
func newWorldOf(t testing.TB, mtu, workers, frames, conns int, edit func(*spec.Spec)) *world {
	t.Helper()
	return newWorldWith(t, mtu, workers, spec.Boot{ConnPool: conns, PktPool: frames}, edit)
}

// newWorldWith makes one with other things that a director learns at its start.
func newWorldWith(t testing.TB, mtu, workers int, boot spec.Boot, edit func(*spec.Spec)) *world {
	t.Helper()
	w := &world{t: t, nanos: uint64(clock.Now()+1) << clock.Shift}
	owners := []int{0}
	if workers == 2 {
		owners = []int{0, 1}
	}
	w.lan = pipe.New(0, "lan", macLan, mtu).Queues(len(owners)).Offloads(true, true, false)
	w.wan = pipe.New(1, "wan", macWan, mtu).Offloads(false, false, true)
	w.twins = map[string]*pipe.Port{}
	for _, p := range []*pipe.Port{w.lan, w.wan} {
		w.twins[p.Facts().Name] = pipe.New(p.Facts().ID, p.Facts().Name+".kni", p.Facts().MAC, 1<<16).Queues(workers).Offloads(true, true, false)
	}
	w.startWith(workers, boot, edit,
		director.BedPort{Facts: w.lan.Facts(), Owners: owners, Open: opener(w.lan), Twin: opener(w.twins["lan"])},
		director.BedPort{Facts: w.wan.Facts(), Owners: []int{0}, Open: opener(w.wan), Twin: opener(w.twins["wan"])})
	return w
}

func opener(p *pipe.Port) func(int, *packet.Pool) (port.Queue, error) {
	return func(queue int, pool *packet.Pool) (port.Queue, error) { return p.Queue(queue, pool) }
}

// start makes the director on its ports, and waits until its addresses are its own.
func (w *world) start(workers, frames, conns int, edit func(*spec.Spec), bonds []spec.Bond, ports ...director.BedPort) {
	w.t.Helper()
	w.startWith(workers, spec.Boot{ConnPool: conns, PktPool: frames, Bonds: bonds}, edit, ports...)
}

func (w *world) startWith(workers int, boot spec.Boot, edit func(*spec.Spec), ports ...director.BedPort) {
	t := w.t
	t.Helper()
	boot.Fragments = spec.Fragments{Buckets: 32, Entries: 32, TTL: 1}
	for range workers {
		boot.Workers = append(boot.Workers, spec.Worker{Name: "cpu", Type: "slave", CPU: -1})
	}
	bed := director.Bed{Ports: ports, ByHand: true, Clock: func() uint64 { return w.nanos }, Seed: 1}
	var err error
	if w.outside, err = packet.NewPool(256, 16); err != nil {
		t.Fatal(err)
	}
	tunables := spec.Tunables{Timeouts: spec.DefaultTimeouts(), DefaultTTL: 64, NeighTimeout: 60, Forwarding: true, Forwarding6: true, UOATrail: 3}
	if w.Director, err = director.NewOn(bed, boot, tunables, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
		_ = w.outside.Close()
	})
	if err := w.Change(func(s *spec.Spec) error { return configure(s, edit) }); err != nil {
		t.Fatal(err)
	}
	w.breathe()
	w.nanos += 1_100_000_000 // its IPv6 addresses are nobody else's
	w.KeepHouse()
	w.breathe()
	w.lan.Take()
	w.wan.Take()
}

// twinsUp has Linux use the ports' twins, with addresses.
func (w *world) twinsUp() {
	w.t.Helper()
	up := func(prefixes ...string) (s director.TwinState) {
		s.Up = true
		for _, p := range prefixes {
			s.Addresses = append(s.Addresses, netip.MustParsePrefix(p))
		}
		return s
	}
	err := w.SeeTwins(map[string]director.TwinState{
		"lan": up("192.168.1.9/24", "2001:db8:1::9/64"), "wan": up("10.0.0.9/24", "10.0.0.1/24", "2001:db8::8/64", "fe80::9/64"),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.breathe()
	w.lan.Take()
	w.wan.Take()
}

// configure wants two services, two real servers, one of which is known, and a
// client behind a gateway; of IPv6, a way through.
func configure(s *spec.Spec, edit func(*spec.Spec)) (err error) {
	do := func(e error) {
		if err == nil {
			err = e
		}
	}
	for p, dev := range map[string]string{
		"192.168.1.1/24": "lan", "10.0.0.1/24": "wan", "10.0.0.100/32": "wan", "2001:db8:1::1/64": "lan", "2001:db8::1/64": "wan", "2001:db8::100/128": "wan",
	} {
		do(s.AddAddress(spec.Address{Port: dev, Prefix: netip.MustParsePrefix(p)}, false))
	}
	do(s.AddRoute(spec.Route{Prefix: netip.MustParsePrefix("0.0.0.0/0"), Port: "wan", Via: netip.MustParseAddr("10.0.0.254")}))
	do(s.AddNeighbour(spec.Neighbour{Addr: netip.MustParseAddr("10.0.0.254"), Port: "wan", MAC: macGW}))
	do(s.AddNeighbour(spec.Neighbour{Addr: netip.MustParseAddr("192.168.1.2"), Port: "lan", MAC: macRS}))
	for prefix, mtu := range map[string]int{"2001:db8:f::/48": 0, "2001:db8:e::/48": 1280} {
		do(s.AddRoute(spec.Route{Prefix: netip.MustParsePrefix(prefix), Port: "wan", Via: netip.MustParseAddr("2001:db8::fe"), MTU: mtu}))
	}
	do(s.AddNeighbour(spec.Neighbour{Addr: netip.MustParseAddr("2001:db8::fe"), Port: "wan", MAC: macGW}))
	do(s.AddNeighbour(spec.Neighbour{Addr: netip.MustParseAddr("2001:db8:1::2"), Port: "lan", MAC: macRS}))
	service := func(proto spec.Proto, virtual string) spec.Service {
		return spec.Service{ServiceKey: spec.ServiceKey{Proto: proto, Virtual: netip.MustParseAddrPort(virtual)}, Scheduler: "rr"}
	}
	told := []spec.Service{service(spec.TCP, "10.0.0.100:80"), service(spec.UDP, "10.0.0.100:53")}
	for i, how := range []string{"v1", "v2", "v1-insecure", "v2-insecure"} {
		told = append(told, service(spec.TCP, fmt.Sprintf("10.0.0.100:%d", 81+i)))
		told[len(told)-1].ProxyProtocol = how
	}
	for i, how := range []string{"ipo", "opp"} {
		told = append(told, service(spec.UDP, fmt.Sprintf("10.0.0.100:%d", 54+i)))
		told[len(told)-1].UOA = how
	}
	told = append(told, service(spec.UDP, "10.0.0.100:56"))
	told[len(told)-1].ProxyProtocol = "v2"
	told = append(told, service(spec.SCTP, "10.0.0.100:80"))
	for _, svc := range told {
		k := svc.ServiceKey
		do(s.AddService(svc))
		do(s.AddDest(k, spec.Dest{Addr: netip.AddrPortFrom(netip.MustParseAddr("192.168.1.2"), k.Virtual.Port()), Forward: spec.FullNAT, Weight: 1}))
		_, e := s.AddLocal(k, spec.LocalAddress{Addr: netip.MustParseAddr("192.168.1.200"), Port: "lan"})
		do(e)
	}
	do(configure6(s))
	if edit != nil {
		edit(s)
	}
	return err
}

// configure6 wants services of IPv6 and between the families, one of each mode and a
// bit: port 53 and 80 full-NAT, 62 NAT64, 46 NAT46, 66 a tunnel, 4 one in IPv4, 6 one of
// IPv4 in IPv6, 68 direct routing, 67 NAT; 81 to 84 tell by PROXY and UOA.
func configure6(s *spec.Spec) (err error) {
	do := func(e error) {
		if err == nil {
			err = e
		}
	}
	const vip4, vip6, rs4, rs6, lip4, lip6 = "10.0.0.100", "[2001:db8::100]", "192.168.1.2", "[2001:db8:1::2]", "192.168.1.200", "2001:db8:1::200"
	for _, row := range []struct {
		vip, port, rs, lip string
		mode               spec.Forward
		edit               func(*spec.Service)
	}{
		{vip: vip6, port: "53", rs: rs6, lip: lip6},
		{vip: vip6, port: "80", rs: rs6, lip: lip6},
		{vip: vip6, port: "62", rs: rs4, lip: lip4},
		{vip: vip4, port: "46", rs: rs6, lip: lip6},
		{vip: vip6, port: "66", rs: rs6, mode: spec.Tunnel},
		{vip: vip6, port: "4", rs: rs4, mode: spec.Tunnel},
		{vip: vip4, port: "6", rs: rs6, mode: spec.Tunnel},
		{vip: vip6, port: "68", rs: rs6, mode: spec.DirectRoute},
		{vip: vip6, port: "67", rs: rs6, mode: spec.Masq},
		{vip: vip6, port: "81", rs: rs6, lip: lip6, edit: func(s *spec.Service) { s.ProxyProtocol = "v2" }},
		{vip: vip6, port: "82", rs: rs4, lip: lip4, edit: func(s *spec.Service) { s.ProxyProtocol = "v2-insecure" }},
		{vip: vip6, port: "83", rs: rs6, lip: lip6, edit: func(s *spec.Service) { s.UOA = uoaOf(s.Proto) }},
		{vip: vip6, port: "84", rs: rs4, lip: lip4, edit: func(s *spec.Service) { s.UOA = uoaOf(s.Proto) }},
	} {
		for _, proto := range []spec.Proto{spec.TCP, spec.UDP} {
			svc := spec.Service{ServiceKey: spec.ServiceKey{Proto: proto, Virtual: netip.MustParseAddrPort(row.vip + ":" + row.port)}, Scheduler: "rr"}
			if row.edit != nil {
				row.edit(&svc)
			}
			do(s.AddService(svc))
			dest := spec.Dest{Addr: netip.MustParseAddrPort(row.rs + ":" + row.port), Forward: spec.FullNAT, Weight: 1}
			if row.lip == "" {
				dest.Forward = row.mode
				do(s.AddDest(svc.ServiceKey, dest))
				continue
			}
			do(s.AddDest(svc.ServiceKey, dest))
			_, e := s.AddLocal(svc.ServiceKey, spec.LocalAddress{Addr: netip.MustParseAddr(row.lip), Port: "lan"})
			do(e)
		}
	}
	// Inside hosts of IPv6 go out with an address of wan's.
	do(s.AddAddress(spec.Address{Port: "wan", Prefix: netip.MustParsePrefix("2001:db8::9/128"), SAPool: true}, false))
	inside := spec.Match{Family: 6, Src: spec.Range{First: netip.MustParseAddr("2001:db8:1::"), Last: netip.MustParseAddr("2001:db8:1::ffff")}, Out: "wan", Dst: spec.Range{First: netip.MustParseAddr("2001:db8:f:8::"), Last: netip.MustParseAddr("2001:db8:f:8::ffff")}}
	for _, proto := range []spec.Proto{spec.TCP, spec.UDP, spec.ICMPv6} {
		k := spec.ServiceKey{Proto: proto, Match: inside}
		do(s.AddService(spec.Service{ServiceKey: k, Scheduler: "rr"}))
		do(s.AddDest(k, spec.Dest{Addr: netip.MustParseAddrPort("[2001:db8::9]:0"), Forward: spec.SNAT, Weight: 1}))
	}
	return err
}

// uoaOf is how a service of UDP tells of clients; one of TCP does it by TOA.
func uoaOf(p spec.Proto) string {
	if p == spec.UDP {
		return "opp"
	}
	return ""
}

// breathe goes on until nobody has anything to do, also not for what another gave
// him in his last breath.
func (w *world) breathe() {
	for n, idle := 0, 0; n < 24 && idle < 2; n++ {
		idle++
		for _, l := range w.Lanes() {
			if l.Breathe() {
				idle = 0
			}
		}
	}
}

// put injects a frame.
func (w *world) put(p *pipe.Port, queue int, f words.Frame) {
	pkt := w.outside.GetBig()
	defer w.outside.Put(pkt)
	pkt.Resize(len(f.Data))
	copy(pkt.Data, f.Data)
	if f.Partial {
		pkt.Flags |= packet.CsumPartial
	}
	if f.GSOType != 0 {
		pkt.Flags |= packet.GSO | packet.CsumPartial
		pkt.GSOType, pkt.GSOSize = f.GSOType, f.GSOSize
	}
	p.InjectPacket(queue, pkt)
}

// check holds the books: every packet is somewhere, and none met a defect.
func (w *world) check() {
	w.t.Helper()
	var s stat.Worker
	var ports port.Counters
	held, fragments, announced := 0, 0, uint64(0)
	for _, l := range w.Lanes() {
		if out, h := l.Pool().InUse(), l.Neigh().Held()+l.Twins().Held(); out != h {
			w.t.Fatalf("%d packets are out of the pool, %d wait for neighbours or for Linux", out, h)
		}
		held += l.Neigh().Held()
		fragments += l.HeldFragments()
		announced += l.Neigh().Counters.Announced + l.Neigh().Counters.Asked + l.Neigh().Counters.Probed
		s.Add(l.Stats())
		for _, q := range l.AllQueues() {
			q.Counters(&ports)
		}
		l.Twins().Each(func(q port.Queue) { q.Counters(&ports) })
	}
	if s.Drops[packet.WalkFault] != 0 || s.Drops[packet.NoReason] != 0 {
		w.t.Fatalf("%d packets met a defect, %d were dropped without a reason", s.Drops[packet.WalkFault], s.Drops[packet.NoReason])
	}
	if s.GSOSegmented != 0 || len(w.Lanes()) > 1 {
		return // pieces are more than what came, and what another worker sends is counted twice
	}
	left := s.Forwarded + s.Answered + s.Consumed + s.ConsumedND + s.Punted() + s.FromLinux + uint64(held)
	for r, n := range s.Drops {
		if packet.Reason(r) != packet.ICMPRateLimit { // counted beside the packet's own
			left += n
		}
	}
	// Errors are the only packets made here that have no counter outside of ip.
	left += s.FragmentsJoined + s.Fragmented + uint64(fragments)
	came := ports.RxPackets + s.RSTSent + s.SentAhead + announced + s.Reassembled + s.FragmentsMade
	most := came + s.Drops[packet.IPTTL] + s.Drops[packet.IPTooBig] + s.Drops[packet.IPNoRoute] + s.Drops[packet.IPNoListener] + s.Drops[packet.IPFragTimeout]
	if left < came || left > most {
		w.t.Fatalf("%d packets came or were made, and at most %d errors: %d left, were dropped, or wait", came, most-came, left)
	}
}

// valid are frames that get somewhere, as seeds and for mutation. lan sends
// those whose source is a real server.
var valid = []struct {
	lan  bool
	line string
}{
	{false, "ip 1.2.3.4 > 10.0.0.100 df / tcp 40000 > 80 S seq=1000 <mss 1460,sackok,ts 7 0,nop,wscale 7>"},
	{true, "ip 192.168.1.2 > 192.168.1.200 / tcp 80 > 1025 SA seq=5000 ack=1001 <mss 1460,sackok,ts 70 7,nop,wscale 7>"},
	{false, "ip 1.2.3.4 > 10.0.0.100 / tcp 40000 > 80 A seq=1001 ack=5001 <nop,nop,ts 9 70>"},
	{false, "ip 1.2.3.4 > 10.0.0.100 / tcp 40000 > 80 PA seq=1001 ack=5001 <toa 9.9.9.9:9> data=100"},
	{true, "ip 192.168.1.2 > 192.168.1.200 / tcp 80 > 1025 A seq=5001 ack=1101 <nop,nop,sack 1-2 3-4> data=50"},
	{false, "ip 1.2.3.4 > 10.0.0.100 / tcp 40000 > 80 FA seq=1101 ack=5051"},
	{true, "ip 192.168.1.2 > 192.168.1.200 / tcp 80 > 1025 R seq=5051"},
	{false, "ip 1.2.3.4 > 10.0.0.100 / udp 5353 > 53 data=31"},
	{true, "ip 192.168.1.2 > 192.168.1.200 / udp 53 > 1025 data=31"},
	{false, "ip 1.2.3.4 > 10.0.0.100 opts=94040000 / udp 5353 > 53 data=31 csum=partial"},
	{true, "ip 192.168.1.2 > 192.168.1.200 / icmp port-unreachable / ip 192.168.1.200 > 192.168.1.2 / udp 1025 > 53 data=4"},
	{true, "ip 192.168.1.9 > 192.168.1.200 / icmp frag-needed mtu=1400 cut=28 / ip 192.168.1.200 > 192.168.1.2 / tcp 1025 > 80 A seq=1001 ack=5001"},
	{false, "ip 1.2.3.4 > 10.0.0.1 / icmp echo id=1 seq=1 data=56"},
	{false, "eth to=all / arp request who=10.0.0.100 tell=10.0.0.254"},
	{false, "arp reply is=10.0.0.9 for=10.0.0.1"},
	{false, "ip 1.2.3.4 > 192.168.1.77 / udp 1 > 2 data=9"},
	{true, "ip 192.168.1.2 > 192.168.1.200 df / tcp 80 > 1025 PA seq=5001 ack=1001 gso=1000 data=2600 csum=partial"},
	{false, "ip 1.2.3.4 > 10.0.0.100 / tcp 40000 > 80 PA seq=1001 ack=5001 gso=1400 data=3000 csum=partial"},
	{false, "ip 1.2.3.4 > 10.0.0.100 ttl=1 / udp 5353 > 53"},
	{false, "vlan 7 / ip 1.2.3.4 > 10.0.0.100 / udp 5353 > 53"},
	{false, "ip 1.2.3.4 > 10.0.0.100 mf / udp 5353 > 53 data=8"},
	{false, "ip 1.2.3.4 > 10.0.0.100 id=9 frag=0+1480 / udp 5353 > 53 data=2000"},
	{false, "ip 1.2.3.4 > 10.0.0.100 id=9 frag=1480+1480 / udp 5353 > 53 data=2000"},
	{true, "ip 192.168.1.2 > 192.168.1.200 id=9 opts=94040000 frag=800+800 / udp 53 > 1025 data=1400"},
	{true, "ip 192.168.1.2 > 192.168.1.200 id=9 opts=94040000 frag=0+800 / udp 53 > 1025 data=1400"},
	{false, "ip 1.2.3.4 > 10.0.0.100 id=7 frag=0+1480 / udp 5353 > 56 data=2960"},
	{false, "ip 1.2.3.4 > 10.0.0.100 id=7 frag=1480+1480 / udp 5353 > 56 data=2960"},
	{false, "ip 1.2.3.4 > 10.0.0.100 id=7 frag=2960+1480 / udp 5353 > 56 data=2960"},
	{false, "ip 1.2.3.4 > 10.0.0.100 id=5 frag=0+800 / tcp 40000 > 81 PA seq=1001 ack=5001 data=1450"},
	{false, "ip 1.2.3.4 > 10.0.0.100 id=5 frag=800+800 / tcp 40000 > 81 PA seq=1001 ack=5001 data=1450"},
	{false, "ip 1.2.3.4 > 10.0.0.1 id=3 frag=0+1480 / icmp echo id=1 seq=1 data=2000"},
	{false, "ip 1.2.3.4 > 10.0.0.1 id=3 frag=1480+1480 / icmp echo id=1 seq=1 data=2000"},
	{false, "ip 1.2.3.4 > 10.0.0.100 / tcp 40000 > 81 S seq=1000 <mss 1460>"},
	{true, "ip 192.168.1.2 > 192.168.1.200 / tcp 81 > 1025 SA seq=5000 ack=1001 <mss 1460>"},
	{false, "ip 1.2.3.4 > 10.0.0.100 / tcp 40000 > 81 A seq=1001 ack=5001 data=1450"},
	{true, "ip 192.168.1.2 > 192.168.1.200 / tcp 81 > 1025 A seq=5001 ack=1041 <sack 1050-1060>"},
	{false, "ip 1.2.3.4 > 10.0.0.100 / tcp 40000 > 84 S seq=1000 <mss 1460>"},
	{true, "ip 192.168.1.2 > 192.168.1.200 / tcp 84 > 1025 SA seq=5000 ack=1001 <mss 1460>"},
	{false, "ip 1.2.3.4 > 10.0.0.100 / tcp 40000 > 84 A seq=1001 ack=5001 proxy=1:9.9.9.9:9>8.8.8.8:8 data=9"},
	{false, "ip 1.2.3.4 > 10.0.0.100 / tcp 40000 > 84 FA seq=1010 ack=5001"},
	{false, "ip 1.2.3.4 > 10.0.0.100 / udp 5353 > 54 data=31"},
	{false, "ip 1.2.3.4 > 10.0.0.100 / sctp 40000 > 80 tag=0 <init 7>"},
	{true, "ip 192.168.1.2 > 192.168.1.200 / sctp 80 > 1025 tag=7 <init-ack 9>"},
	{false, "ip 1.2.3.4 > 10.0.0.100 / sctp 40000 > 80 tag=9 <cookie-echo 0x01020304,data 20> csum=partial"},
	{true, "ip 192.168.1.2 > 192.168.1.200 / icmp port-unreachable / ip 192.168.1.200 > 192.168.1.2 / sctp 1025 > 80 tag=9 <data 4>"},
	{false, "ip 1.2.3.4 > 10.0.0.100 uoa=9.9.9.9:9 / udp 5353 > 55 data=1470 csum=partial"},
	{false, "ip 1.2.3.4 > 10.0.0.100 / udp 5353 > 56 proxy=2:9.9.9.9:9>8.8.8.8:8 data=1440"},
	{false, "ip 1.2.3.4 > 10.0.0.100 / udp 5353 > 56 gso=1000 data=2500 csum=partial"},
	{false, "ip6 2001:db8:f::9 > 2001:db8::1 / icmp6 echo id=1 seq=1 data=56"},
	{false, "ip6 fe80::fe > 2001:db8::1 / icmp6 echo id=1 seq=1 data=56"},
	{false, "ip6 2001:db8:f::9 > 2001:db8::1 / frag id=7 / hop / icmp6 echo id=1 seq=1 data=56"},
	{false, "ip6 2001:db8:f::9 > 2001:db8::1 / udp 5353 > 53 data=31"},
	{false, "ip6 2001:db8:f::9 > 2001:db8:1::2 hlim=1 / hop / dst / udp 5353 > 53 data=31 csum=partial"},
	{false, "ip6 2001:db8:f::9 > 2001:db8:1::2 / tcp 40000 > 80 S seq=1000 <mss 1440,sackok,ts 7 0,nop,wscale 7>"},
	{true, "ip6 2001:db8:1::2 > 2001:db8:f::9 / tcp 80 > 40000 PA seq=5001 ack=1001 gso=1000 data=2600 csum=partial"},
	{true, "ip6 2001:db8:1::2 > 2001:db8:f::9 / dst / udp 53 > 5353 gso=1000 data=2500 csum=partial"},
	{false, "ip6 2001:db8:f::9 > 2001:db8:1::2 / routing type=4 left=1 / udp 5353 > 53 data=31"},
	{false, "ip6 2001:db8:f::9 > 2001:db8:1::77 / udp 1 > 2 data=9"},
	{true, "ip6 2001:db8:1::2 > 2001:db8:e::9 / udp 1 > 2 data=1300"},
	{true, "ip6 2001:db8:1::2 > 2001:db8:e::9 id=9 frag=0+1232 / udp 1 > 2 data=2000"},
	{true, "ip6 2001:db8:1::2 > 2001:db8:e::9 id=9 frag=1232+1232 / udp 1 > 2 data=2000"},
	{true, "ip6 2001:db8:1::2 > 2001:db8:e::9 id=8 frag=0+1400 / udp 1 > 2 data=2000"},
	{true, "ip6 2001:db8:1::2 > 2001:db8:e::9 id=8 frag=1400+1232 / udp 1 > 2 data=2000"},
	{false, "ip6 2001:db8:f::9 > 2001:db8::1 id=3 frag=0+1448 / icmp6 echo id=1 seq=1 data=2000"},
	{false, "ip6 2001:db8:f::9 > 2001:db8::1 id=3 frag=1448+1448 / icmp6 echo id=1 seq=1 data=2000"},
	{false, "ip6 2001:db8::fe > ff02::1:ff00:1 hlim=255 / ns who=2001:db8::1 <sll>"},
	{false, "ip6 2001:db8::fe > 2001:db8::1 hlim=255 / na is=2001:db8::fe S <tll>"},
	{false, "ip6 2001:db8:f::9 > 2001:db8::100 / tcp 40000 > 80 S seq=1000 <mss 1440,sackok,ts 7 0,nop,wscale 7>"},
	{true, "ip6 2001:db8:1::2 > 2001:db8:1::200 / tcp 80 > 1025 SA seq=5000 ack=1001 <mss 1440,sackok,ts 70 7,nop,wscale 7>"},
	{false, "ip6 2001:db8:f::9 > 2001:db8::100 / tcp 40000 > 80 A seq=1001 ack=5001 <nop,nop,ts 9 70>"},
	{false, "ip6 2001:db8:f::9 > 2001:db8::100 / dst / tcp 40000 > 80 PA seq=1001 ack=5001 gso=1300 data=3000 csum=partial"},
	{true, "ip6 2001:db8:1::2 > 2001:db8:1::200 / tcp 80 > 1025 PA seq=5001 ack=1001 gso=1400 data=3000 csum=partial"},
	{false, "ip6 2001:db8:f::9 > 2001:db8::100 / tcp 40000 > 80 FA seq=1001 ack=5001"},
	{false, "ip6 2001:db8:f::9 > 2001:db8::100 / tcp 40000 > 62 S seq=1000 <mss 1440,sackok,ts 7 0,nop,wscale 7>"},
	{true, "ip 192.168.1.2 > 192.168.1.200 / tcp 62 > 1025 SA seq=5000 ack=1001 <mss 1440,sackok,ts 70 7,nop,wscale 7>"},
	{false, "ip6 2001:db8:f::9 > 2001:db8::100 / tcp 40000 > 62 A seq=1001 ack=5001 <nop,nop,ts 9 70>"},
	{false, "ip6 2001:db8:f::9 > 2001:db8::100 / dst / tcp 40000 > 62 PA seq=1001 ack=5001 gso=1300 data=3000 csum=partial"},
	{true, "ip 192.168.1.2 > 192.168.1.200 / tcp 62 > 1025 PA seq=5001 ack=1001 gso=1400 data=3000 csum=partial"},
	{false, "ip6 2001:db8:f::9 > 2001:db8::100 / tcp 40000 > 62 FA seq=1001 ack=5001"},
	{false, "ip6 2001:db8:f::9 > 2001:db8::100 / udp 5353 > 53 data=31"},
	{true, "ip6 2001:db8:1::2 > 2001:db8:1::200 / udp 53 > 1025 data=31"},
	{false, "ip6 2001:db8:f::9 > 2001:db8::100 / udp 5353 > 62 data=31 csum=partial"},
	{false, "ip6 2001:db8:f::9 > 2001:db8::100 / hop / udp 5353 > 62 data=1440"},
	{true, "ip 192.168.1.2 > 192.168.1.200 / udp 62 > 1025 data=31 csum=0"},
	{true, "ip 192.168.1.2 > 192.168.1.200 df opts=01010100 / udp 62 > 1025 data=1470"},
	{false, "ip6 2001:db8:f::9 > 2001:db8::100 id=4 frag=0+1448 / udp 5353 > 62 data=2000"},
	{false, "ip6 2001:db8:f::9 > 2001:db8::100 id=4 frag=1448+1448 / udp 5353 > 62 data=2000"},
	{true, "ip 192.168.1.2 > 192.168.1.200 id=4 frag=0+1480 / udp 62 > 1025 data=2000 csum=0"},
	{true, "ip 192.168.1.2 > 192.168.1.200 id=4 frag=1480+1480 / udp 62 > 1025 data=2000 csum=0"},
	{false, "ip 1.2.3.4 > 10.0.0.100 / udp 5353 > 46 data=31 csum=0"},
	{false, "ip 1.2.3.4 > 10.0.0.100 opts=94040000 / udp 5353 > 46 data=1470"},
	{false, "ip 1.2.3.4 > 10.0.0.100 df / tcp 40000 > 46 S seq=1000 <mss 1460>"},
	{true, "ip6 2001:db8:1::2 > 2001:db8:1::200 / tcp 46 > 1025 SA seq=5000 ack=1001 <mss 1440>"},
	{true, "ip6 2001:db8:1::2 > 2001:db8:1::200 / dst / udp 46 > 1025 data=31"},
	{false, "ip6 2001:db8:f::9 > 2001:db8::100 / udp 5353 > 66 data=31"},
	{false, "ip6 2001:db8:f::9 > 2001:db8::100 / tcp 40000 > 66 S seq=1000 <mss 1440>"},
	{false, "ip6 2001:db8:f::9 > 2001:db8::100 / tcp 40000 > 66 A seq=1001 ack=5001 data=1000"},
	{false, "ip6 2001:db8:f::9 > 2001:db8::100 / udp 5353 > 4 data=31"},
	{false, "ip6 2001:db8:f::9 > 2001:db8::100 / tcp 40000 > 4 S seq=1000 <mss 1440>"},
	{false, "ip6 2001:db8:f::9 > 2001:db8::100 / tcp 40000 > 4 A seq=1001 ack=5001 data=1000"},
	{false, "ip6 2001:db8:f::9 > 2001:db8::100 / udp 5353 > 68 data=31"},
	{false, "ip6 2001:db8:f::9 > 2001:db8::100 / tcp 40000 > 68 S seq=1000 <mss 1440>"},
	{false, "ip6 2001:db8:f::9 > 2001:db8::100 / tcp 40000 > 68 A seq=1001 ack=5001 data=1000"},
	{false, "ip6 2001:db8:f::9 > 2001:db8::100 / udp 5353 > 67 data=31"},
	{false, "ip6 2001:db8:f::9 > 2001:db8::100 / tcp 40000 > 67 S seq=1000 <mss 1440>"},
	{false, "ip6 2001:db8:f::9 > 2001:db8::100 / tcp 40000 > 67 A seq=1001 ack=5001 data=1000"},
	{false, "ip6 2001:db8:f::9 > 2001:db8::100 / udp 5353 > 81 data=31"},
	{false, "ip6 2001:db8:f::9 > 2001:db8::100 / tcp 40000 > 81 S seq=1000 <mss 1440>"},
	{false, "ip6 2001:db8:f::9 > 2001:db8::100 / tcp 40000 > 81 A seq=1001 ack=5001 data=1000"},
	{false, "ip6 2001:db8:f::9 > 2001:db8::100 / udp 5353 > 82 data=31"},
	{false, "ip6 2001:db8:f::9 > 2001:db8::100 / tcp 40000 > 82 S seq=1000 <mss 1440>"},
	{false, "ip6 2001:db8:f::9 > 2001:db8::100 / tcp 40000 > 82 A seq=1001 ack=5001 data=1000"},
	{false, "ip6 2001:db8:f::9 > 2001:db8::100 / udp 5353 > 83 data=31"},
	{false, "ip6 2001:db8:f::9 > 2001:db8::100 / tcp 40000 > 83 S seq=1000 <mss 1440>"},
	{false, "ip6 2001:db8:f::9 > 2001:db8::100 / tcp 40000 > 83 A seq=1001 ack=5001 data=1000"},
	{false, "ip6 2001:db8:f::9 > 2001:db8::100 / udp 5353 > 84 data=31"},
	{false, "ip6 2001:db8:f::9 > 2001:db8::100 / tcp 40000 > 84 S seq=1000 <mss 1440>"},
	{false, "ip6 2001:db8:f::9 > 2001:db8::100 / tcp 40000 > 84 A seq=1001 ack=5001 data=1000"},
	{false, "ip6 2001:db8:f::9 > 2001:db8::100 / udp 5353 > 66 gso=1000 data=2500 csum=partial"},
	{false, "ip6 2001:db8:f::9 > 2001:db8::100 / udp 5353 > 83 data=1430"},
	{false, "ip 1.2.3.4 > 10.0.0.100 / udp 5353 > 6 data=1470"},
	{true, "ip6 2001:db8:1::2 > 2001:db8:f:8::8 / icmp6 echo id=7 seq=1 data=9"},
	{true, "ip6 2001:db8:1::2 > 2001:db8:f:8::8 / tcp 5000 > 80 S seq=1"},
	{false, "ip6 2001:db8:f:8::8 > 2001:db8::9 / icmp6 echo-reply id=1025 seq=1 data=9"},
	{true, "ip6 2001:db8:1::2 > 2001:db8:1::200 / icmp6 port-unreachable / ip6 2001:db8:1::200 > 2001:db8:1::2 / udp 1025 > 53 data=4"},
	{true, "ip 192.168.1.9 > 192.168.1.200 / icmp frag-needed mtu=1400 cut=28 / ip 192.168.1.200 > 192.168.1.2 / tcp 1025 > 62 A seq=1001 ack=5001"},
	{false, "ip6 2001:db8:f::7 > 2001:db8::100 / icmp6 too-big mtu=1400 cut=1232 / ip6 2001:db8::100 > 2001:db8:f::9 / tcp 62 > 40000 A seq=5001 ack=1001 data=1400"},
	{true, "ip6 2001:db8:1::9 > 2001:db8:1::200 / icmp6 time-exceeded cut=48 / ip6 2001:db8:1::200 > 2001:db8:1::2 / udp 1025 > 46 data=4"},
	{false, "ip 7.7.7.7 > 10.0.0.100 / icmp time-exceeded cut=28 / ip 10.0.0.100 > 1.2.3.4 / udp 46 > 5353 data=4"},
	{false, "ip6 fe80::9 > 2001:db8::100 / udp 5353 > 62 data=31"},
	{true, "ip6 2001:db8:1::2 > 2001:db8:f::9 / icmp6 too-big mtu=1280 / ip6 2001:db8:f::9 > 2001:db8:1::2 / udp 1 > 2 data=4"},
}

func frames(t testing.TB) (out []words.Frame) {
	for _, v := range valid {
		from, to := macGW, words.MAC(macWan)
		if v.lan {
			from, to = macRS, words.MAC(macLan)
		}
		f, err := words.Parse(v.line, nil, from, to)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, f)
	}
	return out
}

// FuzzWalk lets anything come in from the wire. The input is a script of records
// that begin with an operation:
//
//	0-3  a frame: port and queue in the operation, a length in two bytes, the frame
//	4    a valid frame: which one, and how many changes of (offset, xor)
//	5    the same, with its IP checksum made right again
//	6    a frame's vnet header: flags, GSO type and size for the next frame
//	7    time passes: in units of 50 ms
func FuzzWalk(f *testing.F) {
	all := frames(f)
	var whole []byte
	for i, v := range all {
		whole = append(whole, 4, byte(i), 0)
		raw := []byte{1, byte(len(v.Data) >> 8), byte(len(v.Data))}
		if valid[i].lan {
			raw[0] = 0
		}
		f.Add(append(raw, v.Data...), false, i%2 == 0)
		raw[0] += 2
		f.Add(append(raw, v.Data...), false, true)
		f.Add([]byte{4, 0, 0, 4, 1, 0, 4, 2, 0, 5, byte(i), 3, 20, 0xff, 31, 1, 46, 8, 4, 7, 0, 6, 1, 1, 2, 0, 5, byte(i), 1, 16, 0x7f, 7, 250}, i%2 == 0, i%4 < 2)
	}
	for i := range 4 {
		f.Add(whole, i%2 == 0, i < 2)
	}
	f.Fuzz(func(t *testing.T, script []byte, twoWorkers, twins bool) {
		workers := 1
		if twoWorkers {
			workers = 2
		}
		w := newWorld(t, workers, 64, 100, nil)
		if twins {
			w.twinsUp()
		}
		var side words.Frame
		next := func(n int) []byte {
			n = min(n, len(script))
			b := script[:n]
			script = script[n:]
			return append(b[:n:n], make([]byte, 4)...)
		}
		for records := 0; len(script) > 0 && records < 200; records++ {
			switch op := next(1)[0] % 8; op {
			case 6:
				b := next(4)
				side = words.Frame{Partial: b[0]&1 != 0, GSOType: []uint8{0, 1, 5, 3, 4, 0x81}[b[1]%6], GSOSize: uint16(b[2])<<8 | uint16(b[3])}
			case 7:
				for range next(1)[0] {
					w.nanos += 50e6
					w.breathe()
				}
			case 4, 5:
				b := next(2)
				i := int(b[0]) % len(all)
				v := all[i]
				v.Data = append([]byte{}, v.Data...)
				for range b[1] % 16 {
					m := next(2)
					v.Data[int(m[0])%len(v.Data)] ^= m[1]
				}
				if op == 5 && len(v.Data) >= 34 {
					if ip := wire.IPv4(v.Data[14:]); ip.HeaderLength() >= 20 && ip.HeaderLength() <= len(ip) {
						ip.ComputeChecksum()
					}
				}
				w.send(valid[i].lan, 0, v)
			default:
				n := next(2)
				v := side
				side = words.Frame{}
				size := (int(n[0])<<8 | int(n[1])) % 9000
				size = min(size, len(script))
				v.Data, script = script[:size], script[size:]
				if twins && op>>1 == 1 { // Linux sends
					w.put(w.twins[[]string{"lan", "wan"}[op&1]], 0, v)
				} else {
					w.send(op&1 == 0, int(op>>1), v)
				}
			}
			w.breathe()
			w.check()
			w.lan.Take()
			w.wan.Take()
			for _, p := range w.twins {
				p.Take()
			}
		}
	})
}

func (w *world) send(lan bool, queue int, f words.Frame) {
	if len(f.Data) == 0 {
		return
	}
	p := w.wan
	if lan {
		p = w.lan
	}
	w.put(p, queue%p.Facts().RxQueues, f)
}

package rsagent

import (
	"fmt"
	"maps"
	"net/netip"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"weir/bpf"
)

// carrier puts UOA before a datagram.
type carrier func(src, dst netip.AddrPort, client netip.AddrPort, data []byte) []byte

func ipo(src, dst, client netip.AddrPort, data []byte) []byte {
	return ip(src.Addr(), dst.Addr(), 17, uoaOf(client), udp(src, dst, data))
}

// opp is the option protocol as Weir sends it: with a UDP checksum.
func opp(src, dst, client netip.AddrPort, data []byte) []byte {
	version := byte(1)
	if client.Addr().Is6() {
		version = 2
	}
	return ip(src.Addr(), dst.Addr(), 248, nil, append(oppOf(version, uoaOf(client)), udp(src, dst, data)...))
}

// oppDPVS is the same as DPVS sends it over IPv4: without, and with the version of
// the packet instead of the address.
func oppDPVS(src, dst, client netip.AddrPort, data []byte) []byte {
	version := byte(1)
	if dst.Addr().Is6() {
		version = 2
	}
	d := udp(src, dst, data)
	if dst.Addr().Is4() {
		d = unsummed(d)
	}
	return ip(src.Addr(), dst.Addr(), 248, nil, append(oppOf(version, uoaOf(client)), d...))
}

func plain(src, dst, _ netip.AddrPort, data []byte) []byte {
	return ip(src.Addr(), dst.Addr(), 17, nil, udp(src, dst, data))
}

// TestUOAGetsockopt is DPVS's example: recvfrom is untouched, getsockopt knows.
func TestUOAGetsockopt(t *testing.T) {
	const c4, c6 = "203.0.113.9:5555", "[2001:db8::9]:6666"
	miss, invalid := unknown(t), unknown(t)
	if here(t).setRetval {
		invalid = "EINVAL"
	}
	tests := []struct {
		name   string
		words  []string
		from   netip.Addr
		client netip.AddrPort
		carry  carrier
		want   string
		counts map[string]uint64
	}{
		{"ipo", nil, lip4, client4, ipo, c4, map[string]uint64{"uoa_saved": 1, "uoa_asked_hit": 1}},
		{"opp", nil, lip4, client4, opp, c4, map[string]uint64{"opp_ipv4": 1, "uoa_saved": 1, "uoa_asked_hit": 1}},
		{"opp of DPVS", nil, lip4, client4, oppDPVS, c4, map[string]uint64{"opp_ipv4": 1, "uoa_saved": 1, "uoa_asked_hit": 1}},
		{"NAT64, ipo", nil, lip4, client6, ipo, c6, nil},
		{"NAT64, opp", nil, lip4, client6, opp, c6, nil},
		{"NAT64, opp of DPVS", nil, lip4, client6, oppDPVS, c6, nil},
		{"v4 to a [::] socket, ipo", []string{"v6"}, lip4, client4, ipo, c4, nil},
		{"v4 to a [::] socket, opp", []string{"v6"}, lip4, client4, opp, c4, nil},
		{"v6", []string{"v6"}, lip6, client6, opp, c6, map[string]uint64{"opp_ipv6": 1, "uoa_saved": 1, "uoa_ipv6": 1, "uoa_asked_hit": 1}},
		{"NAT46", []string{"v6"}, lip6, client46, opp, c4, map[string]uint64{"opp_ipv6": 1, "uoa_saved": 1, "uoa_nat46": 1, "uoa_asked_hit": 1}},
		{"NAT46, bound to its address", []string{"v6", "local=fd00:100::2"}, lip6, client46, opp, c4, nil},
		{"NAT64 to a [::] socket", []string{"v6"}, lip4, client6, opp, c6, map[string]uint64{"opp_ipv4": 1, "uoa_saved": 1, "uoa_nat64": 1, "uoa_asked_hit": 1}},
		{"v6 of DPVS", []string{"v6"}, lip6, client6, oppDPVS, c6, nil},
		{"bound to its address", []string{"local=192.168.100.2"}, lip4, client4, ipo, c4, nil},
		{"bound to its v6 address", []string{"v6", "local=fd00:100::2"}, lip6, client6, opp, c6, nil},

		{"no UOA", nil, lip4, client4, plain, miss, map[string]uint64{"uoa_none": 1, "uoa_asked_miss": 1}},
		{"a stranger, ipo", nil, stranger4, client4, ipo, miss, map[string]uint64{"uoa_untrusted": 1, "uoa_asked_miss": 1}},
		{"buffer too small", []string{"short"}, lip4, client4, ipo, invalid, map[string]uint64{"uoa_saved": 1, "uoa_asked_invalid": 1}},
		{"no such family", []string{"family"}, lip4, client4, ipo, invalid, map[string]uint64{"uoa_saved": 1, "uoa_asked_invalid": 1}},
		{"another peer", []string{"other"}, lip4, client4, ipo, miss, map[string]uint64{"uoa_saved": 1, "uoa_asked_miss": 1}},
		{"a client that is no station", nil, lip4, netip.MustParseAddrPort("127.0.0.1:9"), ipo, miss, map[string]uint64{"uoa_malformed": 1, "uoa_asked_miss": 1}},
	}
	for _, bed := range []struct {
		name string
		make func(*testing.T) *bed
	}{{"tun", newBed}, {"tap", newTapBed}} {
		t.Run(bed.name, func(t *testing.T) {
			b := bed.make(t)
			b.agent(t, b.options(withUOA(Getsockopt)), lacks{})
			for i, tt := range tests {
				t.Run(tt.name, func(t *testing.T) {
					server := b.datagramServer(t, 9000+i, tt.words...)
					defer server.Kill()
					from, to := b.director(tt.from), netip.AddrPortFrom(rs4.Addr(), uint16(9000+i))
					if tt.from.Is6() {
						to = netip.AddrPortFrom(rs6.Addr(), to.Port())
					}
					answers := b.wire.listen(t, from)
					before := b.counts(t)
					b.wire.send(t, tt.carry(from, to, tt.client, []byte("hello")))
					got := fields(server.line(t, "from"))
					seen := from
					if tt.from.Is4() && len(tt.words) > 0 && tt.words[0] == "v6" {
						seen = netip.AddrPortFrom(netip.AddrFrom16(from.Addr().As16()), from.Port())
					}
					if got["from"] != seen.String() {
						t.Errorf("recvfrom says %s, want it untouched: %s", got["from"], seen)
					}
					if got["client"] != tt.want {
						t.Errorf("getsockopt says %s, want %s", got["client"], tt.want)
					}
					if got["length"] != "" && (got["length"] != "58" || got["kept"] != "1") {
						t.Errorf("the answer has length %s, want 58, and kept the question: %s", got["length"], got["kept"])
					}
					if d := since(before, b.counts(t)); tt.counts != nil && !maps.Equal(d, tt.counts) {
						t.Errorf("counted %v, want %v", d, tt.counts)
					}
					await(t, answers, "its answer to the director", func(p parsed) bool { return p.protocol == 17 && p.src == to })
				})
			}
		})
	}
}

// TestUOATwoLocalAddresses: the same director's address and port at two addresses of
// this server are two clients.
func TestUOATwoLocalAddresses(t *testing.T) {
	b := newBed(t)
	second := netip.MustParseAddr("192.168.100.3")
	if err := b.rs.Address("lan0", netip.PrefixFrom(second, 24)); err != nil {
		t.Fatal(err)
	}
	b.agent(t, b.options(withUOA(Getsockopt)), lacks{})
	from := b.director(lip4)
	other := netip.MustParseAddrPort("198.51.100.7:7777")
	one := b.datagramServer(t, 9000, "local=192.168.100.2")
	two := b.datagramServer(t, 9000, "local=192.168.100.3")
	b.wire.send(t, ipo(from, netip.AddrPortFrom(rs4.Addr(), 9000), client4, []byte("1")))
	b.wire.send(t, ipo(from, netip.AddrPortFrom(second, 9000), other, []byte("2")))
	one.line(t, "from")
	if got := fields(two.line(t, "from"))["client"]; got != other.String() {
		t.Errorf("the second address knows %s, want %s", got, other)
	}
	// The later one has not taken the earlier one's place.
	b.wire.send(t, plain(from, netip.AddrPortFrom(rs4.Addr(), 9000), client4, []byte("3")))
	if got := fields(one.line(t, "from"))["client"]; got != client4.String() {
		t.Errorf("the first address knows %s, want %s", got, client4)
	}
}

// TestUOAWithoutRegisters is what Linux 5.10 does: the answer is for the last datagram.
func TestUOAWithoutRegisters(t *testing.T) {
	b := newBed(t)
	agent := b.agent(t, b.options(withUOA(Getsockopt)), lacks{Helpers: []asm.BuiltinFunc{asm.FnTaskPtRegs, asm.FnSetRetval}})
	for _, tt := range []struct {
		words  []string
		from   netip.Addr
		client netip.AddrPort
	}{{nil, lip4, client4}, {[]string{"v6"}, lip6, client6}, {[]string{"v6"}, lip4, client4}} {
		server := b.datagramServer(t, 9000, tt.words...)
		from, to := b.director(tt.from), netip.AddrPortFrom(rs4.Addr(), 9000)
		if tt.from.Is6() {
			to = netip.AddrPortFrom(rs6.Addr(), 9000)
		}
		b.wire.send(t, opp(from, to, tt.client, []byte("hello")))
		if got := fields(server.line(t, "from"))["client"]; got != tt.client.String() {
			t.Errorf("getsockopt says %s, want %s", got, tt.client)
		}
		b.wire.send(t, plain(b.director(tt.from), to, tt.client, []byte("hello")))
		if got := fields(server.line(t, "from"))["client"]; got != "ENOPROTOOPT" {
			t.Errorf("getsockopt says %s of an unknown client, want ENOPROTOOPT", got)
		}
		server.Kill()
	}
	if c := b.counts(t); c["uoa_asked_last"] != 6 || c["uoa_asked_hit"] != 3 || c["uoa_asked_miss"] != 3 {
		t.Errorf("counted %v, want six answers for the last datagram, three of them hits", c)
	}
	if s := agent.text(); s == "" {
		t.Error("the agent said nothing")
	}
}

// TestUOATransparent: the server sees the client, and its answer goes by the director.
func TestUOATransparent(t *testing.T) {
	tests := []struct {
		name   string
		server []string
		from   netip.Addr
		client netip.AddrPort
		carry  carrier
		want   string
	}{
		{"v4, ipo", []string{"udp4", "0.0.0.0:%d"}, lip4, client4, ipo, "203.0.113.9:5555"},
		{"v4, opp", []string{"udp4", "0.0.0.0:%d"}, lip4, client4, opp, "203.0.113.9:5555"},
		{"v4, opp of DPVS", []string{"udp4", "0.0.0.0:%d"}, lip4, client4, oppDPVS, "203.0.113.9:5555"},
		{"v4, bound", []string{"udp4", "192.168.100.2:%d"}, lip4, client4, ipo, "203.0.113.9:5555"},
		{"v4 to [::]", []string{"udp", "[::]:%d"}, lip4, client4, opp, "203.0.113.9:5555"},
		{"v6", []string{"udp6", "[::]:%d"}, lip6, client6, opp, "[2001:db8::9]:6666"},
		{"v6, bound", []string{"udp6", "[fd00:100::2]:%d"}, lip6, client6, opp, "[2001:db8::9]:6666"},
		{"v4, a socket for each client", []string{"udp4", "192.168.100.2:%d", "connect"}, lip4, client4, ipo, "203.0.113.9:5555"},
		{"v6, a socket for each client", []string{"udp6", "[fd00:100::2]:%d", "connect"}, lip6, client6, opp, "[2001:db8::9]:6666"},
		{"NAT46", []string{"udp6", "[::]:%d"}, lip6, client46, opp, "[64:ff9b::cb00:7109]:5555"},
		{"NAT46 to a dual-stack socket", []string{"udp", "[::]:%d"}, lip6, client46, opp, "[64:ff9b::cb00:7109]:5555"},
		{"NAT46, bound", []string{"udp6", "[fd00:100::2]:%d"}, lip6, client46, opp, "[64:ff9b::cb00:7109]:5555"},
		{"NAT46, a socket for each client", []string{"udp6", "[fd00:100::2]:%d", "connect"}, lip6, client46, opp, "[64:ff9b::cb00:7109]:5555"},
		{"NAT64 stays as it is, AF_INET", []string{"udp4", "0.0.0.0:%d"}, lip4, client6, opp, ""},
		{"NAT64 stays as it is, [::]", []string{"udp", "[::]:%d"}, lip4, client6, opp, ""},
		{"no UOA", []string{"udp4", "0.0.0.0:%d"}, lip4, client4, plain, ""},
		{"a stranger", []string{"udp4", "0.0.0.0:%d"}, stranger4, client4, ipo, ""},
	}
	b := newBed(t)
	b.agent(t, b.options(withUOA(Transparent)), lacks{})
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			port := uint16(9000 + i)
			args := append([]string{}, tt.server...)
			args[1] = fmt.Sprintf(args[1], port)
			server := b.goServer(t, roleUDP, args...)
			defer server.Kill()
			from, to := b.director(tt.from), netip.AddrPortFrom(rs4.Addr(), port)
			if tt.from.Is6() {
				to = netip.AddrPortFrom(rs6.Addr(), port)
			}
			answers := b.wire.listen(t, from)
			// The second datagram has no UOA: the flow is known by then.
			for _, carry := range []carrier{tt.carry, plain} {
				b.wire.send(t, carry(from, to, tt.client, []byte("hello")))
				got := fields(server.line(t, "from"))
				want := tt.want
				if want == "" {
					want = from.String()
				}
				if got["from"] != want {
					t.Errorf("the server sees %s, want %s", got["from"], want)
				}
				if got["peer"] != "" && got["peer"] != want {
					t.Errorf("getpeername says %s, want %s", got["peer"], want)
				}
				await(t, answers, "its answer to the director", func(p parsed) bool { return p.protocol == 17 && p.src == to })
				if got["peer"] != "" {
					server.line(t, "closed")
				}
			}
		})
	}
}

// TestUOATheAnswerGoesTheWayTheDatagramCame: one client comes by two local addresses
// of the director.
func TestUOATheAnswerGoesTheWayTheDatagramCame(t *testing.T) {
	b := newBed(t)
	b.agent(t, b.options(withUOA(Transparent)), lacks{})
	server := b.goServer(t, roleUDP, "udp4", "0.0.0.0:9000")
	to := netip.AddrPortFrom(rs4.Addr(), 9000)
	ways := []netip.AddrPort{b.director(lip4), b.director(lip4)}
	ends := []<-chan parsed{b.wire.listen(t, ways[0]), b.wire.listen(t, ways[1])}
	for i, carry := range []carrier{ipo, ipo, plain, plain, plain} {
		w := i % 2
		b.wire.send(t, carry(ways[w], to, client4, []byte{byte(i)}))
		if got := fields(server.line(t, "from"))["from"]; got != client4.String() {
			t.Fatalf("datagram %d is shown from %s, want %s", i, got, client4)
		}
		await(t, ends[w], fmt.Sprintf("answer %d to %s", i, ways[w]), func(p parsed) bool { return p.l4[8] == byte(i) })
	}
}

// TestUOATransparentAsked: in transparent mode too a program may ask for the clients
// that it can't be shown.
func TestUOATransparentAsked(t *testing.T) {
	tests := []struct {
		name   string
		words  []string
		from   netip.Addr
		client netip.AddrPort
		shown  bool // by recvfrom, which leaves nothing to ask
	}{
		{"NAT64, AF_INET", nil, lip4, client6, false},
		{"NAT64, [::]", []string{"v6"}, lip4, client6, false},
		{"v4", nil, lip4, client4, true},
		{"v6", []string{"v6"}, lip6, client6, true},
	}
	b := newBed(t)
	b.agent(t, b.options(withUOA(Transparent), func(o *Options) { o.NAT64 = true }), lacks{})
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			server := b.datagramServer(t, 9000+i, tt.words...)
			defer server.Kill()
			from, to := b.director(tt.from), netip.AddrPortFrom(rs4.Addr(), uint16(9000+i))
			if tt.from.Is6() {
				to = netip.AddrPortFrom(rs6.Addr(), to.Port())
			}
			answers := b.wire.listen(t, from)
			b.wire.send(t, opp(from, to, tt.client, []byte("hello")))
			got := fields(server.line(t, "from"))
			seen, client := from, tt.client.String()
			if tt.shown {
				seen, client = tt.client, unknown(t)
			} else if len(tt.words) > 0 {
				seen = netip.AddrPortFrom(netip.AddrFrom16(from.Addr().As16()), from.Port())
			}
			if got["from"] != seen.String() || got["client"] != client {
				t.Errorf("recvfrom says %s and getsockopt %s, want %s and %s", got["from"], got["client"], seen, client)
			}
			await(t, answers, "its answer to the director", func(p parsed) bool { return p.protocol == 17 && p.src == to })
		})
	}
}

// TestUOANAT64HasNoWayBack: a flow that can't be shown leaves the way back of the same
// client's IPv6 flow alone.
func TestUOANAT64HasNoWayBack(t *testing.T) {
	b := newBed(t)
	b.agent(t, b.options(withUOA(Transparent)), lacks{})
	server := b.goServer(t, roleUDP, "udp", "[::]:9000")
	six, four := b.director(lip6), b.director(lip4)
	for _, way := range []struct{ from, to, shown netip.AddrPort }{
		{six, netip.AddrPortFrom(rs6.Addr(), 9000), client6},
		{four, netip.AddrPortFrom(rs4.Addr(), 9000), four},
	} {
		b.wire.send(t, opp(way.from, way.to, client6, []byte("hello")))
		if got := fields(server.line(t, "from"))["from"]; got != way.shown.String() {
			t.Fatalf("the datagram of %s is shown from %s, want %s", way.from, got, way.shown)
		}
		if got := b.waysBack(t); len(got) != 1 || got[client6] != six {
			t.Errorf("after %s the ways back are %v, want the one by IPv6", way.from, got)
		}
	}
}

// waysBack reads which local address answers to a client go to.
func (b *bed) waysBack(t *testing.T) map[netip.AddrPort]netip.AddrPort {
	t.Helper()
	p, err := openPinDir(b.pin)
	if err != nil {
		t.Fatal(err)
	}
	ways := map[netip.AddrPort]netip.AddrPort{}
	err = readMap(p, bpf.RSMapUoaReturns, func(m *ebpf.Map) error {
		return each(m, func(k *bpf.RSClientKey, e *bpf.RSEntry) error {
			client := bpf.RSStation{Addr: k.Client, Port: k.ClientPort}
			ways[stationOf(&client)] = stationOf(&e.Station)
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return ways
}

// TestUOADropEmpty: a datagram that only carries UOA is kept from the program, which
// is known all the same.
func TestUOADropEmpty(t *testing.T) {
	b := newBed(t)
	b.agent(t, b.options(withUOA(Getsockopt), func(o *Options) { o.DropEmpty = true }), lacks{})
	server := b.datagramServer(t, 9000)
	from, to := b.director(lip4), netip.AddrPortFrom(rs4.Addr(), 9000)
	b.wire.send(t, ipo(from, to, client4, nil))
	b.wire.send(t, plain(from, to, client4, []byte("hello")))
	got := fields(server.line(t, "from"))
	if got["bytes"] != "5" || got["client"] != client4.String() {
		t.Errorf("the first datagram is %v, want 5 bytes of %s", got, client4)
	}
	if c := b.counts(t); c["uoa_empty"] != 1 || c["uoa_saved"] != 1 {
		t.Errorf("counted %v, want one empty datagram dropped", c)
	}
}

// TestUOAFragments: a datagram in pieces is seen when it is whole.
func TestUOAFragments(t *testing.T) {
	b := newBed(t)
	b.agent(t, b.options(withUOA(Getsockopt)), lacks{})
	server := b.datagramServer(t, 9000)
	to := netip.AddrPortFrom(rs4.Addr(), 9000)
	for name, order := range map[string][]int{"in order": {0, 1, 2}, "last first": {2, 1, 0}} {
		from := b.director(lip4)
		d := udp(from, to, make([]byte, 2600))
		for _, i := range order {
			b.wire.send(t, fragment(from.Addr(), to.Addr(), uoaOf(client4), d, i, from.Port()))
		}
		got := fields(server.line(t, "from"))
		if got["bytes"] != "2600" || got["client"] != client4.String() {
			t.Errorf("%s: %v, want 2600 bytes of %s", name, got, client4)
		}
	}
}

// fragment returns one of three pieces; only the first has options (RFC 791: an
// option without the copied bit).
func fragment(src, dst netip.Addr, options, datagram []byte, i int, id uint16) []byte {
	const size = 1200
	first, last := i*size, min((i+1)*size, len(datagram))
	if i > 0 {
		options = nil
	}
	p := ip(src, dst, 17, options, datagram[first:last])
	p[4], p[5] = byte(id>>8), byte(id)
	more := byte(0x20)
	if last == len(datagram) {
		more = 0
	}
	p[6], p[7] = more|byte(first/8>>8), byte(first/8)
	p[10], p[11] = 0, 0
	c := checksum(sum16(0, p[:int(p[0]&15)*4]))
	p[10], p[11] = byte(c>>8), byte(c)
	return p
}

package rsagent

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
)

// What is never believed: named rows, every length, and packets at random, all of
// them against the model.

var (
	from4, to4 = netip.AddrPortFrom(lip4, 20000), netip.AddrPortFrom(rs4.Addr(), 9000)
	from6, to6 = netip.AddrPortFrom(lip6, 20000), netip.AddrPortFrom(rs6.Addr(), 9000)
)

// padded is a list of options with NOPs in front, so that its length fits a header.
func padded(options ...byte) []byte {
	for len(options)%4 != 0 {
		options = append([]byte{1}, options...)
	}
	return options
}

// withOptions is a datagram of the director with IP options.
func withOptions(options ...byte) []byte {
	return ip(lip4, rs4.Addr(), 17, padded(options...), udp(from4, to4, []byte("hello")))
}

// changed is a packet with some bytes changed.
func changed(p []byte, at int, bytes ...byte) []byte {
	p = append([]byte{}, p...)
	copy(p[at:], bytes)
	return p
}

func TestWhatIsBelievedAtTheSocket(t *testing.T) {
	good := uoaOf(client4)
	v6 := ip(lip6, rs6.Addr(), 60, nil, append(append([]byte{17, 2, 0x1e, 20}, uoaOf(client6)...), udp(from6, to6, []byte("hello"))...))
	tests := []struct {
		name   string
		packet []byte
		want   string
	}{
		{"UOA", withOptions(good...), "uoa_saved"},
		{"UOA of an IPv6 client", withOptions(uoaOf(client6)...), "uoa_saved"},
		{"behind NOPs", withOptions(append([]byte{1, 1, 1, 1}, good...)...), "uoa_saved"},
		{"behind another option", withOptions(append([]byte{7, 7, 4, 0, 0, 0, 0}, good...)...), "uoa_saved"},
		{"five of them", withOptions(append(append(append(append(good, good...), good...), good...), good...)...), "uoa_saved"},
		{"IPv6", v6, "uoa_saved"},
		{"NAT46", changed(v6, 48, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 1, 2, 3, 4), "uoa_saved"},
		{"an empty datagram", ip(lip4, rs4.Addr(), 17, good, udp(from4, to4, nil)), "uoa_saved"},

		{"no options", withOptions(), "uoa_none"},
		{"other options", withOptions(148, 4, 0, 0), "uoa_none"},
		{"behind the end", withOptions(append([]byte{1, 1, 1, 0}, good...)...), "uoa_none"},
		{"nested in another option", withOptions(append([]byte{30, 10}, good...)...), "uoa_none"},
		{"NOPs alone", withOptions(1, 1, 1, 1), "uoa_none"},
		{"forty NOPs", withOptions([]byte(strings.Repeat("\x01", 40))...), "uoa_none"},
		{"IPv6 without", ip(lip6, rs6.Addr(), 17, nil, udp(from6, to6, nil)), "uoa_none"},
		{"TCP", changed(withOptions(good...), 9, 6), ""},
		{"another's destination options", changed(v6, 42, 0x1f), ""},
		{"destination options before TCP", changed(v6, 40, 6), ""},
		{"longer destination options", changed(v6, 41, 3), ""},

		{"length 0", withOptions(31, 0, 0, 0), "uoa_malformed"},
		{"length 1", withOptions(31, 1, 0, 0), "uoa_malformed"},
		{"length of another option 0", withOptions(append([]byte{7, 0, 0, 0}, good...)...), "uoa_malformed"},
		{"no length", withOptions(1, 1, 1, 31), "uoa_malformed"},
		{"beyond the header", withOptions(31, 8, 21, 179), "uoa_malformed"},
		{"another option beyond the header", withOptions(7, 40, 0, 0), "uoa_malformed"},
		{"cut short by the packet", withOptions(good...)[:26], "uoa_malformed"},
		{"no UDP behind", withOptions(good...)[:34], "uoa_malformed"},
		{"a bad one before a good one", withOptions(append([]byte{31, 4, 1, 2}, good...)...), "uoa_malformed"},
		{"a header too short", changed(withOptions(), 0, 0x44), "uoa_malformed"},
		{"first fragment", changed(withOptions(good...), 6, 0x20, 0), "uoa_malformed"},
		{"later fragment", changed(withOptions(good...), 6, 0, 1), "uoa_malformed"},
		{"IPv6, length of the option", changed(v6, 45, 8), "uoa_malformed"},
		{"NAT46, a client that is no station", changed(v6, 48, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1), "uoa_malformed"},
		{"NAT46, no client", changed(v6, 48, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0), "uoa_malformed"},
		{"an IPv4 client in clothes in IPv4", withOptions(uoaOf(client46)...), "uoa_malformed"},

		{"a stranger", changed(withOptions(good...), 12, stranger4.AsSlice()...), "uoa_untrusted"},
		{"a stranger by IPv6", changed(v6, 8, stranger6.AsSlice()...), "uoa_untrusted"},
	}
	l := newLab(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got, _ := modelUOA(tt.packet, trusted); got != tt.want {
				t.Fatalf("the model says %q, want %q", got, tt.want)
			}
			l.checkUOA(t, tt.packet)
		})
	}
}

// TestWhoCanBeAClient: addresses and ports that no station has.
func TestWhoCanBeAClient(t *testing.T) {
	tests := []struct {
		client string
		want   string
	}{
		{"203.0.113.9:1", "uoa_saved"},
		{"240.0.0.1:65535", "uoa_saved"},
		{"169.254.1.1:5", "uoa_saved"},
		{"10.0.0.1:5", "uoa_saved"},
		{"203.0.113.9:0", "uoa_malformed"},
		{"0.0.0.0:5", "uoa_malformed"},
		{"0.1.2.3:5", "uoa_malformed"},
		{"127.0.0.1:5", "uoa_malformed"},
		{"127.255.255.254:5", "uoa_malformed"},
		{"224.0.0.1:5", "uoa_malformed"},
		{"239.255.255.255:5", "uoa_malformed"},
		{"255.255.255.255:5", "uoa_malformed"},
		{"[2001:db8::1]:5", "uoa_saved"},
		{"[fe80::1]:5", "uoa_saved"},
		{"[::2]:5", "uoa_saved"},
		{"[::]:5", "uoa_malformed"},
		{"[::1]:5", "uoa_malformed"},
		{"[ff02::1]:5", "uoa_malformed"},
		{"[::ffff:1.2.3.4]:5", "uoa_malformed"},
		{"[2001:db8::1]:0", "uoa_malformed"},
	}
	l := newLab(t)
	for _, tt := range tests {
		t.Run(tt.client, func(t *testing.T) {
			packet := withOptions(uoaOf(netip.MustParseAddrPort(tt.client))...)
			if got, _ := modelUOA(packet, trusted); got != tt.want {
				t.Fatalf("the model says %q, want %q", got, tt.want)
			}
			l.checkUOA(t, packet)
		})
	}
}

// TestEveryLength: an option of each kind and length, in lists of each length, cut
// off anywhere.
func TestEveryLength(t *testing.T) {
	l := newLab(t)
	for list := 4; list <= 40; list += 4 {
		for length := range 44 {
			for _, kind := range []byte{31, 7} {
				options := make([]byte, list)
				for i := range options {
					options[i] = byte(100 + i)
				}
				options[0], options[1] = kind, byte(length)
				p := ip(lip4, rs4.Addr(), 17, options, udp(from4, to4, []byte("hello")))
				l.checkUOA(t, p)
				if length == list {
					for n := range p {
						l.checkUOA(t, p[:n])
					}
				}
			}
		}
	}
}

func TestWhatIsTranslated(t *testing.T) {
	d4, d6 := udp(from4, to4, []byte("hello")), udp(from6, to6, []byte("hello"))
	v4 := func(header []byte) []byte { return ip(lip4, rs4.Addr(), 248, nil, append(header, d4...)) }
	good := func() []byte { return v4(oppOf(1, uoaOf(client4))) }
	long := func() []byte { return v4(oppOf(2, uoaOf(client6))) }
	v6 := func() []byte { return ip(lip6, rs6.Addr(), 248, nil, append(oppOf(2, uoaOf(client6)), d6...)) }
	options := func(n int) []byte {
		return ip(lip4, rs4.Addr(), 248, []byte(strings.Repeat("\x01", n)), append(oppOf(1, uoaOf(client4)), d4...))
	}
	tests := []struct {
		name   string
		packet []byte
		want   string
	}{
		{"IPv4", good(), "opp_ipv4"},
		{"NAT64", long(), "opp_ipv4"},
		{"NAT64 with the packet's version", changed(long(), 20, 0x10), "opp_ipv4"},
		{"reserved bits", changed(good(), 20, 0x1f), "opp_ipv4"},
		{"beside options", options(28), "opp_ipv4"},
		{"IPv6", v6(), "opp_ipv6"},
		{"IPv6 with version 1", changed(v6(), 40, 0x10), "opp_ipv6"},
		{"a wrong header checksum", changed(good(), 10, 1, 2), "opp_ipv4"},
		{"an option that names no client", changed(good(), 26, 0, 0), "opp_ipv4"},

		{"UDP", withOptions(), ""},
		{"no room in the header", options(32), "opp_malformed"},
		{"version 0", changed(good(), 20, 0x00), "opp_malformed"},
		{"version 3", changed(good(), 20, 0x30), "opp_malformed"},
		{"TCP behind", changed(good(), 21, 6), "opp_malformed"},
		{"another kind", changed(good(), 24, 30), "opp_malformed"},
		{"length of the header", changed(good(), 22, 0, 16), "opp_malformed"},
		{"length of the header, high byte", changed(good(), 22, 1, 12), "opp_malformed"},
		{"length of the option", changed(good(), 25, 20), "opp_malformed"},
		{"length of both", changed(good(), 22, 0, 24, 31, 20), "opp_malformed"}, // no room for UDP
		{"no UDP behind", changed(good()[:32], 2, 0, 32), "opp_malformed"},
		{"cut in the option", good()[:30], "opp_malformed"},
		{"cut in a long option", long()[:40], "opp_malformed"},
		{"cut in the header", good()[:23], "opp_malformed"},
		{"a header too short", changed(good(), 0, 0x44), "opp_malformed"},
		{"total length too short", changed(good(), 2, 0, 20), "opp_malformed"},
		{"NAT46", ip(lip6, rs6.Addr(), 248, nil, append(oppOf(2, uoaOf(client46)), d6...)), "opp_ipv6"},
		{"IPv6 with the short option", ip(lip6, rs6.Addr(), 248, nil, append(oppOf(1, uoaOf(client4)), d6...)), "opp_malformed"},
		{"IPv6 cut", v6()[:60], "opp_malformed"},
		{"IPv6 without UDP", changed(v6()[:64], 4, 0, 24), "opp_malformed"},

		{"first fragment", changed(good(), 6, 0x20, 0), "opp_fragment"},
		{"later fragment", changed(good(), 6, 0, 1), "opp_fragment"},
		{"a stranger", changed(good(), 12, stranger4.AsSlice()...), "opp_untrusted"},
		{"a stranger by IPv6", changed(v6(), 8, stranger6.AsSlice()...), "opp_untrusted"},
	}
	l := newLab(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got, _ := modelOPP(tt.packet, trusted); got != tt.want {
				t.Fatalf("the model says %q, want %q", got, tt.want)
			}
			l.checkOPP(t, tt.packet)
		})
	}
}

// TestEveryCut translates packets cut off anywhere.
func TestEveryCut(t *testing.T) {
	l := newLab(t)
	for _, p := range seedsOPP() {
		for n := range p {
			l.checkOPP(t, p[:n])
		}
	}
}

func seedsUOA() [][]byte {
	return [][]byte{
		withOptions(), withOptions(uoaOf(client4)...), withOptions(uoaOf(client6)...), withOptions(append([]byte{7, 7, 4, 0, 0, 0, 0}, uoaOf(client4)...)...),
		ip(lip6, rs6.Addr(), 60, nil, append(append([]byte{17, 2, 0x1e, 20}, uoaOf(client6)...), udp(from6, to6, nil)...)),
		ip(lip6, rs6.Addr(), 60, nil, append(append([]byte{17, 2, 0x1e, 20}, uoaOf(client46)...), udp(from6, to6, nil)...)),
	}
}

func seedsOPP() [][]byte {
	return [][]byte{
		opp(from4, to4, client4, []byte("hello")), oppDPVS(from4, to4, client6, []byte("hello")), opp(from6, to6, client6, []byte("hello")),
		ip(lip4, rs4.Addr(), 248, []byte{148, 4, 0, 0}, append(oppOf(1, uoaOf(client4)), udp(from4, to4, nil)...)),
	}
}

// mutate changes a few bytes, mostly to ones that mean something, or cuts.
func mutate(r *rand.Rand, p []byte) []byte {
	p = append([]byte{}, p...)
	telling := []byte{0, 1, 2, 4, 7, 8, 17, 20, 24, 31, 60, 248, 254, 255, 0x45, 0x4a, 0x4f}
	for range r.IntN(6) {
		i := r.IntN(len(p))
		if r.IntN(2) == 0 {
			i = r.IntN(min(len(p), 64))
		}
		p[i] = telling[r.IntN(len(telling))]
		if r.IntN(4) == 0 {
			p[i] = byte(r.Uint32())
		}
	}
	if r.IntN(5) == 0 {
		p = p[:r.IntN(len(p))]
	}
	return p
}

// TestAtRandom compares programs and model over packets that are nearly right.
func TestAtRandom(t *testing.T) {
	const rounds = 5000
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d", seed)
	l := newLab(t)
	for range rounds {
		l.checkUOA(t, mutate(r, seedsUOA()[r.IntN(len(seedsUOA()))]))
		l.checkOPP(t, mutate(r, seedsOPP()[r.IntN(len(seedsOPP()))]))
	}
}

func FuzzUOA(f *testing.F) {
	for _, s := range seedsUOA() {
		f.Add(s)
	}
	l := newLab(f)
	f.Fuzz(func(t *testing.T, packet []byte) {
		if len(packet) <= 1500 {
			l.checkUOA(t, packet)
		}
	})
}

func FuzzOPP(f *testing.F) {
	for _, s := range seedsOPP() {
		f.Add(s)
	}
	l := newLab(f)
	f.Fuzz(func(t *testing.T, packet []byte) {
		if len(packet) <= 1500 {
			l.checkOPP(t, packet)
		}
	})
}

// TestTOAAtRandom opens real connections whose third segment has options at random.
// The walk is UOA's; what is new is where it reads.
func TestTOAAtRandom(t *testing.T) {
	b := newBed(t)
	b.agent(t, b.options(), lacks{})
	server := b.peerServer(t, 8001, "accept")
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 1))
	t.Logf("seed %d", seed)
	lists := [][]byte{
		toaOf(client4), toaOf(client6), append([]byte{1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0}, toaOf(client4)...),
		append(toaOf(client4), toaOf(client6)...), append([]byte{5, 10, 1, 2, 3, 4, 5, 6, 7, 8}, toaOf(client6)...),
	}
	seen := map[verdict]int{}
	for i := range 400 {
		options := append([]byte{}, lists[r.IntN(len(lists))]...)
		for range r.IntN(3) {
			options[r.IntN(len(options))] = []byte{0, 1, 2, 4, 8, 20, 40, 254, 255}[r.IntN(9)]
		}
		options = padded(options...)
		client, v := modelFind(options, 254, false)
		seen[v]++
		from := b.director(lip4)
		before := b.counts(t)
		// Kernels that know MD5 signatures drop a segment whose list falls apart, even
		// behind a good TOA; the data then completes the handshake.
		c := connect(t, b.wire, from, netip.AddrPortFrom(rs4.Addr(), 8001), handshake{third: options})
		got := fields(server.line(t, "peer"))["accept"]
		d := since(before, b.counts(t))
		if !intact(options) && d["toa_none"] == 1 {
			v = nothing
		}
		want, counted := from.String(), "toa_none"
		switch v {
		case nothing:
		case malformed:
			counted = "toa_malformed"
		case found:
			counted = "toa_ack"
			if client.Addr().Is4() {
				want = client.String()
			}
		}
		if got != want {
			t.Fatalf("connection %d with options %x is shown from %s, want %s", i, options, got, want)
		}
		if d[counted] != 1 {
			t.Fatalf("connection %d with options %x counted %v, want %s", i, options, d, counted)
		}
		c.reset(t)
	}
	if b.counts(t)["toa_malformed"] == 0 {
		t.Error("no malformed option came as far as the program")
	}
	if seen[nothing] == 0 || seen[found] == 0 || seen[malformed] == 0 {
		t.Errorf("too little was tried: %v", seen)
	}
}

// intact reports whether a list of options can be walked to its end.
func intact(options []byte) bool {
	for len(options) > 0 && options[0] != 0 {
		if options[0] == 1 {
			options = options[1:]
			continue
		}
		if len(options) < 2 || options[1] < 2 || int(options[1]) > len(options) {
			return false
		}
		options = options[options[1]:]
	}
	return true
}

// TestModelCanFail: a model that is wrong is found out at once.
func TestModelCanFail(t *testing.T) {
	if _, v := modelFind([]byte{31, 8, 0, 1, 1, 2, 3}, 31, false); v != malformed {
		t.Errorf("the model finds %q in an option that is cut, want %q", v, malformed)
	}
	a, v := modelFind(append([]byte{1}, uoaOf(client4)...), 31, false)
	if v != found || a != client4 {
		t.Errorf("the model finds %s, %s", a, v)
	}
	// An independent look at what the translator is said to make.
	_, out := modelOPP(opp(from4, to4, client4, []byte("hello")), trusted)
	if !rightChecksum(out) || out[9] != 17 || int(binary.BigEndian.Uint16(out[2:])) != len(out) {
		t.Errorf("the model makes %s", fmt.Sprintf("%x", out))
	}
}

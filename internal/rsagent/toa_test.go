package rsagent

import (
	"fmt"
	"maps"
	"net/netip"
	"testing"
)

// TestTOAShowsTheClient is the table of who asks how, and where TOA is.
func TestTOAShowsTheClient(t *testing.T) {
	const (
		lip   = "LIP" // the director's address with this connection's port
		none  = ""
		c4    = "203.0.113.9:5555"
		c4in6 = "[::ffff:203.0.113.9]:5555"
		c6    = "[2001:db8::9]:6666"
	)
	miss := unknown(t)
	t4, t6 := toaOf(client4), toaOf(client6)
	// Options of ordinary segments, to have TOA among others.
	mss := []byte{2, 4, 5, 0xb4}
	stamps := []byte{1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0}
	both := func(o []byte) handshake { return handshake{syn: mss, third: o, data: o} }
	tests := []struct {
		name   string
		server []string // words of testdata/peer.c
		from   netip.Addr
		h      handshake
		accept string // what accept and getpeername and SO_PEERNAME show
		nat64  string
		counts map[string]uint64
		sysctl [2]string
	}{
		{name: "accept", server: []string{"accept"}, from: lip4, h: both(t4), accept: c4, nat64: miss, counts: map[string]uint64{"toa_ack": 1, "peer_client": 3, "nat64_miss": 1}},
		{name: "accept4", server: []string{"accept4"}, from: lip4, h: both(t4), accept: c4, nat64: miss},
		{name: "io_uring accept", server: []string{"uring"}, from: lip4, h: both(t4), accept: c4, nat64: miss},
		{name: "accept without address, getpeername later", server: []string{"bare"}, from: lip4, h: both(t4), accept: c4, nat64: miss},
		{name: "v4 to a [::] listener", server: []string{"v6"}, from: lip4, h: both(t4), accept: c4in6, nat64: miss},
		{name: "v6", server: []string{"v6"}, from: lip6, h: both(t6), accept: c6, nat64: miss, counts: map[string]uint64{"toa_ack": 1, "toa_ipv6": 1, "peer_client": 3, "nat64_miss": 1}},
		{name: "v6, TOA on the data alone, asked after reading", server: []string{"bare", "read", "v6"}, from: lip6, h: handshake{syn: mss, data: t6}, accept: c6, nat64: miss, counts: map[string]uint64{"toa_none": 1, "toa_late": 1, "toa_ipv6": 1, "peer_client": 2, "nat64_miss": 1}},
		{name: "NAT46", server: []string{"v6"}, from: lip6, h: both(t4), accept: c4in6, nat64: miss, counts: map[string]uint64{"toa_ack": 1, "toa_nat46": 1, "peer_client": 3, "nat64_miss": 1}},
		{name: "NAT46, SYN cookies", server: []string{"v6"}, from: lip6, h: both(t4), accept: c4in6, nat64: miss, sysctl: [2]string{"ipv4/tcp_syncookies", "2"}},
		{name: "NAT46, the long option is not TOA's", server: []string{"v6"}, from: lip6, h: both(toaOf(client46)), accept: lip, nat64: miss, counts: map[string]uint64{"toa_malformed": 1, "peer_none": 3, "nat64_miss": 1}},
		{name: "NAT64 to an AF_INET listener", server: []string{"accept"}, from: lip4, h: both(t6), accept: lip, nat64: c6 + "/20", counts: map[string]uint64{"toa_ack": 1, "toa_nat64": 1, "peer_family": 3, "nat64_hit": 1}},
		{name: "NAT64 to a [::] listener", server: []string{"v6"}, from: lip4, h: both(t6), accept: c6, nat64: miss, counts: map[string]uint64{"toa_ack": 1, "toa_nat64": 1, "peer_client": 3, "nat64_miss": 1}},
		{name: "reuseport", server: []string{"accept4", "reuseport"}, from: lip4, h: both(t4), accept: c4, nat64: miss},
		{name: "among other options", server: []string{"accept"}, from: lip4, h: handshake{syn: append(mss, stamps...), third: append(append([]byte{}, stamps...), t4...)}, accept: c4, nat64: miss},
		{name: "deferred accept, TOA on the data alone", server: []string{"accept", "defer"}, from: lip4, h: handshake{syn: mss, data: t4}, accept: c4, nat64: miss},
		{name: "third ACK lost, TOA on the data", server: []string{"accept"}, from: lip4, h: handshake{syn: mss, data: t4, noThird: true}, accept: c4, nat64: miss},
		{name: "SYN cookies", server: []string{"accept"}, from: lip4, h: both(t4), accept: c4, nat64: miss, sysctl: [2]string{"ipv4/tcp_syncookies", "2"}},
		{name: "fast open, TOA on the SYN", server: []string{"accept", "fastopen"}, from: lip4, h: handshake{syn: append(append(append([]byte{}, t4...), mss...), 34, 2), synData: true}, accept: c4, nat64: miss, sysctl: [2]string{"ipv4/tcp_fastopen", "514"}},
		{name: "MPTCP", server: []string{"accept", "mptcp"}, from: lip4, h: handshake{syn: mss, third: t4, data: t4, mptcp: true, noData: true}, accept: c4, counts: map[string]uint64{"toa_ack": 1, "toa_mptcp": 1, "peer_client": 3, "nat64_miss": 1}},
		{name: "plain TCP to an MPTCP listener", server: []string{"accept", "mptcp"}, from: lip4, h: both(t4), accept: c4},
		{name: "TOA on the data alone, asked after reading", server: []string{"bare", "read"}, from: lip4, h: handshake{syn: mss, data: t4}, accept: c4, nat64: miss, counts: map[string]uint64{"toa_none": 1, "toa_late": 1, "peer_client": 2, "nat64_miss": 1}},

		{name: "no TOA", server: []string{"accept"}, from: lip4, h: handshake{syn: mss}, accept: lip, nat64: miss, counts: map[string]uint64{"toa_none": 1, "peer_none": 3, "nat64_miss": 1}},
		{name: "a stranger, v4", server: []string{"accept"}, from: stranger4, h: both(t4), accept: lip, nat64: miss, counts: map[string]uint64{"toa_untrusted": 1, "peer_none": 3, "nat64_miss": 1}},
		{name: "a stranger, v6", server: []string{"v6"}, from: stranger6, h: both(t6), accept: lip, nat64: miss, counts: map[string]uint64{"toa_untrusted": 1, "peer_none": 3, "nat64_miss": 1}},
		{name: "a stranger, v4 to [::]", server: []string{"v6"}, from: stranger4, h: both(t4), accept: lip, nat64: miss, counts: map[string]uint64{"toa_untrusted": 1, "peer_none": 3, "nat64_miss": 1}},
		{name: "a stranger, late", server: []string{"bare", "read"}, from: stranger4, h: handshake{syn: mss, data: t4}, accept: lip, nat64: miss, counts: map[string]uint64{"toa_none": 1, "peer_none": 2, "nat64_miss": 1}},
		{name: "TOA on the SYN alone", server: []string{"accept"}, from: lip4, h: handshake{syn: append(append([]byte{}, t4...), mss...)}, accept: lip, nat64: miss, counts: map[string]uint64{"toa_none": 1, "peer_none": 3, "nat64_miss": 1}},
		{name: "port 0", server: []string{"accept"}, from: lip4, h: both(toaOf(netip.AddrPortFrom(client4.Addr(), 0))), accept: lip, nat64: miss, counts: map[string]uint64{"toa_malformed": 1, "peer_none": 3, "nat64_miss": 1}},
		{name: "a bad TOA before a good one", server: []string{"accept"}, from: lip4, h: both(append([]byte{254, 4, 1, 2}, t4...)), accept: lip, nat64: miss, counts: map[string]uint64{"toa_malformed": 1, "peer_none": 3, "nat64_miss": 1}},
		{name: "nested in another option", server: []string{"accept"}, from: lip4, h: both(append([]byte{253, 10}, t4...)), accept: lip, nat64: miss, counts: map[string]uint64{"toa_none": 1, "peer_none": 3, "nat64_miss": 1}},
		{name: "behind the end of options", server: []string{"accept"}, from: lip4, h: both(append([]byte{1, 1, 1, 0}, t4...)), accept: lip, nat64: miss, counts: map[string]uint64{"toa_none": 1, "peer_none": 3, "nat64_miss": 1}},
	}
	b := newBed(t)
	b.agent(t, b.options(func(o *Options) { o.NAT64 = true }), lacks{})
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.sysctl[0] != "" {
				b.setSysctl(t, tt.sysctl[0], tt.sysctl[1])
			}
			if tt.h.mptcp && !here(t).mptcp {
				tt.accept, tt.counts = lip, map[string]uint64{"toa_ack": 1, "peer_none": 3, "nat64_miss": 1}
			}
			port := 8000 + i
			server := b.peerServer(t, port, tt.server...)
			from, to := b.director(tt.from), rs4
			if tt.from.Is6() {
				to = rs6
			}
			before := b.counts(t)
			c := connect(t, b.wire, from, netip.AddrPortFrom(to.Addr(), uint16(port)), tt.h)
			got := fields(server.line(t, "peer"))
			c.reset(t)
			want := tt.accept
			if want == lip {
				want = from.String()
				if tt.from.Is4() && tt.server[0] == "v6" {
					want = netip.AddrPortFrom(netip.AddrFrom16(tt.from.As16()), from.Port()).String()
				}
			}
			for _, how := range []string{"accept", "getpeername", "peername"} {
				if shown, asked := got[how]; asked && shown != want {
					t.Errorf("%s shows %s, want %s", how, shown, want)
				}
			}
			if got["getpeername"] == "" || got["peername"] == "" {
				t.Errorf("the server said only %v", got)
			}
			if tt.nat64 != none && got["nat64"] != tt.nat64 {
				t.Errorf("getsockopt 4096 says %s, want %s", got["nat64"], tt.nat64)
			}
			if d := since(before, b.counts(t)); tt.counts != nil && !maps.Equal(d, tt.counts) {
				t.Errorf("counted %v, want %v", d, tt.counts)
			}
		})
	}
}

// setSysctl sets a value of the real server until the test ends.
func (b *bed) setSysctl(t *testing.T, key, value string) {
	t.Helper()
	old := b.run(t, "cat", "/proc/sys/net/"+key)
	if err := b.rs.WriteSysctl(key, value); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.rs.WriteSysctl(key, old); err != nil {
			t.Error(err)
		}
	})
}

// TestTOAInGo shows Go's own servers the client: one listener, one on [::], several
// on one port, and MPTCP, which is Go's default.
func TestTOAInGo(t *testing.T) {
	tests := []struct {
		name   string
		server []string
		from   netip.Addr
		client netip.AddrPort
		want   string
	}{
		{"AF_INET", []string{"tcp4", "0.0.0.0:8080", "1"}, lip4, client4, "203.0.113.9:5555"},
		{"v4 to [::]", []string{"tcp", "[::]:8080", "1"}, lip4, client4, "203.0.113.9:5555"},
		{"v6", []string{"tcp6", "[::]:8080", "1"}, lip6, client6, "[2001:db8::9]:6666"},
		{"NAT64 to [::]", []string{"tcp", "[::]:8080", "1"}, lip4, client6, "[2001:db8::9]:6666"},
		{"NAT46", []string{"tcp", "[::]:8080", "1"}, lip6, client4, "203.0.113.9:5555"},
		{"reuseport", []string{"tcp4", "0.0.0.0:8080", "4"}, lip4, client4, "203.0.113.9:5555"},
		{"MPTCP listener, TCP client", []string{"tcp", "[::]:8080", "1", "mptcp"}, lip4, client4, "203.0.113.9:5555"},
	}
	b := newBed(t)
	b.agent(t, b.options(), lacks{})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			server := b.goServer(t, roleTCP, tt.server...)
			to := netip.AddrPortFrom(rs4.Addr(), 8080)
			if tt.from.Is6() {
				to = netip.AddrPortFrom(rs6.Addr(), 8080)
			}
			// Each of several listeners has its turn.
			for i := range 8 {
				client := netip.AddrPortFrom(tt.client.Addr(), tt.client.Port()+uint16(i))
				c := connect(t, b.wire, b.director(tt.from), to, handshake{third: toaOf(client), data: toaOf(client)})
				want := fmt.Sprintf("peer remote=%s", netip.AddrPortFrom(client.Addr(), client.Port()))
				if got := server.line(t, "peer"); got != want {
					t.Errorf("the server said %q, want %q", got, want)
				}
				c.reset(t)
			}
			server.Kill()
		})
	}
}

// TestTOAOnTheSYN is for directors that put TOA nowhere else: listeners have to keep
// the SYN, so those that listened before the agent came can't know.
func TestTOAOnTheSYN(t *testing.T) {
	b := newBed(t)
	older := b.peerServer(t, 8001, "accept")
	b.agent(t, b.options(func(o *Options) { o.SaveSYN = true }), lacks{})
	younger := b.peerServer(t, 8002, "accept")
	h := handshake{syn: toaOf(client4)}

	from := b.director(lip4)
	c := connect(t, b.wire, from, netip.AddrPortFrom(rs4.Addr(), 8002), h)
	if got := fields(younger.line(t, "peer"))["accept"]; got != client4.String() {
		t.Errorf("the listener that came after the agent shows %s, want %s", got, client4)
	}
	c.reset(t)
	from = b.director(lip4)
	connect(t, b.wire, from, netip.AddrPortFrom(rs4.Addr(), 8001), h)
	if got := fields(older.line(t, "peer"))["accept"]; got != from.String() {
		t.Errorf("the listener that came before the agent shows %s, want %s", got, from)
	}
	if n := b.counts(t); n["toa_syn"] != 1 || n["toa_none"] != 1 {
		t.Errorf("counted %v, want one toa_syn and one toa_none", n)
	}
}

// TestListenersOlderThanTheAgent need nothing when TOA is where DPVS puts it.
func TestListenersOlderThanTheAgent(t *testing.T) {
	b := newBed(t)
	server := b.peerServer(t, 8001, "accept")
	b.agent(t, b.options(), lacks{})
	connect(t, b.wire, b.director(lip4), netip.AddrPortFrom(rs4.Addr(), 8001), handshake{third: toaOf(client4)})
	if got := fields(server.line(t, "peer"))["accept"]; got != client4.String() {
		t.Errorf("shown %s, want %s", got, client4)
	}
}

// TestNoStaleClient: the same director's address and port, first with TOA, then
// without.
func TestNoStaleClient(t *testing.T) {
	b := newBed(t)
	b.agent(t, b.options(), lacks{})
	server := b.peerServer(t, 8001, "accept")
	from, to := b.director(lip4), netip.AddrPortFrom(rs4.Addr(), 8001)
	c := connect(t, b.wire, from, to, handshake{third: toaOf(client4)})
	if got := fields(server.line(t, "peer"))["accept"]; got != client4.String() {
		t.Fatalf("shown %s, want %s", got, client4)
	}
	c.reset(t)
	connect(t, b.wire, from, to, handshake{})
	if got := fields(server.line(t, "peer"))["accept"]; got != from.String() {
		t.Errorf("shown %s for a connection without TOA, want %s", got, from)
	}
}

// TestOtherCgroupsAreLeftAlone: a server outside of the folder sees what Linux says.
func TestOtherCgroupsAreLeftAlone(t *testing.T) {
	b := newBed(t)
	b.agent(t, b.options(), lacks{})
	inside := b.group
	b.group = b.newGroup(t, "outside")
	server := b.peerServer(t, 8001, "accept")
	b.group = inside
	from := b.director(lip4)
	connect(t, b.wire, from, netip.AddrPortFrom(rs4.Addr(), 8001), handshake{third: toaOf(client4)})
	if got := fields(server.line(t, "peer"))["accept"]; got != from.String() {
		t.Errorf("shown %s outside of the cgroup, want %s", got, from)
	}
	if c := b.counts(t); len(c) != 0 {
		t.Errorf("counted %v", c)
	}
}

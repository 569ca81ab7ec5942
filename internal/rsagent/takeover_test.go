package rsagent

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// end ends an agent in a way, and waits until it is gone.
func (p *program) end(t *testing.T, sig syscall.Signal) {
	t.Helper()
	p.Signal(sig)
	select {
	case <-p.Done():
	case <-time.After(patience):
		t.Fatalf("the agent did not end; it said:\n%s", p.text())
	}
}

// TestTakeOver: connections and UDP flows of before are known after, whatever ends
// the agent; between agents too; and counters go on.
func TestTakeOver(t *testing.T) {
	tests := []struct {
		name    string
		sig     syscall.Signal
		version string // of the next
	}{
		{"restart", syscall.SIGTERM, "test"},
		{"kill -9", syscall.SIGKILL, "test"},
		{"upgrade", syscall.SIGTERM, "test-next"},
		{"upgrade after kill -9", syscall.SIGKILL, "test-next"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBed(t)
			first := b.agent(t, b.options(withUOA(Getsockopt)), lacks{})
			tcpServer := b.peerServer(t, 8001, "bare", "read")
			udpServer := b.datagramServer(t, 9000)
			to := netip.AddrPortFrom(rs4.Addr(), 9000)
			flow := b.director(lip4)
			b.wire.send(t, opp(flow, to, client4, []byte("1")))
			udpServer.line(t, "from")
			// A connection that the server accepts now and asks about later: it reads first.
			c := connect(t, b.wire, b.director(lip4), netip.AddrPortFrom(rs4.Addr(), 8001), handshake{third: toaOf(client4), noData: true})
			eventually(t, "the connection's count", func() bool { return b.counts(t)["toa_ack"] == 1 })
			before := b.status(t)
			if !before.Running || before.PID != first.PID() {
				t.Errorf("status says running %t, pid %d, want pid %d", before.Running, before.PID, first.PID())
			}
			first.end(t, tt.sig)

			// Without an agent everything goes on: old flows, and new ones.
			if s := b.status(t); s.Running || len(s.Hooks) != len(before.Hooks) || len(s.Devices) != 1 {
				t.Errorf("between two agents: running %t, hooks %v, devices %v", s.Running, s.Hooks, s.Devices)
			}
			between := b.director(lip4)
			b.wire.send(t, opp(between, to, client4, []byte("2")))
			if got := fields(udpServer.line(t, "from"))["client"]; got != client4.String() {
				t.Errorf("between two agents getsockopt says %s, want %s", got, client4)
			}

			o := b.options(withUOA(Getsockopt), func(o *Options) { o.Version = tt.version })
			b.agent(t, o, lacks{})
			c.segment(t, ack|psh, nil, request)
			if got := fields(tcpServer.line(t, "peer"))["getpeername"]; got != client4.String() {
				t.Errorf("a connection of before is shown from %s, want %s", got, client4)
			}
			for _, f := range []netip.AddrPort{flow, between} {
				b.wire.send(t, plain(f, to, client4, []byte("3")))
				if got := fields(udpServer.line(t, "from"))["client"]; got != client4.String() {
					t.Errorf("a flow of before is %s, want %s", got, client4)
				}
			}
			after := b.status(t)
			if after.Version != tt.version || !after.Since.Equal(before.Since) {
				t.Errorf("version %s since %v, want %s since %v", after.Version, after.Since, tt.version, before.Since)
			}
			if n := b.counts(t); n["toa_ack"] != 1 || n["uoa_saved"] != 2 || n["uoa_asked_hit"] != 4 {
				t.Errorf("counters did not go on: %v", n)
			}
			for i, h := range after.Hooks {
				if h.Program == before.Hooks[i].Program {
					t.Errorf("%s still runs the program of before", h.Name)
				}
			}
		})
	}
}

// TestTakeOverLeavesNoGap opens connections all the time while agents come and go.
func TestTakeOverLeavesNoGap(t *testing.T) {
	b := newBed(t)
	agent := b.agent(t, b.options(), lacks{})
	server := b.peerServer(t, 8001, "accept4")
	to := netip.AddrPortFrom(rs4.Addr(), 8001)
	connections := 0
	for round := range 5 {
		// The next agent starts while connections come.
		if round%2 == 0 {
			agent.end(t, syscall.SIGKILL)
		} else {
			agent.end(t, syscall.SIGTERM)
		}
		agent = b.tryAgent(t, b.options(), lacks{}, nil)
		ready := make(chan struct{})
		go func() {
			defer close(ready)
			for l := range agent.lines {
				if strings.Contains(l, "weir-rs is ready") {
					return
				}
			}
		}()
		for running := true; running; {
			select {
			case <-ready:
				running = false // and one more
			default:
			}
			connections++
			client := netip.AddrPortFrom(client4.Addr(), uint16(1000+connections))
			c := connect(t, b.wire, b.director(lip4), to, handshake{third: toaOf(client)})
			if got := fields(server.line(t, "peer"))["accept"]; got != client.String() {
				t.Fatalf("round %d, connection %d: shown %s, want %s", round, connections, got, client)
			}
			c.reset(t)
		}
	}
	if connections < 10 {
		t.Errorf("only %d connections came while agents came", connections)
	}
	if n := b.counts(t); n["toa_ack"] != uint64(connections) {
		t.Errorf("%d connections were counted, want %d", n["toa_ack"], connections)
	}
}

// TestTrustChangesInPlace: a restart trusts others, and forgets UDP flows of those
// that are not trusted any more.
func TestTrustChangesInPlace(t *testing.T) {
	b := newBed(t)
	first := b.agent(t, b.options(withUOA(Getsockopt)), lacks{})
	server := b.datagramServer(t, 9000)
	to := netip.AddrPortFrom(rs4.Addr(), 9000)
	flow := b.director(lip4)
	b.wire.send(t, ipo(flow, to, client4, []byte("1")))
	server.line(t, "from")
	first.end(t, syscall.SIGTERM)

	only := netip.MustParsePrefix("192.168.100.64/28")
	b.agent(t, b.options(withUOA(Getsockopt), func(o *Options) { o.Trust = []netip.Prefix{only} }), lacks{})
	if s := b.status(t); !slices.Equal(s.Trust, []string{only.String()}) || s.Flows != 0 {
		t.Errorf("trusted are %v and %d flows known, want %s alone and no flow of those of before", s.Trust, s.Flows, only)
	}
	for _, tt := range []struct {
		from netip.AddrPort
		want string
	}{{b.director(stranger4), client4.String()}, {b.director(lip4), unknown(t)}} {
		b.wire.send(t, ipo(tt.from, to, client4, []byte("2")))
		if got := fields(server.line(t, "from"))["client"]; got != tt.want {
			t.Errorf("a datagram of %s: getsockopt says %s, want %s", tt.from, got, tt.want)
		}
	}
}

// TestModesChangeInPlace goes through all modes and looks at what is left of each.
func TestModesChangeInPlace(t *testing.T) {
	always := []string{"getpeername4", "getpeername6", "sockops"}
	steps := []struct {
		mode  Mode
		nat64 bool
		hooks []string
		maps  []string
		opp   int
	}{
		{Off, false, nil, nil, 0},
		{Off, true, []string{"getsockopt"}, nil, 0},
		{Getsockopt, false, []string{"getsockopt", "ingress"}, []string{"last_peers", "uoa_clients"}, 1},
		{Transparent, false, []string{"connect4", "connect6", "ingress", "recvmsg4", "recvmsg6", "sendmsg4", "sendmsg6"}, []string{"uoa_clients", "uoa_returns"}, 1},
		{Getsockopt, false, []string{"getsockopt", "ingress"}, []string{"last_peers", "uoa_clients"}, 1},
		{Off, false, nil, nil, 0},
	}
	b := newBed(t)
	for i, s := range steps {
		agent := b.agent(t, b.options(withUOA(s.mode), func(o *Options) { o.NAT64 = s.nat64 }), lacks{})
		st := b.status(t)
		var hooks []string
		for _, h := range st.Hooks {
			hooks = append(hooks, h.Name)
		}
		slices.Sort(hooks)
		wanted := append(slices.Clone(always), s.hooks...)
		if s.mode == Getsockopt && !here(t).registers {
			wanted = append(wanted, "recvmsg4", "recvmsg6")
		}
		want := slices.Sorted(slices.Values(wanted))
		if !slices.Equal(hooks, want) {
			t.Errorf("step %d, %s: hooks %v, want %v", i, s.mode, hooks, want)
		}
		names, err := pins(filepath.Join(b.pin, "maps"))
		if err != nil {
			t.Fatal(err)
		}
		wantMaps := slices.Sorted(slices.Values(append([]string{"counters", "toa_clients", "trusted"}, s.maps...)))
		slices.Sort(names)
		if !slices.Equal(names, wantMaps) {
			t.Errorf("step %d, %s: maps %v, want %v", i, s.mode, names, wantMaps)
		}
		if len(st.Devices) != s.opp {
			t.Errorf("step %d, %s: devices %v, want %d", i, s.mode, st.Devices, s.opp)
		}
		agent.end(t, syscall.SIGTERM)
	}
}

// TestTheCgroupChangesInPlace: the next agent serves another folder.
func TestTheCgroupChangesInPlace(t *testing.T) {
	b := newBed(t)
	b.agent(t, b.options(), lacks{}).end(t, syscall.SIGTERM)
	b.group = b.newGroup(t, "other")
	b.agent(t, b.options(), lacks{})
	server := b.peerServer(t, 8001, "accept")
	connect(t, b.wire, b.director(lip4), netip.AddrPortFrom(rs4.Addr(), 8001), handshake{third: toaOf(client4)})
	if got := fields(server.line(t, "peer"))["accept"]; got != client4.String() {
		t.Errorf("shown %s in the other folder, want %s", got, client4)
	}
	if s := b.status(t); s.Cgroup != b.group.Dir() || len(s.Complaints) > 0 {
		t.Errorf("status says cgroup %s, complaints %v", s.Cgroup, s.Complaints)
	}
}

// TestACgroupThatIsGone is noticed, and the next agent mends it.
func TestACgroupThatIsGone(t *testing.T) {
	b := newBed(t)
	kept := b.group
	b.group = b.newGroup(t, "gone")
	b.agent(t, b.options(), lacks{}).end(t, syscall.SIGTERM)
	if err := os.Remove(b.group.Dir()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the complaint", func() bool { return len(b.status(t).Complaints) == 3 })
	if c := b.status(t).Complaints[0]; !strings.Contains(c, "is gone; start weir-rs again") {
		t.Errorf("status complains %q", c)
	}
	b.group = kept
	b.agent(t, b.options(), lacks{})
	if s := b.status(t); len(s.Hooks) != 3 || len(s.Complaints) != 0 {
		t.Errorf("after a new start: hooks %v, complaints %v", s.Hooks, s.Complaints)
	}
}

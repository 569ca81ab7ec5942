package service

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"weir/internal/flow"
	"weir/internal/lb/laddr"
	"weir/internal/lb/sched"
	"weir/internal/spec"
)

func key(proto spec.Proto, ip [4]byte, port uint16) spec.ServiceKey {
	return spec.ServiceKey{Proto: proto, Virtual: netip.AddrPortFrom(netip.AddrFrom4(ip), port)}
}

// FuzzTable holds the table to a map. Six bytes of input are a service: protocol
// and few different addresses and ports, so that many share them, and a local address.
func FuzzTable(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{0, 1, 0, 80, 1, 0, 1, 1, 0, 80, 1, 9})
	many := make([]byte, 6*400)
	for i := range many {
		many[i] = byte(i * 7)
	}
	f.Add(many)
	f.Add([]byte{2, 1, 0, 80, 1, 0, 0, 1, 0, 80, 0, 0, 3, 1, 0, 80, 1, 1})
	f.Fuzz(func(t *testing.T, in []byte) {
		services := map[spec.ServiceKey]*Service{}
		vips, locals := map[netip.Addr]bool{}, map[netip.Addr]bool{}
		var all []*Service
		for ; len(in) >= 6 && len(all) < 1000; in = in[6:] {
			proto := spec.TCP
			if in[0]&1 != 0 {
				proto = spec.UDP
			}
			k := key(proto, [4]byte{10, 0, in[0] >> 4, in[1]}, binary.BigEndian.Uint16(in[2:])%300)
			if in[0]&2 != 0 { // the same in IPv6
				k.Virtual = netip.AddrPortFrom(netip.AddrFrom16([16]byte{0: 10, 14: in[0] >> 4, 15: in[1]}), k.Virtual.Port())
			}
			if services[k] != nil {
				continue
			}
			local := netip.AddrFrom4([4]byte{10, 0, in[4] >> 6, in[5]})
			if in[4]&1 != 0 {
				local = netip.AddrFrom16([16]byte{0: 10, 14: in[4] >> 6, 15: in[5]})
			}
			s := &Service{Key: k}
			wire := flow.AddrOf(local)
			s.Locals[Family(wire)] = []*laddr.Address{{IP: local, Wire: wire}}
			services[k] = s
			vips[k.Virtual.Addr()], locals[local] = true, true
			all = append(all, s)
		}
		table := NewTable(all)
		if got := table.All(); len(got) != len(all) {
			t.Fatalf("%d services of %d", len(got), len(all))
		}
		look := func(k spec.ServiceKey) {
			ip := k.Virtual.Addr()
			if got := table.Lookup(uint8(k.Proto), flow.AddrOf(ip), WirePort(k.Virtual.Port())); got != services[k] {
				t.Fatalf("%s: found %v, want %v", k, got, services[k])
			}
			if got := table.HasVIP(flow.AddrOf(ip)); got != vips[ip] {
				t.Fatalf("%s is a VIP: %v", ip, got)
			}
			if got := table.HasLocal(flow.AddrOf(ip)); got != locals[ip] {
				t.Fatalf("%s is a local address: %v", ip, got)
			}
		}
		for _, s := range all {
			look(s.Key)
			// Neighbours in each part of the key.
			p := s.Key.Virtual
			look(spec.ServiceKey{Proto: s.Key.Proto ^ spec.TCP ^ spec.UDP, Virtual: p})
			look(spec.ServiceKey{Proto: s.Key.Proto, Virtual: netip.AddrPortFrom(p.Addr(), p.Port()+1)})
			look(spec.ServiceKey{Proto: s.Key.Proto, Virtual: netip.AddrPortFrom(p.Addr().Next(), p.Port())})
			look(spec.ServiceKey{Proto: s.Key.Proto, Virtual: netip.AddrPortFrom(append(s.Locals[0], s.Locals[1]...)[0].IP, p.Port())})
		}
		look(key(spec.TCP, [4]byte{0, 0, 0, 0}, 0))
		look(key(spec.TCP, [4]byte{255, 255, 255, 255}, 65535))
	})
}

func TestWirePort(t *testing.T) {
	if w := WirePort(80); w != 0x5000 || WirePort(w) != 80 {
		t.Errorf("port 80 is %#x on the wire", w)
	}
}

func TestPick(t *testing.T) {
	s := &Service{State: &State{}, GCD: 1}
	k := &sched.Key{Client: sched.IPv4([4]byte{1, 2, 3, 4})}
	if d, _ := s.Pick(k); d != nil {
		t.Error("a service without real servers picked one")
	}
	a, b := &Dest{Index: 1}, &Dest{Index: 2}
	s.Dests = []*Dest{a, b}
	s.Candidates = []sched.Candidate{{Weight: 1, Load: &a.Load}, {Weight: 1, Load: &b.Load}}
	s.Modes = []spec.Forward{spec.FullNAT, spec.Tunnel}
	for i, want := range []*Dest{a, b, a} {
		if got, mode := s.Pick(k); got != want || mode != s.Modes[i%2] {
			t.Errorf("picked %v, %v", got, mode)
		}
	}
	s.Table = sched.Build(sched.Config{Kind: sched.MH, Servers: []sched.Server{{Weight: 0}, {Weight: 1}}}, nil)
	for range 2 {
		if got, _ := s.Pick(k); got != b {
			t.Errorf("by a table picked %v", got)
		}
	}
	s.Candidates[0].Weight, s.Candidates[1].Weight = 0, 0
	if d, _ := s.Pick(k); d != nil {
		t.Error("a server of weight 0 was picked by a table")
	}
	s.Table = nil
	if d, _ := s.Pick(k); d != nil {
		t.Error("a server of weight 0 was picked")
	}
}

func TestLookupAllocatesNothing(t *testing.T) {
	k := key(spec.TCP, [4]byte{10, 0, 0, 1}, 80)
	table := NewTable([]*Service{{Key: k}})
	w, p := flow.AddrOf(k.Virtual.Addr()), WirePort(80)
	if n := testing.AllocsPerRun(100, func() { _ = table.Lookup(6, w, p); _ = table.HasVIP(w); _ = table.HasLocal(w) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

package ip

import (
	"weir/internal/packet"
	"weir/internal/port"
	"weir/internal/spec"
	"weir/internal/wire"
)

// What is not Weir's may be the host kernel's, which has a twin of each port that it
// receives on.

// twin reports whether the port that p came in on has a Linux twin that is up.
func (s *Stack) twin(p *packet.Packet) bool { return s.ports[p.In%port.Max].Twin }

// ospf takes OSPF out of the walk before any stage sees it: routers speak it with
// Linux, whatever addresses they use.
func (s *Stack) ospf(p *packet.Packet) packet.Verdict {
	if s.twin(p) {
		return p.PuntFor(packet.IPNoListener)
	}
	return packet.Continue
}

// carrier is the verdict about a packet that carries another one, which it may do for
// a tunnel device.
func (s *Stack) carrier() packet.Verdict {
	if s.Tunnels {
		return packet.Decapsulate
	}
	return packet.Continue
}

// fragment is the verdict about a fragment: those of OSPF are Linux's as they are.
func (s *Stack) fragment(p *packet.Packet) packet.Verdict {
	if p.Proto == wire.ProtoOSPF && s.twin(p) {
		return p.PuntFor(packet.IPNoListener)
	}
	return packet.Fragment
}

// ForLinux reports whether a packet is for an address of the host kernel's, by the
// routes. A service may still have that address.
func (s *Stack) ForLinux(p *packet.Packet) bool {
	r, ok := s.Table.LookupOn(p.In, destination(p))
	return ok && r.Scope == spec.ScopeKNIHost
}

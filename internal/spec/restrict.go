package spec

import (
	"fmt"
	"net/netip"
	"slices"
)

// Restrict takes out what is about devices that are not there (Ports), and says what that
// was. What else the state is stays: it was all there at once before.
func (s *Spec) Restrict() (gone []string) {
	there := func(port string) bool { return port == "" || slices.Contains(s.Ports, port) }
	lose := func(format string, args ...any) bool {
		gone = append(gone, fmt.Sprintf(format, args...))
		return true
	}
	forget := func(port string) {
		s.Ports = slices.DeleteFunc(s.Ports, func(p string) bool { return p == port })
	}
	s.VLANs = slices.DeleteFunc(s.VLANs, func(v VLAN) bool {
		if there(v.Link) {
			return false
		}
		forget(v.Name)
		return lose("VLAN %s of %s", v.Name, v.Link)
	})
	s.Tunnels = slices.DeleteFunc(s.Tunnels, func(t TunnelDevice) bool {
		if there(t.Link) {
			return false
		}
		forget(t.Name)
		return lose("tunnel %s of %s", t.Name, t.Link)
	})
	var lost []netip.Addr
	s.Addresses = slices.DeleteFunc(s.Addresses, func(a Address) bool {
		if there(a.Port) {
			return false
		}
		lost = append(lost, a.Prefix.Addr())
		return lose("address %s of %s", a.Prefix, a.Port)
	})
	for _, ip := range lost {
		s.forsake(ip)
	}
	s.Routes = slices.DeleteFunc(s.Routes, func(r Route) bool {
		return !there(r.Port) && lose("route %s by %s", r.Prefix, r.Port)
	})
	s.Neighbours = slices.DeleteFunc(s.Neighbours, func(n Neighbour) bool {
		return !there(n.Port) && lose("neighbour %s of %s", n.Addr, n.Port)
	})
	s.Services = slices.DeleteFunc(s.Services, func(v Service) bool {
		return !(there(v.Match.In) && there(v.Match.Out)) && lose("service %s", v.ServiceKey)
	})
	for i := range s.Services {
		v := &s.Services[i]
		v.Locals = slices.DeleteFunc(v.Locals, func(l LocalAddress) bool {
			return !there(l.Port) && lose("local address %s of service %s on %s", l.Addr, v.ServiceKey, l.Port)
		})
	}
	return gone
}

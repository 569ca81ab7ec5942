package spec

import (
	"net/netip"
	"slices"
	"strings"
)

// Edits of addresses, routes, neighbours and links. Each works on a Clone and
// returns a *Refusal, after which the Clone is thrown away.

func (s *Spec) device(name string) error {
	if name == "" {
		return refuse(Invalid, "link", "no device specified: add `dev NAME`, one of %s", strings.Join(s.Ports, ", "))
	}
	if b := s.BondOf(name); b != nil {
		return refuse(Invalid, "link", "%s is a member of %s and no port of its own: use %s", name, b.Name, b.Name)
	}
	if !slices.Contains(s.Ports, name) {
		return refuse(NoDevice, "link", "no such device: %s; the devices are %s", name, strings.Join(s.Ports, ", "))
	}
	return nil
}

// FindAddress returns the entry of an address wherever it is, or nil. Of a
// link-local one of IPv6, which several ports may have, it is the first.
func (s *Spec) FindAddress(a netip.Addr) *Address {
	for i := range s.Addresses {
		if s.Addresses[i].Prefix.Addr() == a {
			return &s.Addresses[i]
		}
	}
	return nil
}

// findOn returns the entry of an address of this box as it is seen from a port's
// link, or nil: a link-local one of IPv6 on another link is another address.
func (s *Spec) findOn(ip netip.Addr, port string) *Address {
	if !onLinkOnly(ip) {
		return s.FindAddress(ip)
	}
	for i := range s.Addresses {
		if a := &s.Addresses[i]; a.Prefix.Addr() == ip && a.Port == port {
			return a
		}
	}
	return nil
}

// AddAddress adds an address, or with replace changes one that is there.
func (s *Spec) AddAddress(a Address, replace bool) error {
	if err := s.device(a.Port); err != nil {
		return err
	}
	ip := a.Prefix.Addr()
	if err := unicast("address", "an address of a device", ip); err != nil {
		return err
	}
	switch {
	case a.Broadcast.IsValid() && ip.Is6():
		return refuse(Invalid, "address", "broadcast %s: IPv6 has no broadcast, leave it out", a.Broadcast)
	case a.Broadcast.IsValid() && !a.Broadcast.Is4():
		return refuse(Invalid, "address", "broadcast %s is not that of an IPv4 address: give one of %s, or leave it out", a.Broadcast, a.Prefix.Masked())
	case a.SAPool && onLinkOnly(ip):
		return refuse(Invalid, "address", "%s can't be sapool: what has a link-local source does not leave the link, give a global address", ip)
	}
	old := s.findOn(ip, a.Port)
	if old == nil {
		if other := s.machine(ip, a.Port); other != "" {
			return refuse(Invalid, "address", "%s is another machine's: %s", ip, other)
		}
		s.Addresses = append(s.Addresses, a)
		return nil
	}
	if old.Port != a.Port {
		return refuse(Exists, "address", "already exist: %s is an address of %s", ip, old.Port)
	}
	if old.Held.Only {
		s.addToHeld(old, a)
		return nil
	}
	if !replace {
		return refuse(Exists, "address", "already exist: %s on %s; `dpip addr set` changes it", old.Prefix, old.Port)
	}
	if old.SAPool && !a.SAPool {
		if svc := s.localOf(ip); svc != nil {
			return refuse(Busy, "address", "%s is %s: it stays sapool", ip, use(svc))
		}
	}
	a.Held = old.Held
	*old = a
	return nil
}

// machine says as what another machine's address is known, on the link of a port if
// it is link-local: a real server, a gateway, a static neighbour; "" if it is not.
func (s *Spec) machine(ip netip.Addr, port string) string {
	here := func(on string) bool { return on == port || !onLinkOnly(ip) }
	for i := range s.Services {
		for _, d := range s.Services[i].Dests {
			if d.Addr.Addr() == ip && d.Forward != SNAT {
				return "a real server of service " + s.Services[i].ServiceKey.String()
			}
		}
	}
	for _, r := range s.Routes {
		if r.Via == ip && here(r.Port) {
			return "the gateway of route " + r.Prefix.String()
		}
	}
	for _, n := range s.Neighbours {
		if n.Addr == ip && here(n.Port) {
			return "a static neighbour of " + n.Port
		}
	}
	return ""
}

// localOf returns a service that uses an address as a local address, or for SNAT,
// or nil.
func (s *Spec) localOf(ip netip.Addr) *Service {
	for i := range s.Services {
		if s.Services[i].IsMatch() && slices.ContainsFunc(s.Services[i].Dests, func(d Dest) bool { return d.Addr.Addr() == ip }) {
			return &s.Services[i]
		}
		for _, l := range s.Services[i].Locals {
			if l.Addr == ip {
				return &s.Services[i]
			}
		}
	}
	return nil
}

// use says what an address is to a service that localOf found, and release how to
// end that.
func use(svc *Service) string {
	if svc.IsMatch() {
		return "used by service " + svc.ServiceKey.String()
	}
	return "a local address of service " + svc.ServiceKey.String()
}

func release(svc *Service) string {
	if svc.IsMatch() {
		return "-d"
	}
	return "--del-laddr"
}

// DeleteAddress removes an address. The length of prefix must be that of the address, or
// negative: whatever it is.
func (s *Spec) DeleteAddress(prefix netip.Prefix, port string) error {
	if err := s.device(port); err != nil {
		return err
	}
	ip := prefix.Addr()
	i := slices.IndexFunc(s.Addresses, func(a Address) bool { return a.Prefix.Addr() == ip && a.Port == port })
	if i < 0 {
		if other := s.FindAddress(ip); other != nil {
			return refuse(NotExists, "address", "not exist: %s on %s; it is on %s", ip, port, other.Port)
		}
		return refuse(NotExists, "address", "not exist: %s on %s", ip, port)
	}
	a := &s.Addresses[i]
	switch {
	case a.Held.Only:
		return refuse(Busy, "address", "resource busy: %s on %s is held by a program (keepalived), and leaves when that lets go of it", ip, port)
	case prefix.Bits() >= 0 && prefix.Bits() != a.Prefix.Bits():
		return refuse(NotExists, "address", "not exist: %s on %s; it is there as %s", prefix, port, a.Prefix)
	case a.Held.Holders > 0:
		s.leaveToHolders(a)
		return nil
	}
	if svc := s.localOf(ip); svc != nil {
		return refuse(Busy, "address", "resource busy: %s is %s; remove it there first (ipvsadm %s)", ip, use(svc), release(svc))
	}
	s.Addresses = slices.Delete(s.Addresses, i, i+1)
	return nil
}

// FlushAddresses removes all addresses of a device.
func (s *Spec) FlushAddresses(port string) error { return s.FlushAddressesOf(port, Both) }

// FlushAddressesOf removes the addresses of a device that are of a family. What is
// held stays with its holders.
func (s *Spec) FlushAddressesOf(port string, f Family) error {
	if err := s.device(port); err != nil {
		return err
	}
	for _, a := range slices.Clone(s.Addresses) {
		if a.Port == port && f.Has(a.Prefix.Addr()) && !a.Held.Only {
			if err := s.DeleteAddress(a.Prefix, port); err != nil {
				return err
			}
		}
	}
	return nil
}

// minMTU is what every link carries: RFC 791, section 3.2, and RFC 8200, section 5.
func minMTU(a netip.Addr) int {
	if a.Is4() {
		return 68
	}
	return 1280
}

// AddRoute adds a route.
func (s *Spec) AddRoute(r Route) error {
	if err := s.device(r.Port); err != nil {
		return err
	}
	if !r.Prefix.IsValid() || r.Prefix != r.Prefix.Masked() {
		return refuse(Invalid, "route", "%s is not a prefix: bits behind its length are set; %s would be one", r.Prefix, r.Prefix.Masked())
	}
	if to := r.Prefix.Addr(); to.Is4In6() {
		return refuse(Invalid, "route", "%s is of IPv4-mapped addresses: write it as IPv4", r.Prefix)
	} else if to.Is6() && to.IsMulticast() {
		return refuse(Invalid, "route", "%s is of multicast groups, which no route leads to", r.Prefix)
	}
	if r.Scope == ScopeKNIHost && !r.Prefix.IsSingleIP() {
		return refuse(Invalid, "route", "%s: the prefix length of kni_host must be %d", r.Prefix, r.Prefix.Addr().BitLen())
	}
	if least := minMTU(r.Prefix.Addr()); r.MTU != 0 && (r.MTU < least || r.MTU > 65535) {
		return refuse(Invalid, "route", "mtu %d: must be %d to 65535", r.MTU, least)
	}
	if r.Via.IsValid() {
		if err := unicast("route", "a gateway", r.Via); err != nil {
			return err
		}
		if !sameFamily(r.Via, r.Prefix.Addr()) {
			return refuse(Invalid, "route", "%s via %s: gateway and prefix must be of one family", r.Prefix, r.Via)
		}
		if s.findOn(r.Via, r.Port) != nil {
			return refuse(Invalid, "route", "gateway %s is an address of this box", r.Via)
		}
	}
	if r.Src.IsValid() {
		if err := unicast("route", "a source", r.Src); err != nil {
			return err
		}
		if !sameFamily(r.Src, r.Prefix.Addr()) {
			return refuse(Invalid, "route", "%s src %s: source and prefix must be of one family", r.Prefix, r.Src)
		}
	}
	if s.routeIndex(r) >= 0 {
		return refuse(Exists, "route", "already exist: %s dev %s", r.Prefix, r.Port)
	}
	if a := s.derived(r); a != nil {
		return refuse(Exists, "route", "already exist: %s dev %s follows from the address %s", r.Prefix, r.Port, a.Prefix)
	}
	s.Routes = append(s.Routes, r)
	return nil
}

// routeIndex finds a route with the same key: the prefix, and for routes
// without gateway the device.
func (s *Spec) routeIndex(r Route) int {
	return slices.IndexFunc(s.Routes, func(o Route) bool {
		return o.Prefix == r.Prefix && (o.Port == r.Port || o.Via.IsValid() || r.Via.IsValid())
	})
}

// derived returns the address from which an equal route follows, or nil.
func (s *Spec) derived(r Route) *Address {
	for i := range s.Addresses {
		a := &s.Addresses[i]
		if a.Port == r.Port && !r.Via.IsValid() && r.Scope != ScopeKNIHost && (a.Prefix.Masked() == r.Prefix || r.Prefix.IsSingleIP() && r.Prefix.Addr() == a.Prefix.Addr()) {
			return a
		}
	}
	return nil
}

// DeleteRoute removes a route by its key.
func (s *Spec) DeleteRoute(r Route) error {
	if err := s.device(r.Port); err != nil {
		return err
	}
	i := slices.IndexFunc(s.Routes, func(o Route) bool {
		return o.Prefix == r.Prefix && o.Port == r.Port && (!r.Via.IsValid() || o.Via == r.Via)
	})
	if i < 0 {
		if a := s.derived(r); a != nil {
			return refuse(Invalid, "route", "%s dev %s follows from the address %s: delete that (dpip addr del)", r.Prefix, r.Port, a.Prefix)
		}
		return refuse(NotExists, "route", "not exist: %s dev %s", r.Prefix, r.Port)
	}
	s.Routes = slices.Delete(s.Routes, i, i+1)
	return nil
}

// FlushRoutes removes all configured routes of a device.
func (s *Spec) FlushRoutes(port string) error { return s.FlushRoutesOf(port, Both) }

// FlushRoutesOf removes the configured routes of a device that are of a family.
func (s *Spec) FlushRoutesOf(port string, f Family) error {
	if err := s.device(port); err != nil {
		return err
	}
	s.Routes = slices.DeleteFunc(s.Routes, func(r Route) bool { return r.Port == port && f.Has(r.Prefix.Addr()) })
	return nil
}

// AddNeighbour adds a static neighbour.
func (s *Spec) AddNeighbour(n Neighbour) error {
	if err := s.device(n.Port); err != nil {
		return err
	}
	if err := unicast("neighbour", "a neighbour", n.Addr); err != nil {
		return err
	}
	if s.FindTunnel(n.Port) != nil {
		return refuse(NotSupported, "neighbour", "%s is a tunnel: there is one machine at its other end, and no neighbour to be told of", n.Port)
	}
	if n.MAC[0]&1 != 0 || n.MAC == ([6]byte{}) {
		return refuse(Invalid, "neighbour", "lladdr of %s: must be the MAC address of one station", n.Addr)
	}
	if s.findOn(n.Addr, n.Port) != nil {
		return refuse(Invalid, "neighbour", "%s is an address of this box", n.Addr)
	}
	if s.neighbourIndex(n.Addr, n.Port) >= 0 {
		return refuse(Exists, "neighbour", "already exist: %s dev %s; delete it first", n.Addr, n.Port)
	}
	s.Neighbours = append(s.Neighbours, n)
	return nil
}

func (s *Spec) neighbourIndex(a netip.Addr, port string) int {
	return slices.IndexFunc(s.Neighbours, func(n Neighbour) bool { return n.Addr == a && n.Port == port })
}

// DeleteNeighbour removes a static neighbour and reports whether there was one.
func (s *Spec) DeleteNeighbour(a netip.Addr, port string) (bool, error) {
	if err := s.device(port); err != nil {
		return false, err
	}
	i := s.neighbourIndex(a, port)
	if i < 0 {
		return false, nil
	}
	s.Neighbours = slices.Delete(s.Neighbours, i, i+1)
	return true, nil
}

// SetLink changes a switch of a device.
func (s *Spec) SetLink(port, item, value string) error {
	if slices.Contains(BondItems, item) {
		return s.setBond(port, item, value)
	}
	// A member's cable may be taken out of use; all else is its bond's.
	if member := item == "link" && s.BondOf(port) != nil; !member {
		if err := s.device(port); err != nil {
			return err
		}
	}
	words := [2]string{"off", "on"}
	if item == "link" {
		words = [2]string{"down", "up"}
	}
	on := value == words[1]
	l := s.Links[port]
	switch item {
	case "promisc":
		l.Promisc = on
	case "allmulticast":
		l.AllMulticast = on
	case "link":
		l.Down = !on
	case "forward2kni", "tc-egress", "tc-ingress", "lldp", "addr":
		return refuse(NotSupported, "link", "%s is not supported yet", item)
	default:
		return refuse(Invalid, "link", "%q is no switch of a device: promisc, allmulticast, link", item)
	}
	if value != words[0] && value != words[1] {
		return refuse(Invalid, "link", "%s takes %s or %s, not %q", item, words[1], words[0], value)
	}
	if s.Links == nil {
		s.Links = map[string]Link{}
	}
	s.Links[port] = l
	return nil
}

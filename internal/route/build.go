package route

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"weir/internal/spec"
)

// What Build's errors wrap, so that the control side can give DPVS's code for it.
var (
	ErrExists    = errors.New("already exists")
	ErrNotExists = errors.New("does not exist")
	ErrNoDevice  = errors.New("no such device")
	ErrInvalid   = errors.New("invalid parameter")
)

// Build makes a table of the routes that follow from the addresses and of those
// configured.
//
// An address gives a host route (scope host) and, if it spans a link, a link
// route to the masked prefix with the address as source, unless a configured
// route to that prefix on that port stands in its place. Addresses count as
// inserted before configured routes, and a port's own link-local address before
// all others.
func Build(ports []Port, addrs []spec.Address, routes []spec.Route) (*Table, error) {
	b := builder{t: &Table{}, byName: make(map[string]Port, len(ports)), tentative: map[netKey]bool{}, duplicate: map[netKey]bool{}}
	for _, p := range ports {
		b.addPort(p)
	}
	configured := make(map[netKey]bool, len(routes))
	for _, r := range routes {
		configured[netKey{r.Prefix.Masked(), r.Port}] = true
	}
	for _, p := range ports {
		if !p.LinkLocal.IsValid() {
			continue
		}
		if !linkLocal6(p.LinkLocal) {
			return nil, fmt.Errorf("device %s: %w: %v is not in fe80::/10", p.Name, ErrInvalid, p.LinkLocal)
		}
		if err := b.addAddress(spec.Address{Port: p.Name, Prefix: netip.PrefixFrom(p.LinkLocal, 64)}, configured); err != nil {
			return nil, fmt.Errorf("address %v dev %s: %w", p.LinkLocal, p.Name, err)
		}
	}
	for _, a := range addrs {
		if err := b.addAddress(a, configured); err != nil {
			return nil, fmt.Errorf("address %v dev %s: %w", a.Prefix, a.Port, err)
		}
	}
	for _, r := range routes {
		if err := b.addRoute(r); err != nil {
			return nil, fmt.Errorf("route %v dev %s: %w", r.Prefix, r.Port, err)
		}
	}
	for _, p := range ports {
		b.addLinux(p)
	}
	return b.finish(), nil
}

// netKey is a route's key: one prefix once per port.
type netKey struct {
	prefix netip.Prefix
	port   string
}

type builder struct {
	t      *Table
	byName map[string]Port
	seen   map[netKey]bool // local and network routes; their prefixes never clash within a scope
	hosts  map[netKey]bool
	kernel map[netKey]bool // hosts of scope kni_host: an address may be ours and have such a route

	tentative, duplicate map[netKey]bool // of all ports, as host prefixes
}

func (b *builder) addPort(p Port) {
	b.byName[p.Name] = p
	for len(b.t.ports) <= int(p.ID) {
		b.t.ports = append(b.t.ports, portAddrs{})
		b.t.names = append(b.t.names, "")
	}
	b.t.names[p.ID] = p.Name
	b.t.ports[p.ID].pointToPoint = p.PointToPoint
	for _, a := range p.Tentative {
		b.tentative[netKey{netip.PrefixFrom(a, a.BitLen()), p.Name}] = true
	}
	for _, a := range p.Duplicate {
		b.duplicate[netKey{netip.PrefixFrom(a, a.BitLen()), p.Name}] = true
	}
}

func (b *builder) addAddress(a spec.Address, configured map[netKey]bool) error {
	p, ok := b.byName[a.Port]
	addr := a.Prefix.Addr()
	switch {
	case !ok:
		return fmt.Errorf("%w %q: name a device of dpvs.conf", ErrNoDevice, a.Port)
	case !a.Prefix.IsValid():
		return fmt.Errorf("%w: not an address", ErrInvalid)
	case addr.Is4In6():
		return fmt.Errorf("%w: write the IPv4 address itself, %v", ErrInvalid, addr.Unmap())
	case addr.IsUnspecified() || addr.IsMulticast() || addr.IsLoopback():
		return fmt.Errorf("%w: a machine can't have this address", ErrInvalid)
	}
	host := netip.PrefixFrom(addr, addr.BitLen())
	duplicate, tentative := b.duplicate[netKey{host, a.Port}], b.tentative[netKey{host, a.Port}]
	switch {
	case duplicate:
	case !b.insert(Route{Prefix: host, Port: p.ID, MTU: p.MTU, Scope: spec.ScopeHost, Derived: true}, a.Port):
		return fmt.Errorf("%w on this device", ErrExists)
	default:
		b.remember(p.ID, a, tentative)
	}
	if a.Prefix.IsSingleIP() {
		return nil
	}
	link := Route{Prefix: a.Prefix.Masked(), Port: p.ID, MTU: p.MTU, Scope: spec.ScopeLink, Derived: true}
	if !duplicate && !tentative {
		link.Src = addr
	}
	if linkLocal6(addr) {
		link.Prefix = netip.PrefixFrom(addr, 64).Masked() // RFC 4291, 2.5.6
	}
	if !configured[netKey{link.Prefix, a.Port}] {
		// A second address of the same link finds the route there already.
		b.insert(link, a.Port)
	}
	return nil
}

// remember keeps what LocalOn and Source need.
func (b *builder) remember(id uint16, a spec.Address, tentative bool) {
	addr, p := a.Prefix.Addr(), &b.t.ports[id]
	if tentative {
		p.tentative = append(p.tentative, addr)
		return
	}
	p.sorted = append(p.sorted, addr)
	if linkLocal6(addr) {
		if !p.linkLocal.IsValid() {
			p.linkLocal = addr
		}
		return
	}
	of := family(addr)
	from := &p.speak[of]
	if !from.first.IsValid() {
		from.first = addr
	}
	if !b.t.any[of].IsValid() {
		b.t.any[of] = addr
	}
	if a.SAPool && !from.lip.IsValid() {
		from.lip = addr
	}
	if !a.Prefix.IsSingleIP() {
		from.links = append(from.links, a.Prefix)
	}
}

func (b *builder) addRoute(s spec.Route) error {
	p, ok := b.byName[s.Port]
	switch {
	case !ok:
		return fmt.Errorf("%w %q: name a device of dpvs.conf", ErrNoDevice, s.Port)
	case !s.Prefix.IsValid():
		return fmt.Errorf("%w: not a prefix", ErrInvalid)
	case s.Prefix.Addr().Is4In6():
		return fmt.Errorf("%w: write the IPv4 prefix itself", ErrInvalid)
	case s.Prefix != s.Prefix.Masked():
		return fmt.Errorf("%w: bits are set behind the prefix length, write %v", ErrInvalid, s.Prefix.Masked())
	case nowhere(s.Prefix):
		return fmt.Errorf("%w: nothing can be sent to %v by a route", ErrInvalid, s.Prefix)
	case !ofFamily(s.Via, s.Prefix):
		return fmt.Errorf("%w: gateway %v is not an %s address", ErrInvalid, s.Via, familyName(s.Prefix))
	case s.Via.IsMulticast() || s.Via.IsLoopback() || s.Via.Zone() != "":
		return fmt.Errorf("%w: gateway %v is not the address of a machine", ErrInvalid, s.Via)
	case !ofFamily(s.Src, s.Prefix):
		return fmt.Errorf("%w: source %v is not an %s address", ErrInvalid, s.Src, familyName(s.Prefix))
	case s.MTU < 0 || s.MTU > 65535:
		return fmt.Errorf("%w: mtu %d is not between 0 and 65535", ErrInvalid, s.MTU)
	}
	r := Route{Prefix: s.Prefix, Port: p.ID, Gateway: specified(s.Via), Src: specified(s.Src), MTU: s.MTU, Metric: s.Metric}
	if r.MTU == 0 {
		r.MTU = p.MTU
	}
	switch {
	case s.Scope == spec.ScopeHost || s.Scope == spec.ScopeKNIHost:
		if !s.Prefix.IsSingleIP() {
			return fmt.Errorf("%w: scope %v is for one address, the prefix length must be %d", ErrInvalid, s.Scope, s.Prefix.Addr().BitLen())
		}
		r.Scope = s.Scope
	case r.Gateway.IsValid():
		r.Scope = spec.ScopeGlobal
	default:
		r.Scope = spec.ScopeLink
	}
	if !b.insert(r, s.Port) {
		return fmt.Errorf("%w", ErrExists)
	}
	return nil
}

// nowhere reports whether no route can lead to an IPv6 prefix: the addresses in it
// are each port's own (fe80::/64 is on every link), groups, or nobody's. A shorter
// prefix may have such addresses in it: they don't go along its route.
func nowhere(p netip.Prefix) bool {
	a := p.Addr()
	return !a.Is4() && (linkLocal6(a) || a.IsMulticast() || p.IsSingleIP() && (a.IsLoopback() || a.IsUnspecified()))
}

// ofFamily reports whether a, if there is one, is of the prefix's family.
func ofFamily(a netip.Addr, p netip.Prefix) bool {
	return !a.IsValid() || a.Is4() == p.Addr().Is4() && !a.Is4In6()
}

func familyName(p netip.Prefix) string {
	if p.Addr().Is4() {
		return "IPv4"
	}
	return "IPv6"
}

// specified turns 0.0.0.0 or ::, which dpip prints for "none", into the zero Addr.
func specified(a netip.Addr) netip.Addr {
	if a.IsUnspecified() {
		return netip.Addr{}
	}
	return a
}

// insert adds r to its table, or reports that its key is there already.
func (b *builder) insert(r Route, port string) bool {
	into, seen := &b.t.nets, &b.seen
	switch r.Scope {
	case spec.ScopeHost:
		into, seen = &b.t.local, &b.hosts
	case spec.ScopeKNIHost:
		into, seen = &b.t.local, &b.kernel
	case spec.ScopeGlobal, spec.ScopeLink, spec.ScopeSite:
	}
	key := netKey{r.Prefix, port}
	if (*seen)[key] {
		return false
	}
	if *seen == nil {
		*seen = make(map[netKey]bool)
	}
	(*seen)[key] = true
	*into = append(*into, r)
	return true
}

// addLinux adds the addresses that Linux has on a port's twin: a route for each that
// no port has. finish sees to that for those that are not of one link alone.
func (b *builder) addLinux(p Port) {
	for _, a := range p.Linux {
		addr := a.Addr()
		host := netip.PrefixFrom(addr, addr.BitLen())
		if !linkLocal6(addr) && !a.IsSingleIP() {
			from := &b.t.ports[p.ID].speak[family(addr)]
			from.linux = append(from.linux, a)
		}
		if b.hosts[netKey{host, p.Name}] || b.kernel[netKey{host, p.Name}] {
			continue
		}
		b.t.linux = append(b.t.linux, Route{Prefix: host, Port: p.ID, MTU: p.MTU, Scope: spec.ScopeKNIHost})
	}
}

// finish fills the longest-prefix table, in which the first of equals wins, local
// routes win over all and of these those to the kernel that somebody wrote down, and
// sorts what is asked in order.
func (b *builder) finish() *Table {
	t := b.t
	slices.SortStableFunc(t.nets, func(x, y Route) int { return cmp.Compare(y.Prefix.Bits(), x.Prefix.Bits()) })
	kernel, own := []Route{}, []Route{}
	for _, r := range t.local {
		if r.Scope == spec.ScopeKNIHost {
			kernel = append(kernel, r)
		} else {
			own = append(own, r)
		}
	}
	for _, routes := range [][]Route{kernel, own, t.linux, t.nets} {
		for i := range routes {
			r := &routes[i]
			if linkLocal6(r.Prefix.Addr()) {
				t.ports[r.Port].onLink = append(t.ports[r.Port].onLink, r)
			} else if _, there := t.lpm.Get(r.Prefix); !there {
				t.lpm.Insert(r.Prefix, r)
			}
		}
	}
	t.only.fill(t)
	for i := range t.ports {
		p := &t.ports[i]
		slices.SortFunc(p.sorted, netip.Addr.Compare)
		slices.SortFunc(p.tentative, netip.Addr.Compare)
		for of := range p.speak {
			for _, links := range [][]netip.Prefix{p.speak[of].links, p.speak[of].linux} {
				slices.SortStableFunc(links, func(x, y netip.Prefix) int { return cmp.Compare(y.Bits(), x.Bits()) })
			}
		}
	}
	return t
}

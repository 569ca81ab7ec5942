package route

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/gaissmai/bart"

	"weir/internal/spec"
)

// Port is what the table needs to know of a port.
type Port struct {
	ID   uint16 // Packet.In and Out
	Name string // dpdk0
	MTU  int    // of the port: that of a route that sets none
	// PointToPoint: all that leaves by the port has the same next hop (port.Facts).
	PointToPoint bool

	// LinkLocal is the port's own link-local IPv6 address; zero: none. It is an
	// address of the port like those of the spec, and puts fe80::/64 on its link.
	LinkLocal netip.Addr
	// Tentative are addresses of the port that another station may turn out to
	// have (RFC 4862, 5.4): packets to them are ours, but they are neither answered
	// for nor spoken from.
	Tentative []netip.Addr
	// Duplicate are those that another station has: of them only the link counts.
	Duplicate []netip.Addr
	// Linux are the addresses that the host kernel has on the port's .kni twin, each
	// with the length of its link's prefix. To those that no port has packets are Linux's,
	// as if there were a route of scope kni_host; such routes are not listed.
	Linux []netip.Prefix
}

// Route is where packets to a prefix go.
type Route struct {
	Prefix  netip.Prefix // masked
	Port    uint16       // out of this port; for ScopeHost the port that has the address
	Gateway netip.Addr   // zero: the destination is on the link
	Src     netip.Addr   // preferred source address; zero: none, see Table.Source
	MTU     int          // of the route, else of the port
	Scope   spec.Scope   // ScopeHost: ours; ScopeKNIHost: the host kernel's; else ScopeLink or ScopeGlobal
	Metric  uint32       // listed only: the first longest match wins
	Derived bool         // follows from an address: nobody added it
}

// Local reports whether packets to the route's destination end on this machine.
func (r *Route) Local() bool { return r.Scope == spec.ScopeHost || r.Scope == spec.ScopeKNIHost }

// Table is an immutable routing table.
type Table struct {
	// lpm holds the local table too: its entries are host prefixes and
	// displace whatever else has the same one, so that the longest match finds
	// them first, as a table looked at before would.
	lpm   bart.Fast[*Route]
	only  blocks
	local []Route // host and kni_host, in order of insertion
	nets  []Route // the others, longest prefix first, equal ones in order of insertion
	linux []Route // kni_host, of the addresses on .kni twins: found, not listed
	ports []portAddrs
	names []string      // by port ID
	any   [2]netip.Addr // some address of ours by family, for a port that has none
}

// portAddrs is what LocalOn, Source and LookupOn ask of one port.
type portAddrs struct {
	sorted    []netip.Addr // all addresses that are answered for
	tentative []netip.Addr // those that are not yet, sorted
	speak     [2]speakers  // by family
	linkLocal netip.Addr   // the port's own, else the first that was added
	onLink    []*Route     // to link-local addresses: those of the port, then the link

	pointToPoint bool
}

// speakers are the addresses of one family from which a port may speak, without
// link-local ones.
type speakers struct {
	links []netip.Prefix // address and prefix length of those that span a link, longest first
	linux []netip.Prefix // Linux's on the twin that span a link, longest first
	lip   netip.Addr     // first sapool address
	first netip.Addr     // first address of any kind
}

// family is the index of an address's family in any and speak.
func family(a netip.Addr) int {
	if a.Is4() {
		return 0
	}
	return 1
}

// linkLocal6 reports whether a lies in fe80::/10, and so means something on one
// link alone.
func linkLocal6(a netip.Addr) bool { return !a.Is4() && a.IsLinkLocalUnicast() }

// Lookup returns the route to dst: a configured one to the host kernel (ScopeKNIHost),
// then one of our own addresses (ScopeHost), then one that the kernel has on a twin,
// before the longest prefix; false if there is none.
// To a link-local IPv6 address there never is one: ask LookupOn.
func (t *Table) Lookup(dst netip.Addr) (*Route, bool) {
	if linkLocal6(dst) {
		return nil, false
	}
	return t.lpm.Lookup(dst)
}

// Lookup4 is Lookup for an address as it lies in a header.
func (t *Table) Lookup4(dst [4]byte) (*Route, bool) {
	if r := t.only[blockOf(dst)]; r != nil {
		return r, true
	}
	return t.lpm.Lookup(netip.AddrFrom4(dst))
}

// Lookup6 is Lookup for an address as it lies in a header.
func (t *Table) Lookup6(dst [16]byte) (*Route, bool) { return t.Lookup(netip.AddrFrom16(dst)) }

// LookupOn is Lookup for a packet that came in on a port, or is to leave there if
// dst is link-local: such addresses lie on each port's own link (RFC 4291, 2.5.6).
func (t *Table) LookupOn(port uint16, dst netip.Addr) (*Route, bool) {
	if !linkLocal6(dst) {
		return t.lpm.Lookup(dst)
	}
	if int(port) >= len(t.ports) {
		return nil, false
	}
	for _, r := range t.ports[port].onLink {
		if r.Prefix.Contains(dst) {
			return r, true
		}
	}
	return nil, false
}

// LookupOn6 is LookupOn for an address as it lies in a header.
func (t *Table) LookupOn6(port uint16, dst [16]byte) (*Route, bool) {
	return t.LookupOn(port, netip.AddrFrom16(dst))
}

// NextHop returns whom to hand a packet to dst that goes along r: the gateway,
// or on the link dst itself; on a port with one machine at its other end, the
// unspecified address, which stands for that.
func (t *Table) NextHop(r *Route, dst netip.Addr) netip.Addr {
	if t.ports[r.Port].pointToPoint {
		return OtherEnd(dst)
	}
	if r.Gateway.IsValid() {
		return r.Gateway
	}
	return dst
}

// OtherEnd is the next hop, of the family of dst, on a port with one machine at its
// other end.
func OtherEnd(dst netip.Addr) netip.Addr {
	if dst.Is4() {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}

// Local reports whether addr is one of the director's own, and on which port. If
// several ports have it, the first that was configured is told. Of a link-local
// IPv6 address only LocalOn knows.
func (t *Table) Local(addr netip.Addr) (port uint16, ok bool) {
	r, ok := t.Lookup(addr)
	if !ok || r.Scope != spec.ScopeHost {
		return 0, false
	}
	return r.Port, true
}

// LocalOn reports whether addr is one of the director's own on this port, and not
// tentative.
func (t *Table) LocalOn(port uint16, addr netip.Addr) bool {
	if int(port) >= len(t.ports) {
		return false
	}
	_, found := slices.BinarySearchFunc(t.ports[port].sorted, addr, netip.Addr.Compare)
	return found
}

// TentativeOn reports whether addr is a tentative address of the port.
func (t *Table) TentativeOn(port uint16, addr netip.Addr) bool {
	if int(port) >= len(t.ports) {
		return false
	}
	_, found := slices.BinarySearchFunc(t.ports[port].tentative, addr, netip.Addr.Compare)
	return found
}

// LinkLocal returns the link-local IPv6 address from which to speak on a port, or
// zero.
func (t *Table) LinkLocal(port uint16) netip.Addr {
	if int(port) >= len(t.ports) {
		return netip.Addr{}
	}
	return t.ports[port].linkLocal
}

// Source returns the address to speak from on a port toward dst, in ARP requests,
// neighbour solicitations and ICMP errors: one of dst's family, or zero. In this
// order: the address whose link dst is on (longest prefix first), one of Linux's on the
// port's twin whose link dst is on (it has the port's MAC), a local address
// for full-NAT (sapool), an address that spans another link, any of the port, any
// of the director. A VIP comes late because with DR the real servers have it too
// and would not answer it.
//
// A link-local IPv6 address speaks first to what is on its link alone, and last to
// others: they could not answer it (RFC 6724, 5, rule 2).
func (t *Table) Source(port uint16, dst netip.Addr) netip.Addr {
	of := family(dst)
	if int(port) >= len(t.ports) {
		return t.any[of]
	}
	p := &t.ports[port]
	if p.linkLocal.IsValid() && (linkLocal6(dst) || of == 1 && dst.IsLinkLocalMulticast()) {
		return p.linkLocal
	}
	from := &p.speak[of]
	for _, l := range from.links {
		if l.Contains(dst) {
			return l.Addr()
		}
	}
	for _, l := range from.linux {
		if l.Contains(dst) {
			return l.Addr()
		}
	}
	switch {
	case from.lip.IsValid():
		return from.lip
	case len(from.links) > 0:
		return from.links[0].Addr()
	case from.first.IsValid():
		return from.first
	case t.any[of].IsValid() || of == 0:
		return t.any[of]
	}
	return p.linkLocal
}

// Equal reports whether every lookup in o gives what it gives in t. If not, next
// hops that were looked up are stale.
func (t *Table) Equal(o *Table) bool {
	return slices.Equal(t.local, o.local) && slices.Equal(t.nets, o.nets) && slices.Equal(t.linux, o.linux)
}

// Listed is a route with the name of its port.
type Listed struct {
	Route
	Dev string
}

// List returns all routes of both families in the order of `dpip route show`: the local table by
// the last byte of the address, then address, then port; then the others by
// length of the prefix, the longest first, equal ones in order of insertion.
func (t *Table) List() []Listed {
	out := make([]Listed, 0, len(t.local)+len(t.nets))
	for _, routes := range [][]Route{slices.SortedStableFunc(slices.Values(t.local), localOrder), t.nets} {
		for _, r := range routes {
			out = append(out, Listed{r, t.names[r.Port]})
		}
	}
	return out
}

// localOrder is by rule what DPVS's hash of the last byte gave.
func localOrder(x, y Route) int {
	a, b := x.Prefix.Addr(), y.Prefix.Addr()
	return cmp.Or(cmp.Compare(lastByte(a), lastByte(b)), a.Compare(b), cmp.Compare(x.Port, y.Port))
}

func lastByte(a netip.Addr) byte {
	b := a.As16()
	return b[15]
}

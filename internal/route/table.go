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
}

// Local reports whether packets to the route's destination end on this machine.
func (r *Route) Local() bool { return r.Scope == spec.ScopeHost || r.Scope == spec.ScopeKNIHost }

// Table is an immutable routing table.
type Table struct {
	// lpm holds the local table too: its entries are host prefixes and
	// displace whatever else has the same one, so that the longest match finds
	// them first, as a table looked at before would.
	lpm   bart.Fast[*Route]
	local []Route // host and kni_host, in order of insertion
	nets  []Route // the others, longest prefix first, equal ones in order of insertion
	ports []portAddrs
	names []string   // by port ID
	any   netip.Addr // some address of ours, for a port that has none
}

// portAddrs is what Source and LocalOn ask of one port.
type portAddrs struct {
	sorted []netip.Addr   // all addresses
	links  []netip.Prefix // address and prefix length of those that span a link, longest first
	lip    netip.Addr     // first sapool address
	first  netip.Addr     // first address of any kind
}

// Lookup returns the route to dst: one of our own addresses (ScopeHost) or the
// host kernel's (ScopeKNIHost) before the longest prefix; false if there is none.
func (t *Table) Lookup(dst netip.Addr) (*Route, bool) { return t.lpm.Lookup(dst) }

// Lookup4 is Lookup for an address as it lies in a header.
func (t *Table) Lookup4(dst [4]byte) (*Route, bool) { return t.lpm.Lookup(netip.AddrFrom4(dst)) }

// NextHop returns whom to hand a packet to dst that goes along r: the gateway,
// or on the link dst itself.
func (t *Table) NextHop(r *Route, dst netip.Addr) netip.Addr {
	if r.Gateway.IsValid() {
		return r.Gateway
	}
	return dst
}

// Local reports whether addr is one of the director's own, and on which port. If
// several ports have it, the first that was configured is told.
func (t *Table) Local(addr netip.Addr) (port uint16, ok bool) {
	r, ok := t.lpm.Lookup(addr)
	if !ok || r.Scope != spec.ScopeHost {
		return 0, false
	}
	return r.Port, true
}

// LocalOn reports whether addr is one of the director's own on this port.
func (t *Table) LocalOn(port uint16, addr netip.Addr) bool {
	if int(port) >= len(t.ports) {
		return false
	}
	_, found := slices.BinarySearchFunc(t.ports[port].sorted, addr, netip.Addr.Compare)
	return found
}

// Source returns the address to speak from on a port toward dst, in ARP requests
// and ICMP errors. In this order: the address whose link dst is on (longest
// prefix first), a local address for full-NAT (sapool), an address that spans
// another link, any of the port, any of the director, zero. A VIP comes late
// because with DR the real servers have it too and would not answer it.
func (t *Table) Source(port uint16, dst netip.Addr) netip.Addr {
	if int(port) >= len(t.ports) {
		return t.any
	}
	p := &t.ports[port]
	for _, l := range p.links {
		if l.Contains(dst) {
			return l.Addr()
		}
	}
	switch {
	case p.lip.IsValid():
		return p.lip
	case len(p.links) > 0:
		return p.links[0].Addr()
	case p.first.IsValid():
		return p.first
	}
	return t.any
}

// Equal reports whether every lookup in o gives what it gives in t. If not, next
// hops that were looked up are stale.
func (t *Table) Equal(o *Table) bool {
	return slices.Equal(t.local, o.local) && slices.Equal(t.nets, o.nets)
}

// Listed is a route with the name of its port.
type Listed struct {
	Route
	Dev string
}

// List returns all routes in the order of `dpip route show`: the local table by
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

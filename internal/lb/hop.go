package lb

import (
	"encoding/binary"
	"net/netip"

	"weir/internal/flow"
	"weir/internal/lb/service"
	"weir/internal/route"
)

// hopMemo remembers where new connections' packets went: the way to a real server, and
// the next hops of routes by a gateway. What is remembered is right while its reference is
// of the present generation and the table of routes the same. It is worker-owned.
type hopMemo struct {
	dests  [memoSize]destHop
	routes [memoSize]routeHop
}

const memoSize = 64 // a power of two

type destHop struct {
	dest *service.Dest
	by   *route.Table
	ref  flow.NextHopRef
}

type routeHop struct {
	route *route.Route // of one table alone
	ref   flow.NextHopRef
}

// hopTo returns the next hop on the way to an address, or 0.
func (b *Balancer) hopTo(to flow.Addr) flow.NextHopRef {
	var dst netip.Addr
	var rt *route.Route
	var ok bool
	if to.Is4() {
		var a [4]byte
		binary.LittleEndian.PutUint32(a[:], to.V4())
		dst = netip.AddrFrom4(a)
		rt, ok = b.Tables.Routes.Lookup4(a)
	} else {
		dst = to.IP()
		rt, ok = b.Tables.Routes.Lookup(dst)
	}
	if !ok || rt.Local() {
		return 0
	}
	if !rt.Gateway.IsValid() {
		return b.flows.Hops.Get(rt.Port, b.Tables.Routes.NextHop(rt, dst), b.ports[rt.Port].MAC, uint16(rt.MTU))
	}
	m := &b.hops.routes[uint(rt.Prefix.Bits()+int(rt.Port))%memoSize]
	if m.route == rt {
		if _, current := b.flows.Hops.Current(m.ref); current {
			return m.ref
		}
	}
	ref := b.flows.Hops.Get(rt.Port, b.Tables.Routes.NextHop(rt, dst), b.ports[rt.Port].MAC, uint16(rt.MTU))
	*m = routeHop{rt, ref}
	return ref
}

// hopToDest is hopTo for a real server.
func (b *Balancer) hopToDest(d *service.Dest) flow.NextHopRef {
	m := &b.hops.dests[d.Index%memoSize]
	if m.dest == d && m.by == b.Tables.Routes {
		if _, current := b.flows.Hops.Current(m.ref); current {
			return m.ref
		}
	}
	ref := b.hopTo(d.Wire)
	*m = destHop{d, b.Tables.Routes, ref}
	return ref
}

package flow

import (
	"net/netip"
	"sync/atomic"
)

// A point-to-point device (a tunnel) has one machine at its other end: every packet that
// leaves by it has the same next hop, one of each family, which needs no question. What
// the way to that machine takes may turn out to be less than its device's MTU says;
// then it is less for all that leave there.

// maxPorts is port.Max, which this package lies below.
const maxPorts = 64

// ipv6MinMTU is what every IPv6 packet may be long (RFC 8200, 5). A device whose way
// takes less sends such packets in fragments of what they travel in (RFC 2473, 7.1;
// RFC 4213, 3.2), so that its hops of IPv6 never have a smaller MTU.
const ipv6MinMTU = 1280

// A word of paths is pointToPoint | MTU << 16 | second; MTU 0: none was learnt.
const pointToPoint = 1 << 32

// paths is what is known of ports, by number.
type paths [maxPorts]atomic.Uint64

// SetPointToPoint says whether a port is a point-to-point device. The director says it
// before a table in force names the port. What was learnt of another in its place is
// forgotten.
func (n *NextHops) SetPointToPoint(port uint16, is bool) {
	w := &n.paths[port%maxPorts]
	if was := w.Load()&pointToPoint != 0; was == is {
		return
	}
	if is {
		w.Store(pointToPoint)
	} else {
		w.Store(0)
	}
}

// LearnPath notes that what leaves by a point-to-point device may be only mtu bytes
// long, at a second, if that is less than was known. It reports whether it was.
func (n *NextHops) LearnPath(port, mtu, second uint16) bool {
	w := &n.paths[port%maxPorts]
	was := w.Load()
	if known := uint16(was >> 16); was&pointToPoint == 0 || known != 0 && known < mtu {
		return false
	}
	// Lost to another worker's, it is learnt from the next packet's error.
	if !w.CompareAndSwap(was, pointToPoint|uint64(mtu)<<16|uint64(second)) {
		return false
	}
	n.eachBeyond(port, func(ref NextHopRef, v6 bool) {
		if h := n.At(ref); h.MTU == 0 || h.MTU > mtu {
			h.MTU = n.fit(port, v6, mtu)
		}
	})
	return true
}

// ForgetPaths gives up what was learnt age seconds ago or earlier. Flows that have a
// route look it up again, and so take what the device takes; a way back does with the
// next connection.
func (n *NextHops) ForgetPaths(second, age uint16) {
	for port := range n.paths {
		w := &n.paths[port]
		was := w.Load()
		if uint16(was>>16) == 0 || second-uint16(was) < age || !w.CompareAndSwap(was, pointToPoint) {
			continue
		}
		n.eachBeyond(uint16(port), func(ref NextHopRef, _ bool) {
			if h := n.At(ref); h.Flags&HopBack == 0 {
				n.bump(h)
			}
		})
	}
}

// PathOf returns what was learnt about a port's way, and 0 if nothing was.
func (n *NextHops) PathOf(port uint16) (mtu uint16) {
	return uint16(n.paths[port%maxPorts].Load() >> 16)
}

// Fit returns how long packets of a family may be that leave by a port, whose route
// takes mtu bytes.
func (n *NextHops) Fit(port uint16, v6 bool, mtu int) int {
	w := n.paths[port%maxPorts].Load()
	if w == 0 {
		return mtu
	}
	if known := int(uint16(w >> 16)); known != 0 {
		mtu = min(mtu, known)
	}
	if v6 {
		mtu = max(mtu, ipv6MinMTU)
	}
	return mtu
}

func (n *NextHops) fit(port uint16, v6 bool, mtu uint16) uint16 {
	return uint16(n.Fit(port, v6, int(mtu)))
}

// IsPointToPoint reports whether a port is a point-to-point device.
func (n *NextHops) IsPointToPoint(port uint16) bool {
	return n.paths[port%maxPorts].Load()&pointToPoint != 0
}

// BeyondMAC is the made-up link-layer address of the machine at the other end of a
// point-to-point device, by the family of what it sends: the way back to it
// (NextHops.Back) needs one, and ways of the two families differ in what fits.
func BeyondMAC(v6 bool) [6]byte {
	if v6 {
		return [6]byte{2, 0, 0, 0, 0, 6}
	}
	return [6]byte{2, 0, 0, 0, 0, 4}
}

// beyond returns the address under which all machines beyond a point-to-point device
// are known: the unspecified one of their family.
func beyond(a netip.Addr) netip.Addr {
	if a.Is4() || a.Is4In6() {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}

// of6 reports whether a key of a point-to-point device's next hop is that of IPv6.
func of6(addr *[16]byte, kind uint32) bool {
	if kind == HopBack {
		return addr[15] == 6
	}
	return *addr == [16]byte{}
}

// eachBeyond calls f for the next hops of a point-to-point device.
func (n *NextHops) eachBeyond(port uint16, f func(ref NextHopRef, v6 bool)) {
	for _, v6 := range [...]bool{false, true} {
		addr := netip.IPv4Unspecified()
		if v6 {
			addr = netip.IPv6Unspecified()
		}
		if ref := n.probe(port, addr.As16(), 0, nil); ref != 0 {
			f(ref, v6)
		}
		var mac [16]byte
		back := BeyondMAC(v6)
		copy(mac[10:], back[:])
		if ref := n.probe(port, mac, HopBack, nil); ref != 0 {
			f(ref, v6)
		}
	}
}

package neigh

import (
	"net/netip"
	"sync/atomic"

	"weir/internal/flow"
	"weir/internal/packet"
	"weir/internal/port"
	"weir/internal/wire"
)

// maxLearnt bounds what strangers can make us remember by asking: beyond it
// only neighbours that we send to ourselves are added.
const maxLearnt = flow.MaxNextHops / 2

// Input handles a packet about neighbours: ARP, or a message of neighbour
// discovery in which ip.Input6 found the header right, the hop limit 255 and where
// ICMPv6 begins.
func (c *Cache) Input(p *packet.Packet) packet.Verdict {
	if p.EtherType == wire.EtherTypeIPv6 {
		return c.inputND(p)
	}
	return c.inputARP(p)
}

// twin reports whether the port that p came in on has a Linux twin that is up: Linux
// keeps a neighbour table of its own, and gets what we are done with.
func (c *Cache) twin(p *packet.Packet) bool { return c.Ports[p.In%port.Max].Twin }

// ownMAC reports whether one of our own ports sent this: two of them may be on
// the same link.
func (c *Cache) ownMAC(m port.MAC) bool {
	for i := range c.Ports {
		if c.Ports[i].MAC == m {
			return true
		}
	}
	return false
}

// learn notes that addr is at mac. Only an entry that exists is changed, unless
// add is set: then addr must be a neighbour by our routes.
func (c *Cache) learn(in uint16, addr netip.Addr, mac port.MAC, add bool) {
	if ref := c.entry(in, addr, add); ref != 0 {
		c.reached(ref, mac)
	}
}

// entry returns the neighbour's entry, or 0 if there is none that may be learnt
// about. With add, one that is a neighbour by our routes gets one.
func (c *Cache) entry(in uint16, addr netip.Addr, add bool) flow.NextHopRef {
	ref := c.hops.Find(in, addr)
	if ref == 0 && add && c.hops.Len() < maxLearnt {
		if r, ok := c.Table.LookupOn(in, addr); ok && r.Port == in && !r.Gateway.IsValid() {
			ref = c.hops.Get(in, addr, c.Ports[in%port.Max].MAC, uint16(r.MTU))
		}
	}
	if ref == 0 || atomic.LoadUint32(&c.hops.At(ref).Flags)&flow.HopStatic != 0 {
		return 0
	}
	return ref
}

// reached notes that a neighbour answered from mac, and lets go what waited.
func (c *Cache) reached(ref flow.NextHopRef, mac port.MAC) {
	h := c.hops.At(ref)
	c.Counters.Learnt++
	if h.Dest() != mac {
		h.SetDest(mac)
	}
	atomic.StoreUint32(&h.Probes, 0)
	atomic.StoreUint32(&h.Confirmed, uint32(c.now))
	h.SetNUD(flow.NUDReachable, true)
	c.again = true
	c.release(ref)
}

// stale notes that a neighbour is at mac, as somebody said; whether it is will be
// asked when something goes there (STALE in RFC 4861: here REACHABLE whose time is
// over). It lets go what waited.
func (c *Cache) stale(ref flow.NextHopRef, mac port.MAC) {
	h := c.hops.At(ref)
	c.Counters.Learnt++
	if h.Dest() != mac {
		h.SetDest(mac)
	}
	atomic.StoreUint32(&h.Confirmed, uint32(c.now)-c.reachable()-1)
	h.SetNUD(flow.NUDReachable, true)
	c.again = true
	c.release(ref)
}

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

// Input handles an ARP packet: learns from it and, if it asks for an address
// that is ours on the port it came in on, turns it into the answer.
func (c *Cache) Input(p *packet.Packet) packet.Verdict {
	if len(p.Data) < int(p.L3)+wire.ARPLen || p.L3 < wire.EthernetLen {
		return p.DropFor(packet.ARPMalformed)
	}
	a := wire.ARP(p.Data[p.L3:])
	op, sha, spa, tpa := a.Operation(), a.SenderHardware(), a.SenderProtocol(), a.TargetProtocol()
	if !a.IsEthernetIPv4() || op != wire.ARPRequest && op != wire.ARPReply || !sane(sha, spa, op) {
		return p.DropFor(packet.ARPMalformed)
	}
	sender, target := netip.AddrFrom4(spa), netip.AddrFrom4(tpa)

	if _, claimed := c.Table.Local(sender); claimed && !c.ownMAC(sha) {
		// Somebody has our address: an operator must know, and nothing that he
		// says is worth learning.
		c.conflicts.note(p.In, spa, sha)
		return p.DropFor(packet.ARPConsumed)
	}
	forUs := c.Table.LocalOn(p.In, target)
	switch {
	case forUs && op == wire.ARPRequest:
		if !sender.IsUnspecified() { // not an RFC 5227 probe
			c.learn(p.In, sender, sha, true)
		}
		return c.answer(p, a)
	case forUs, spa == tpa:
		c.learn(p.In, sender, sha, false)
		return p.DropFor(packet.ARPConsumed)
	}
	return p.DropFor(packet.ARPNotOurs)
}

// sane reports whether the sender can be a neighbour: one station's MAC, and an
// address of one machine, or none in an RFC 5227 probe.
func sane(sha port.MAC, spa [4]byte, op uint16) bool {
	if sha[0]&1 != 0 || sha == (port.MAC{}) {
		return false
	}
	if spa == ([4]byte{}) {
		return op == wire.ARPRequest
	}
	return spa[0] != 0 && spa[0] != 127 && (spa[0] < 224 || spa[0] >= 240 && spa[0] != 255)
}

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
	ref := c.hops.Find(in, addr)
	if ref == 0 && add && c.hops.Len() < maxLearnt {
		if r, ok := c.Table.Lookup(addr); ok && r.Port == in && !r.Gateway.IsValid() {
			ref = c.hops.Get(in, addr, c.Ports[in%port.Max].MAC, uint16(r.MTU))
		}
	}
	if ref == 0 {
		return
	}
	h := c.hops.At(ref)
	if atomic.LoadUint32(&h.Flags)&flow.HopStatic != 0 {
		return
	}
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

// answer turns a request into its answer, in place.
func (c *Cache) answer(p *packet.Packet, a wire.ARP) packet.Verdict {
	own := c.Ports[p.In%port.Max].MAC
	asker, spa := a.SenderHardware(), a.SenderProtocol()
	a.Put(wire.ARPReply, own, a.TargetProtocol(), asker, spa)
	p.TrimFront(int(p.L3) - wire.EthernetLen)
	p.L3 = wire.EthernetLen
	p.Resize(wire.EthernetLen + wire.ARPLen) // what lay behind is not ours to repeat
	e := wire.Ethernet(p.Data)
	e.SetDestination(asker)
	e.SetSource(own)
	e.SetEtherType(wire.EtherTypeARP)
	p.Flags = packet.Ours
	p.Out = p.In
	c.Counters.Answered++
	return packet.Transmit
}

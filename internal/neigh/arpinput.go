package neigh

import (
	"net/netip"

	"weir/internal/packet"
	"weir/internal/port"
	"weir/internal/wire"
)

// inputARP learns from an ARP packet and, if it asks for an address that is ours
// on the port it came in on, turns it into the answer. All others go on to Linux:
// it may have the address that is asked for, and learns from the rest as we do.
func (c *Cache) inputARP(p *packet.Packet) packet.Verdict {
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
		c.conflicts.note(p.In, sender, sha)
		if c.Table.LocalOn(p.In, target) {
			return p.DropFor(packet.ARPConsumed) // nobody answers it
		}
		return p.PuntIf(c.twin(p), packet.ARPConsumed)
	}
	forUs := c.Table.LocalOn(p.In, target)
	switch {
	case forUs && op == wire.ARPRequest:
		if !sender.IsUnspecified() { // not an RFC 5227 probe
			c.learn(p.In, sender, sha, true)
		}
		return c.answer(p, a)
	case forUs, spa == tpa, op == wire.ARPReply && c.asked(p):
		c.learn(p.In, sender, sha, false)
		return p.PuntIf(c.twin(p), packet.ARPConsumed)
	}
	return p.PuntIf(c.twin(p), packet.ARPNotOurs)
}

// asked reports whether an answer came to us that Linux asked for, which speaks from
// our MAC with addresses of its own: what it says is as good for us.
func (c *Cache) asked(p *packet.Packet) bool {
	return c.Ports[p.In%port.Max].Twin && p.Flags&(packet.Broadcast|packet.Multicast) == 0
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

package tunnel

import (
	"encoding/binary"

	"weir/internal/flow"
	"weir/internal/packet"
	"weir/internal/port"
	"weir/internal/stat"
	"weir/internal/wire"
)

// Stage is a worker's desk for tunnel devices.
type Stage struct {
	Second uint16 // a stamp of the time in seconds, set at the start of each breath

	table  *Table
	ports  *[port.Max]port.Facts
	hops   *flow.NextHops
	counts *[stat.MaxPorts]stat.PortCount
}

// New returns the desk of a worker over the shared next hops. What goes through devices
// is counted in counts. SetTables is to be called before use.
func New(hops *flow.NextHops, counts *[stat.MaxPorts]stat.PortCount) *Stage {
	return &Stage{hops: hops, counts: counts}
}

// SetTables tells the devices and the ports, which nobody changes afterwards.
func (s *Stage) SetTables(t *Table, ports *[port.Max]port.Facts) { s.table, s.ports = t, ports }

// Input takes a packet of protocol 4, 41 or 47 that is whole and that ip.Input found to
// be right. If it is a device's, what was inside has come in by that device now, with a
// made-up link header in front of it: Decapsulate, which is to say that ip.Input is to
// look at it. What is no device's stays as it came: Continue.
//
// There is one level: what comes out of a tunnel and is a tunnel's again is dropped.
func (s *Stage) Input(p *packet.Packet) packet.Verdict {
	in := &s.ports[p.In%port.Max]
	outer := p.Data[p.L3:]
	e, kind := ends{kind: IPIP}, outer[0]>>4
	if kind == 6 {
		e.remote, e.local = flow.AddrAt(outer[8:24]), flow.AddrAt(outer[24:40])
	} else {
		e.remote, e.local = flow.V4(binary.LittleEndian.Uint32(outer[12:16])), flow.V4(binary.LittleEndian.Uint32(outer[16:20]))
	}
	inner := p.Data[p.L4:]
	family := uint8(4)
	var d *Device
	if p.Proto == wire.ProtoGRE {
		gre := wire.GRE(inner)
		e.kind = GRE
		if !gre.Valid() {
			if s.table.otherKey(e.local, e.remote, GRE) {
				return p.DropFor(packet.TunnelMalformed)
			}
			return packet.Continue
		}
		if e.keyed = gre.Flags()&Key != 0; e.keyed {
			e.key = gre.Key()
		}
		local, remote := e.local, e.remote
		if d = s.table.find(&e, p.In); d == nil {
			return s.stranger(p, in, local, remote)
		}
		if why := d.accepts(gre); why != packet.NoReason {
			return p.DropFor(why)
		}
		inner = inner[gre.HeaderLength():]
		switch gre.ProtocolType() {
		case wire.EtherTypeIPv4:
		case wire.EtherTypeIPv6:
			family = 6
		default:
			return p.DropFor(packet.TunnelProtocol)
		}
	} else {
		if d = s.table.find(&e, p.In); d == nil {
			return packet.Continue
		}
		if p.Proto == wire.ProtoIPv6 {
			family = 6
		}
	}
	return s.out(p, d, inner, family)
}

// stranger is about GRE for which there is no device: another key is an error that
// should have a name, unless Linux has that tunnel.
func (s *Stage) stranger(p *packet.Packet, in *port.Facts, local, remote flow.Addr) packet.Verdict {
	if !s.table.otherKey(local, remote, GRE) {
		return packet.Continue
	}
	if in.Twin {
		return p.PuntFor(packet.TunnelKey)
	}
	return p.DropFor(packet.TunnelKey)
}

// accepts checks what a device asks of a GRE header. A checksum that is there has to be
// right whether it is asked for or not (RFC 2784, 2.3).
func (d *Device) accepts(gre wire.GRE) packet.Reason {
	has := gre.Flags()
	if has&Checksum != 0 && !gre.ChecksumOK() || d.In&Checksum != 0 && has&Checksum == 0 {
		return packet.TunnelChecksum
	}
	if d.In&Sequence != 0 && (has&Sequence == 0 || !d.State.inOrder(gre.Sequence())) {
		return packet.TunnelSequence
	}
	return packet.NoReason
}

// inOrder reports whether a sequence number is that of the last packet's successor, or
// a later one (RFC 2890, 2.2); what is late is dropped, as Linux does, rather than kept
// for what came before it. Workers that receive at once from several queues take turns.
func (s *State) inOrder(n uint32) bool {
	for {
		was := s.got.Load()
		if was != 0 && int32(n-uint32(was)) < 0 {
			return false
		}
		if s.got.CompareAndSwap(was, gotAny|uint64(n+1)) {
			return true
		}
	}
}

// out takes the outer headers off.
func (s *Stage) out(p *packet.Packet, d *Device, inner []byte, family uint8) packet.Verdict {
	facts := &s.ports[d.Port%port.Max]
	switch {
	case s.ports[p.In%port.Max].Kind == port.Tunnel:
		return p.DropFor(packet.TunnelNested)
	case facts.Down:
		return p.DropFor(packet.PortDown)
	}
	least := wire.IPv4MinLen
	if family == 6 {
		least = wire.IPv6Len
	}
	if len(inner) < least || inner[0]>>4 != family {
		return p.DropFor(packet.TunnelMalformed)
	}
	if !mark(inner, classOf(p.Data[p.L3:])) {
		return p.DropFor(packet.TunnelECN)
	}
	p.TrimFront(len(p.Data) - len(inner) - wire.EthernetLen)
	eth := wire.Ethernet(p.Data)
	eth.SetDestination(facts.MAC)
	eth.SetSource(flow.BeyondMAC(family == 6))
	p.EtherType = wire.EtherTypeIPv4
	if family == 6 {
		p.EtherType = wire.EtherTypeIPv6
	}
	eth.SetEtherType(p.EtherType)
	p.L3, p.L4, p.Proto, p.In = wire.EthernetLen, 0, 0, d.Port
	p.Flags &= packet.CsumPartial | packet.GSO // of the outer header nothing goes on
	p.MTU = 0
	count := &s.counts[d.Port%port.Max]
	count.RxPackets++
	count.RxBytes += uint64(len(p.Data))
	return packet.Decapsulate
}

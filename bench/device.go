package main

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"

	"weir/internal/neigh"
	"weir/internal/port"
	"weir/internal/port/bond"
	"weir/internal/port/pipe"
	"weir/internal/route"
	"weir/internal/tunnel"
	"weir/internal/wire"
)

// A device is what lies between the director and the clients on the wan side. The real
// servers are always on a plain port, so that coming by a device and leaving by it are
// measured each by itself.
type device struct {
	name   string
	bond   *bond.Table    // nil: one cable
	tag    uint32         // of a VLAN; 0: none
	tunnel *tunnel.Device // nil: none
	beside bool           // VLAN and tunnel are there, and clients come beside them
}

var (
	plain      = device{name: "plain"}
	roundRobin = &bond.Table{Mode: bond.RoundRobin, Tx: []uint8{0, 1}, Rx: 3}
	withLACP   = &bond.Table{Mode: bond.LACP, Policy: bond.Layer34, Tx: []uint8{0, 1}, Rx: 3}
)

const vlanTag = uint32(wire.EtherTypeVLAN)<<16 | 100

// The first one is what the others are compared with.
var devices = []device{
	plain,
	{name: "plain, beside others", tag: vlanTag, tunnel: tunnelOf(tunnel.GRE, 0, ends4), beside: true},
	{name: "VLAN", tag: vlanTag},
	{name: "bond, balance-rr", bond: roundRobin},
	{name: "bond, 802.3ad", bond: withLACP},
	{name: "bond + VLAN", bond: withLACP, tag: vlanTag},
	{name: "ipip over IPv4", tunnel: tunnelOf(tunnel.IPIP, 0, ends4)},
	{name: "ipip over IPv6", tunnel: tunnelOf(tunnel.IPIP, 0, ends6)},
	{name: "GRE over IPv4", tunnel: tunnelOf(tunnel.GRE, 0, ends4)},
	{name: "GRE over IPv6", tunnel: tunnelOf(tunnel.GRE, 0, ends6)},
	{name: "GRE, key and checksum", tunnel: tunnelOf(tunnel.GRE, tunnel.Key|tunnel.Checksum, ends4)},
	{name: "GRE on bond + VLAN", bond: withLACP, tag: vlanTag, tunnel: tunnelOf(tunnel.GRE, 0, ends4)},
}

// The ends of the tunnels: ours, and the other one.
var (
	ends4 = [2]netip.Addr{netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("203.0.113.1")}
	ends6 = [2]netip.Addr{netip.MustParseAddr("2001:db8:1::2"), netip.MustParseAddr("2001:db8:fe::1")}
)

// tunnelOf is a tunnel with some words of GRE both ways; lay knows the rest.
func tunnelOf(kind tunnel.Kind, words uint16, ends [2]netip.Addr) *tunnel.Device {
	d := &tunnel.Device{Kind: kind, Local: ends[0], Remote: ends[1], From: ends[0], IsOurs: true, In: words, Out: words}
	if words&tunnel.Key != 0 {
		d.InKey, d.OutKey = 7, 7
	}
	return d
}

// compareDevices measures full-NAT over every device beside plain ports, for both families.
func compareDevices(args []string) error {
	c := contest{
		name: "devices", of: "device", what: "The walk of full-NAT with clients beyond each device, pipe to pipe",
		columns: [4]string{"in by it", "of plain", "out by it", "of plain"},
	}
	for _, d := range devices {
		for family, name := range []string{"IPv4", "IPv6"} {
			c.rows = append(c.rows, row{name: d.name, label: d.name + ", " + name, mode: modes[family], on: d, base: family})
		}
	}
	return c.run(args)
}

// Ports by number: lan and wan, what may lie on wan, and the members of a bond, which
// are no ports of the walk.
const (
	vlanID = 2 + iota
	tunnelID
	firstMember
)

// laid is a bed's ports, lan and wan with a device on it.
type laid struct {
	facts   *[port.Max]port.Facts
	named   []route.Port
	link    uint16 // has the addresses and neighbours of the wan side
	clients uint16 // leads to the clients
	tunnels *tunnel.Table
}

func (l *laid) add(f port.Facts) {
	l.facts[f.ID] = f
	l.named = append(l.named, route.Port{ID: f.ID, Name: f.Name, MTU: f.MTU, PointToPoint: f.PointToPoint})
}

// on is the name of a port.
func (l *laid) on(id uint16) string { return l.facts[id].Name }

// lay lays lan, wan and the device on wan, and tells b the neighbours.
func (d device) lay(b *bed) (*laid, error) {
	const mtu = 1500
	l := &laid{facts: &[port.Max]port.Facts{}, link: wan, clients: wan}
	l.add(port.Facts{ID: lan, Name: "dpdk0", MAC: portMACs[lan], MTU: mtu})
	l.add(port.Facts{ID: wan, Name: "dpdk1", MAC: portMACs[wan], MTU: mtu})
	if d.tag != 0 {
		l.add(port.Facts{ID: vlanID, Kind: port.VLAN, Link: wan, Tag: d.tag, Name: "dpdk1.100", MAC: portMACs[wan], MTU: mtu})
		if !d.beside {
			l.link, l.clients = vlanID, vlanID
		}
	}
	hops := &b.shared.Flows.Hops
	for on, all := range map[uint16][]netip.Addr{lan: {rip, rip6}, l.link: {gateway, gateway6}} {
		side := min(on, wan)
		for _, a := range all {
			if err := neigh.AddStatic(hops, on, a, peerMACs[side], portMACs[side], mtu); err != nil {
				return nil, err
			}
		}
	}
	if d.tunnel == nil {
		return l, nil
	}
	t := *d.tunnel
	t.Port, t.State = tunnelID, &tunnel.State{}
	t.Way = tunnel.Way{Hop: gateway, Port: l.link, MTU: mtu}
	if t.Remote.Is6() {
		t.Way.Hop = gateway6
	}
	l.add(port.Facts{ID: tunnelID, Kind: port.Tunnel, Name: "tunnel1", MTU: mtu - t.Overhead(), PointToPoint: true})
	hops.SetPointToPoint(tunnelID, true)
	l.tunnels = tunnel.Build([]tunnel.Device{t})
	if !d.beside {
		l.clients = tunnelID
	}
	return l, nil
}

// open gives the worker its queue of a side: a pipe's, or that of a bond of several.
func (b *bed) open(side uint16, as *bond.Table) error {
	if as == nil {
		q, err := b.pipe(side, side)
		if err != nil {
			return err
		}
		b.worker.AddQueue(side, q)
		return nil
	}
	bonded := bond.New(side)
	bonded.Publish(as)
	q, err := bonded.Open(b.pool)
	if err != nil {
		return err
	}
	b.worker.AddQueue(side, q)
	b.closers = append(b.closers, q)
	for i := range as.Tx {
		member, err := b.pipe(firstMember+uint16(i), side)
		if err != nil {
			return err
		}
		if err := q.AddRx(i, member); err != nil {
			return err
		}
	}
	return nil
}

// pipe opens the queue of a new pipe on a side.
func (b *bed) pipe(id, side uint16) (*pipe.Queue, error) {
	q, err := pipe.New(id, fmt.Sprintf("pipe%d", id), portMACs[side], 1500).Queue(0, b.pool)
	if err != nil {
		return nil, err
	}
	b.queues[side] = append(b.queues[side], q)
	b.closers = append(b.closers, q)
	return q, nil
}

// wrap makes of a frame from a client, as it comes to a plain port, one that comes by
// the device.
func (d device) wrap(f []byte) []byte {
	if d.beside {
		return f
	}
	if d.tunnel != nil {
		f = encapsulate(d.tunnel, f)
	}
	if d.tag != 0 {
		f = slices.Insert(f, 2*len(port.MAC{}), binary.BigEndian.AppendUint32(nil, d.tag)...)
	}
	return f
}

// encapsulate puts the packet of a frame into one from the other end of a tunnel.
func encapsulate(t *tunnel.Device, f []byte) []byte {
	ip, gre := wire.IPv4MinLen, 0
	if t.Remote.Is6() {
		ip = wire.IPv6Len
	}
	if t.Kind == tunnel.GRE {
		gre = wire.GRELen(t.In)
	}
	inner := binary.BigEndian.Uint16(f[12:])
	f = slices.Insert(f, wire.EthernetLen, make([]byte, ip+gre)...)
	outer := f[wire.EthernetLen:]
	proto := wire.ProtoIPIP
	switch {
	case t.Kind == tunnel.GRE:
		wire.GRE(outer[ip:]).Put(t.In, inner, t.InKey, 0)
		proto = wire.ProtoGRE
	case inner == wire.EtherTypeIPv6:
		proto = wire.ProtoIPv6
	}
	if t.Remote.Is6() {
		wire.Ethernet(f).SetEtherType(wire.EtherTypeIPv6)
		h := wire.IPv6(outer)
		h.SetVersionClassFlow(0, 0)
		h.SetPayloadLength(uint16(len(outer) - ip))
		h.SetNextHeader(proto)
		h.SetHopLimit(64)
		h.SetSrc(t.Remote.As16())
		h.SetDst(t.Local.As16())
		return f
	}
	wire.Ethernet(f).SetEtherType(wire.EtherTypeIPv4)
	h := wire.IPv4(outer)
	h.SetVersionIHL(wire.IPv4MinLen)
	h.SetTotalLength(uint16(len(outer)))
	h.SetTTL(64)
	h.SetProtocol(proto)
	h.SetSrc(t.Remote.As4())
	h.SetDst(t.Local.As4())
	h.ComputeChecksum()
	return f
}

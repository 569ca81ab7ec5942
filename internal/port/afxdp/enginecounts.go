package afxdp

import (
	"weir/bpf"
)

// What an engine counts. Each processor has counters of its own, which are summed here.

// MaxDests is how many real servers have counters: service.MaxDests.
const MaxDests = 1 << 16

// Carried is what the engine forwarded from one port to another.
type Carried struct {
	Packets          uint64
	RxBytes, TxBytes uint64 // of frames, link header and tag included
}

// Way returns what came in on one port and left by another: of what came as IPv4 and
// left as IPv4, came as IPv6 and left as IPv4, IPv4 and IPv6, IPv6 and IPv6. What was
// lost after that (Lost) is in it.
func (e *Engine) Way(in, out uint16) (by [4]Carried) {
	for cpu := range e.cpus {
		for family := range by {
			w, c := &e.ways[cpu<<14|family<<12|int(in)<<6|int(out)], &by[family]
			c.Packets += atomicLoad(&w.Packets)
			c.RxBytes += atomicLoad(&w.RxBytes)
			c.TxBytes += atomicLoad(&w.TxBytes)
		}
	}
	e.plain(in, out, &by)
	return by
}

// Lost returns how many frames of a port the kernel lost after the engine had sent
// them: for want of room in the driver, or because it would not take them.
func (e *Engine) Lost(id uint16) (full, refused uint64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.losses == nil { // they are not counted yet
		return 0, 0
	}
	for cpu := range e.cpus {
		l := &e.losses[cpu<<6|int(id)]
		full += atomicLoad(&l.Full)
		refused += atomicLoad(&l.Refused)
	}
	return full, refused
}

// Passed is why frames of a port went to the workers, by the numbers of PassedNames.
func (e *Engine) Passed(id uint16) (n [len(PassedNames)]uint64) {
	for cpu := range e.cpus {
		for i := range n {
			n[i] += atomicLoad(&e.passed[cpu<<6|int(id)].Why[i])
		}
	}
	return n
}

// PassedNames are the reasons of enum why in forward.bpf.c, and what they mean.
var PassedNames = [...]struct{ Name, Text string }{
	{"taken", ""},
	{"link", "no IPv4 or IPv6 for the port's own MAC address, or a tag for which there is no VLAN device"},
	{"header", "IP options, extension headers, a fragment, malformed"},
	{"protocol", "neither TCP nor UDP"},
	{"flags", "TCP SYN, FIN or RST, or TCP options other than timestamps and SACK"},
	{"open_checksum", "the sender left the checksum to its card, and on a virtual link there is none: ethtool -K IF tx off at the sender"},
	{"no_flow", "first packets, and what belongs to no flow"},
	{"slow_flow", "the flow's packets are the workers': handshake, client address still to be told, PROXY, moved sequence numbers, lists"},
	{"mode", "the flow's way of forwarding is the workers'"},
	{"changed", "the flow changed while it was looked at"},
	{"next_hop", "the route is to be looked up anew, or the neighbour is not known"},
	{"port", "the way out takes no frames from XDP"},
	{"ttl", "TTL or hop limit ran out"},
	{"size", "longer than the way out takes"},
	{"room", "no room in front of the packet for a longer header"},
}

// Dest is what the engine carried to and from a real server.
type Dest struct{ InPkts, InBytes, OutPkts, OutBytes uint64 }

// Dest returns the counts of a real server since they were cleared.
func (e *Engine) Dest(i uint32) Dest {
	e.mu.Lock()
	defer e.mu.Unlock()
	s, z := e.sum(i), e.zero[i%MaxDests]
	return Dest{
		InPkts: s.Way[0].Packets - z.Way[0].Packets, InBytes: s.Way[0].Bytes - z.Way[0].Bytes,
		OutPkts: s.Way[1].Packets - z.Way[1].Packets, OutBytes: s.Way[1].Bytes - z.Way[1].Bytes,
	}
}

// ZeroDest clears them: the programs' own counters go on.
func (e *Engine) ZeroDest(i uint32) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.zero[i%MaxDests] = e.sum(i)
}

func (e *Engine) sum(i uint32) (s bpf.ForwardServed) {
	for cpu := range e.cpus {
		c := &e.served[uint32(cpu)<<16|i%MaxDests]
		for way := range s.Way {
			s.Way[way].Packets += atomicLoad(&c.Way[way].Packets)
			s.Way[way].Bytes += atomicLoad(&c.Way[way].Bytes)
		}
	}
	return s
}

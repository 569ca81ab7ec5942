package service

import (
	"math/bits"

	"weir/internal/flow"
	"weir/internal/lb/sched"
)

// Matcher is what packets a service without virtual address is for: compiled from
// spec.Match. Addresses and ports are numbers, ends included; both ends of a range
// are of the family that the service is for.
type Matcher struct {
	Proto                                                uint8
	SrcFirst, SrcLast, DstFirst, DstLast                 sched.Addr
	SrcPortFirst, SrcPortLast, DstPortFirst, DstPortLast uint16
	In, Out                                              uint16 // port indexes, AnyPort for any
}

// AnyPort is no index of a port: it stands for all of them.
const AnyPort = ^uint16(0)

// Outward is a first packet as match services see it: the tuple as on the wire,
// ports read little-endian, the port it came in on and the one its route leads to.
type Outward struct {
	Proto            uint8
	Src, Dst         flow.Addr
	SrcPort, DstPort uint16
	In, Out          uint16
}

// covers reports whether a packet is one of those.
func (m *Matcher) covers(p *Outward) bool {
	src, dst := sched.FromWire(p.Src), sched.FromWire(p.Dst)
	sport, dport := bits.ReverseBytes16(p.SrcPort), bits.ReverseBytes16(p.DstPort)
	return m.Proto == p.Proto &&
		src.Within(m.SrcFirst, m.SrcLast) && dst.Within(m.DstFirst, m.DstLast) &&
		sport >= m.SrcPortFirst && sport <= m.SrcPortLast && dport >= m.DstPortFirst && dport <= m.DstPortLast &&
		(m.In == AnyPort || m.In == p.In) && (m.Out == AnyPort || m.Out == p.Out)
}

// Matching reports whether there are match services at all.
func (t *Table) Matching() bool { return len(t.matches) > 0 }

// Match returns the match service that a packet is for: the newest of those that
// cover it, as in DPVS. nil if there is none.
func (t *Table) Match(p *Outward) *Service {
	for _, s := range t.matches {
		if s.Match.covers(p) {
			return s
		}
	}
	return nil
}

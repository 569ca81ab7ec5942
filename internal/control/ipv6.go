package control

import (
	"weir/api/weirv1"
	"weir/internal/packet"
	"weir/internal/stat"
)

// What RFC 4293 counts of IPv6, as far as a worker does: ipSystemStatsTable's names,
// as Linux and DPVS print them.

// Reasons by what RFC 4293 calls the loss. All others of packets that came are
// discards.
var (
	headerErrors  = []packet.Reason{packet.IPHeader, packet.IPVersion, packet.IPExtension, packet.IPRouting, packet.IPTTL}
	addressErrors = []packet.Reason{packet.IPSource, packet.IPDestination, packet.IPScope, packet.IPNotOurs}
	noRoutes      = []packet.Reason{packet.IPNoRoute, packet.LBNoRouteToDest, packet.LBNoRouteBack}
	joinFailures  = []packet.Reason{
		packet.IPFragment, packet.IPFragTiny, packet.IPFragOverlap, packet.IPFragDuplicate, packet.IPFragTimeout, packet.IPFragFull, packet.IPFragTooMany,
	}
	outDiscards = []packet.Reason{
		packet.NeighQueueFull, packet.NeighFailed, packet.NeighTableFull, packet.NeighNoSource,
		packet.PortTxFull, packet.PortTxError, packet.PortTxTooBig, packet.PortDown, packet.HandoffFull,
	}
)

// ipv6Counters names a worker's counters of IPv6.
func ipv6Counters(s *stat.Worker) []*weirv1.IPv6Counter {
	rest := s.Drops6
	take := func(reasons ...packet.Reason) (n uint64) {
		for _, r := range reasons {
			n += rest[r]
			rest[r] = 0
		}
		return n
	}
	header, address, route, tooBig := take(headerErrors...), take(addressErrors...), take(noRoutes...), take(packet.IPTooBig)
	protos, timeout := take(packet.IPNoListener), rest[packet.IPFragTimeout]
	fails, out := take(joinFailures...), take(outDiscards...)
	var in uint64
	for _, n := range rest {
		in += n
	}
	var all []*weirv1.IPv6Counter
	for _, c := range []struct {
		name  string
		value uint64
	}{
		{"InReceives", s.In6}, {"InOctets", s.In6Bytes}, {"InDelivers", s.Delivered6},
		{"OutForwDatagrams", s.Out6 - s.Made6}, {"OutRequests", s.Made6}, {"OutOctets", s.Out6Bytes},
		{"InHdrErrors", header}, {"InTooBigErrors", tooBig}, {"InNoRoutes", route}, {"InAddrErrors", address}, {"InUnknownProtos", protos},
		{"InDiscards", in}, {"OutDiscards", out},
		{"ReasmTimeout", timeout}, {"ReasmReqds", s.Fragments6}, {"ReasmOKs", s.Reassembled6}, {"ReasmFails", fails},
		{"FragOKs", s.Fragmented6}, {"FragCreates", s.FragmentsMade6},
	} {
		all = append(all, &weirv1.IPv6Counter{Name: c.name, Value: c.value})
	}
	return all
}

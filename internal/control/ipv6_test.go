package control

import (
	"testing"

	"weir/internal/packet"
	"weir/internal/stat"
)

// TestIPv6Counters: each loss is in one counter, but for those that failed to become
// whole in time, which are in two.
func TestIPv6Counters(t *testing.T) {
	s := stat.Worker{In6: 1000, In6Bytes: 2000, Delivered6: 3, Fragments6: 4, Reassembled6: 5, Out6: 13, Made6: 7, Out6Bytes: 8, Fragmented6: 9, FragmentsMade6: 10}
	total := uint64(0)
	for r := packet.NoReason + 1; r < packet.NumReasons; r++ {
		s.Drops6[r] = uint64(r)
		total += uint64(r)
	}
	got := map[string]uint64{}
	for _, c := range ipv6Counters(&s) {
		got[c.Name] = c.Value
	}
	for name, want := range map[string]uint64{
		"InReceives": 1000, "InOctets": 2000, "InDelivers": 3, "ReasmReqds": 4, "ReasmOKs": 5,
		"OutForwDatagrams": 6, "OutRequests": 7, "OutOctets": 8, "FragOKs": 9, "FragCreates": 10,
		"InHdrErrors":    uint64(packet.IPHeader) + uint64(packet.IPVersion) + uint64(packet.IPExtension) + uint64(packet.IPRouting) + uint64(packet.IPTTL),
		"InTooBigErrors": uint64(packet.IPTooBig), "ReasmTimeout": uint64(packet.IPFragTimeout), "InUnknownProtos": uint64(packet.IPNoListener),
	} {
		if got[name] != want {
			t.Errorf("%s %d, want %d", name, got[name], want)
		}
	}
	sum := got["InHdrErrors"] + got["InTooBigErrors"] + got["InNoRoutes"] + got["InAddrErrors"] + got["InUnknownProtos"] + got["InDiscards"] + got["OutDiscards"] + got["ReasmFails"]
	if sum != total {
		t.Errorf("the losses are %d in sum, want %d", sum, total)
	}
}

package lb

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"weir/internal/flow"
	"weir/internal/lb/service"
	"weir/internal/packet"
	"weir/internal/spec"
	"weir/internal/wire"
)

// TestAnyTunnelError: whatever a router quotes of a packet in a packet, however much
// of it, the director neither falls over it nor tells of more than there is; and what
// it refuses is the inner packet.
func TestAnyTunnelError(t *testing.T) {
	b := newBed(t)
	all := b.Tables.Services.All()
	svc := *all[0]
	svc.Modes = []spec.Forward{spec.Tunnel}
	tables := *b.Tables
	tables.Services = service.NewTable([]*service.Service{&svc, all[1]})
	b.SetTables(&tables, b.ports)
	first := b.packet(protoTCP, client, vip, 40000, 80, tcpSYN)
	if v := b.Input(first); v != packet.Output || !first.Is(packet.Encapsulated) {
		t.Fatalf("%v for %v", v, first.Reason)
	}
	sent := slices.Clone(first.Data[first.L3:])
	b.pool.Put(first)
	from := netip.AddrFrom4(wire.IPv4(sent).Src())
	met := map[packet.Reason]int{}
	rnd := rand.New(rand.NewPCG(1, 2))
	for n := range 100_000 {
		quoted := slices.Clone(sent)
		wire.IPv4(quoted).SetTotalLength(1500)
		for range n % 4 {
			quoted[rnd.IntN(len(quoted))] ^= 1 << rnd.IntN(8)
		}
		quoted = quoted[:rnd.IntN(len(quoted)+1)]
		p := b.pool.Get()
		p.Resize(14 + 28 + len(quoted))
		clear(p.Data)
		p.L3, p.L4, p.EtherType, p.Proto, p.In = 14, 34, wire.EtherTypeIPv4, protoICMP, 0
		ip, m := wire.IPv4(p.Data[14:]), wire.ICMPv4(p.Data[34:])
		ip.SetVersionIHL(20)
		ip.SetTotalLength(uint16(len(ip)))
		ip.SetTTL(64)
		ip.SetProtocol(protoICMP)
		ip.SetSrc([4]byte{192, 168, 1, 254})
		ip.SetDst(from.As4())
		ip.ComputeChecksum()
		copy(m[8:], quoted)
		m.SetType(wire.ICMPv4Unreachable)
		m.SetCode([]uint8{1, 4}[rnd.IntN(2)])
		m.SetNextHopMTU(uint16(rnd.Uint32()))
		m.ComputeChecksum()
		v := b.Input(p)
		met[p.Reason]++
		if v == packet.Refuse {
			inner := wire.IPv4(p.Data[p.L3:])
			if len(inner) < 28 || inner.Protocol() != protoTCP || flow.AddrOf(netip.AddrFrom4(inner.Dst())) != flow.AddrOf(vip) {
				t.Fatalf("refused %x", []byte(inner))
			}
			if p.Reason == packet.IPTooBig && p.MTU < leastPath-20 {
				t.Fatalf("an MTU of %d is told", p.MTU)
			}
		}
		b.pool.Put(p)
	}
	for _, r := range []packet.Reason{packet.ICMPMalformed, packet.ICMPUnrelated, packet.ICMPTunnel, packet.ICMPUnwanted, packet.IPTooBig, packet.LBTunnelUnreachable} {
		if met[r] == 0 {
			t.Errorf("nothing was dropped for %s: %v", r, met)
		}
	}
}

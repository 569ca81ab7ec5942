package lb

import (
	"testing"

	"weir/internal/flow"
	"weir/internal/lb/forward"
	"weir/internal/lb/service"
	"weir/internal/packet"
)

// TestPacketOfAnEndingConnection: another worker took it on himself to end the
// connection, while this packet is on its way.
func TestPacketOfAnEndingConnection(t *testing.T) {
	b := newBed(t)
	if v, r := b.input(b.packet(protoTCP, client, vip, 40000, 80, tcpSYN)); v != packet.Output {
		t.Fatalf("SYN: %v for %v", v, r)
	}
	if !b.flows.Claim(0) {
		t.Fatal("the connection is not there")
	}
	if v, r := b.input(b.packet(protoTCP, client, vip, 40000, 80, tcpSYN)); v != packet.Drop || r != packet.LBLateRewrite {
		t.Errorf("%v for %v, want a drop for %v", v, r, packet.LBLateRewrite)
	}
}

// TestTupleIsTaken: the other worker was faster and made the same connection.
func TestTupleIsTaken(t *testing.T) {
	b := newBed(t)
	local := b.sh.Locals.At(0)
	e := forward.Ends{
		Proto: protoUDP, Client: flow.AddrOf(client), Virtual: flow.AddrOf(vip), ClientPort: service.WirePort(9), VirtualPort: service.WirePort(53),
		Local: local.Wire, LocalPort: service.WirePort(1025), Real: flow.AddrOf(rs), RealPort: service.WirePort(53),
	}
	in, out := forward.FullNAT(&e)
	if _, err := b.own.Insert(&in, &out, &flow.NewConn{Timeout: 1000}, b.Now); err != nil {
		t.Fatal(err)
	}
	usedBefore, _, _ := local.Counts()
	// The next port of the pool is 1025, which is in that connection.
	if v, r := b.input(b.packet(protoUDP, client, vip, 10, 53, 0)); v != packet.Drop || r != packet.LBConnRace {
		t.Errorf("%v for %v, want a drop for %v", v, r, packet.LBConnRace)
	}
	if used, _, _ := local.Counts(); used != usedBefore {
		t.Errorf("%d ports in use, before it were %d: the port was not given back", used, usedBefore)
	}
	// The port went to the end of its queue: the next try takes another.
	if v, r := b.input(b.packet(protoUDP, client, vip, 10, 53, 0)); v != packet.Output {
		t.Errorf("%v for %v, want the connection to be made with the next port", v, r)
	}
	if d := b.sh.Dests[1].Load(); d.Refs() != 1 || d.Load.Inactive.Load() != 1 {
		t.Errorf("the real server has %d references and %d connections, want one", d.Refs(), d.Load.Inactive.Load())
	}
}

// TestEndGivesEverythingBack: whoever ends a connection, all that it borrowed
// comes back once.
func TestEndGivesEverythingBack(t *testing.T) {
	b := newBed(t)
	local := b.sh.Locals.At(0)
	for i := range 10 {
		b.input(b.packet(protoTCP, client, vip, uint16(40000+i), 80, tcpSYN))
	}
	d := b.sh.Dests[0].Load()
	if used, _, _ := local.Counts(); used != 10 || d.Refs() != 10 || b.sh.HalfOpen.Load() != 10 {
		t.Fatalf("%d ports, %d references, %d half-open: want 10 of each", used, d.Refs(), b.sh.HalfOpen.Load())
	}
	if v, r := b.input(b.packet(protoTCP, client, vip, 50000, 80, tcpSYN)); v != packet.Drop || r != packet.LBNoLocalPort {
		t.Errorf("eleventh: %v for %v, want a drop for %v", v, r, packet.LBNoLocalPort)
	}
	for i := range uint32(10) {
		b.End(i)
		b.End(i)
	}
	if used, _, _ := local.Counts(); used != 0 || d.Refs() != 0 || b.sh.HalfOpen.Load() != 0 || d.Load.Inactive.Load() != 0 || b.flows.Len() != 0 {
		t.Errorf("%d ports, %d references, %d half-open, %d inactive, %d connections are left", used, d.Refs(), b.sh.HalfOpen.Load(), d.Load.Inactive.Load(), b.flows.Len())
	}
}

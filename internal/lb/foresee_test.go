package lb

import (
	"math/rand/v2"
	"net/netip"
	"testing"

	"bytes"

	"weir/internal/flow"
	"weir/internal/packet"
	"weir/internal/route"
	"weir/internal/wire"
)

// What is foreseen of a burst is what its connections get.
func TestForeseen(t *testing.T) {
	for _, row := range []struct {
		name  string
		proto uint8
		port  uint16
		flags uint8
	}{{"TCP", protoTCP, 80, tcpSYN}, {"UDP", protoUDP, 53, 0}} {
		t.Run(row.name, func(t *testing.T) {
			b := newBed(t)
			old := b.packet(row.proto, client, vip, 999, row.port, row.flags)
			if v, r := b.input(old); v != packet.Output {
				t.Fatalf("%v for %v", v, r)
			}
			var burst []*packet.Packet
			for i := range uint16(6) {
				p := b.packet(row.proto, client, vip, 1000+i, row.port, row.flags)
				if i == 3 {
					p = b.packet(row.proto, client, vip, 999, row.port, tcpACK) // of a connection that is there
				}
				p.Verdict = packet.Continue
				burst = append(burst, p)
			}
			b.Expect(burst)
			b.foresee(burst[0], b.Tables.Services.Lookup(row.proto, flow.AddrOf(vip), uint16(burst[0].Key1>>16)))
			f := &b.foreseen
			if f.n != 5 {
				t.Fatalf("%d connections are foreseen", f.n)
			}
			var ports []uint16
			for _, e := range f.of[:f.n] {
				port, ok := e.local.Peek(e.pool, e.nth)
				if !ok {
					t.Fatal("a port is foreseen that is not free")
				}
				ports = append(ports, port)
			}
			n := uint32(0)
			for _, p := range burst {
				if v, r := b.input(p); v != packet.Output {
					t.Fatalf("%v for %v", v, r)
				}
				for ; n+1 < uint32(b.flows.Len()); n++ {
					// Connections get indexes in the order in which they are made.
					if got := b.flows.Conn(n + 1).LocalPort; got != ports[n] {
						t.Errorf("connection %d has port %d, %d was foreseen", n, got, ports[n])
					}
				}
			}
			if n != 5 {
				t.Errorf("%d connections were made", n)
			}
			// Out of a burst nothing is foreseen.
			b.Expect(nil)
			b.foresee(burst[0], b.Tables.Services.All()[0])
			if f.n != 0 {
				t.Errorf("%d connections are foreseen of nothing", f.n)
			}
		})
	}
}

// The short way to put the client's address into a segment gives what the long one gives.
func TestTOAAhead(t *testing.T) {
	b := newBed(t)
	rnd := rand.New(rand.NewPCG(3, 4))
	stamp := []byte{wire.OptNOP, wire.OptNOP, wire.OptTimestamp, 10, 1, 2, 3, 4, 5, 6, 7, 8}
	sack := append(bytes.Clone(stamp), wire.OptNOP, wire.OptNOP, wire.OptSACK, 10, 9, 9, 9, 9, 8, 8, 8, 8)
	for _, row := range []struct {
		name   string
		client string
		opts   []byte
		mtu    uint16
	}{
		{"IPv4", "1.2.3.4", nil, 1500}, {"IPv4, timestamp", "1.2.3.4", stamp, 1500}, {"IPv4, SACK", "1.2.3.4", sack, 1500},
		{"IPv6", "2001:db8::9", nil, 1500}, {"IPv6, timestamp", "2001:db8::9", stamp, 1500}, {"IPv6, SACK", "2001:db8::9", sack, 1500},
		{"no room", "1.2.3.4", stamp, 60}, {"no room, IPv6", "2001:db8::9", stamp, 60}, {"any room", "1.2.3.4", stamp, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			b.src = flow.AddrOf(netip.MustParseAddr(row.client))
			hop := &flow.NextHop{MTU: row.mtu}
			for range 200 {
				p := segment(b, rnd, row.opts, rnd.IntN(40))
				q := b.pool.Get()
				q.Resize(len(p.Data))
				copy(q.Data, p.Data)
				q.L3, q.L4, q.Key1, q.Proto, q.EtherType = p.L3, p.L4, p.Key1, protoTCP, wire.EtherTypeIPv4
				p.Proto, p.EtherType = protoTCP, wire.EtherTypeIPv4
				p.Flags, q.Flags = packet.Keyed|packet.Plain, packet.Keyed
				if rnd.IntN(8) == 0 {
					p.Flags |= packet.CsumPartial
					q.Flags |= packet.CsumPartial
				}
				if short, long := b.addTOA(p, hop), b.addTOA(q, hop); short != long || !bytes.Equal(p.Data[14:], q.Data[14:]) {
					t.Fatalf("%v %v\n%x\n%x", short, long, p.Data[14:], q.Data[14:])
				}
				b.pool.Put(p)
				b.pool.Put(q)
			}
		})
	}
}

// What is remembered of ways is given up with the routes and with the next hops.
func TestRememberedWays(t *testing.T) {
	b := newBed(t)
	d := b.sh.Dests[0].Load()
	to := flow.AddrOf(client)
	there, back := b.hopToDest(d), b.hopTo(to)
	if there == 0 || back == 0 || b.hopToDest(d) != there || b.hopTo(to) != back {
		t.Fatalf("ways %#x, %#x, then %#x, %#x", there, back, b.hopToDest(d), b.hopTo(to))
	}
	b.flows.Hops.Invalidate()
	there2, back2 := b.hopToDest(d), b.hopTo(to)
	for _, ref := range []flow.NextHopRef{there2, back2} {
		if _, current := b.flows.Hops.Current(ref); !current {
			t.Errorf("way %#x is of a former generation", ref)
		}
	}
	none, err := route.Build(nil, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	tables := *b.Tables
	tables.Routes = none
	b.SetTables(&tables, b.ports)
	if there, back := b.hopToDest(d), b.hopTo(to); there != 0 || back != 0 {
		t.Errorf("ways %#x, %#x without routes", there, back)
	}
}

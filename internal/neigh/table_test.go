package neigh

import (
	"testing"

	"weir/internal/flow"
	"weir/internal/packet"
	"weir/internal/port"
	"weir/internal/wire"
)

func TestStatic(t *testing.T) {
	b := newBed(t, 16)
	hops := &b.table.Hops
	if err := AddStatic(hops, 0, x, macX, mac0, 1500); err != nil {
		t.Fatal(err)
	}
	if err := AddStatic(hops, 0, x, port.Broadcast, mac0, 1500); err == nil {
		t.Error("the broadcast address was taken as a neighbour's")
	}
	b.arp(wire.ARPReply, macY, x, own) // nobody changes it
	b.pass(10000)
	v, why := b.send(x)
	want(t, v, why, packet.Output, 0)
	b.wantOut()
	b.wantState(x, "REACHABLE 0200000000aa")
	if Housekeep(hops, b.now+10*IdleTime, 0) != 0 {
		t.Error("a static entry was freed")
	}
	l := List(hops, b.now, 60)
	if len(l) != 1 || !l[0].Static || l[0].Addr != x || l[0].MAC != macX || l[0].State != flow.NUDReachable || !l[0].Resolved {
		t.Errorf("%+v", l)
	}
	if !DeleteStatic(hops, 0, x) || DeleteStatic(hops, 0, x) {
		t.Error("deleting a static entry is not true once")
	}
	b.wantState(x, "unknown")
}

func TestHousekeepFreesTheIdle(t *testing.T) {
	b := newBed(t, 16)
	hops := &b.table.Hops
	ref, _ := b.hop(x)
	if Housekeep(hops, b.now, 0) != 0 || Housekeep(hops, b.now+IdleTime-1, 0) != 0 {
		t.Error("a fresh entry was freed")
	}
	b.learn(0, x, macX, false)
	b.now += IdleTime - 1
	b.Tick(b.now)
	b.send(x)
	if Housekeep(hops, b.now+IdleTime-1, 0) != 0 {
		t.Error("an entry in use was freed")
	}
	if l := List(hops, b.now+IdleTime-1, 60); len(l) != 1 || l[0].State != flow.NUDDelay {
		t.Errorf("idle entry is listed as %+v", l)
	}
	if Housekeep(hops, b.now+IdleTime, 0) != 1 || hops.Len() != 0 {
		t.Error("an idle entry was not freed")
	}
	if _, current := hops.Current(ref); current {
		t.Error("flows don't notice")
	}
}

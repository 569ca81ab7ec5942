package director

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"weir/internal/lb/service"
	"weir/internal/spec"
)

func (b *small) registered(k spec.ServiceKey, a string) *service.Dest {
	b.t.Helper()
	d := b.dests.byKey[destKey{k, netip.MustParseAddrPort(a)}]
	if d == nil {
		b.t.Fatalf("%s of %s is not registered", a, k)
	}
	return d
}

// age makes removed real servers look removed long ago.
func (b *small) age() {
	for i := range b.dests.leaving {
		b.dests.leaving[i].since = b.dests.leaving[i].since.Add(-time.Minute)
	}
}

// The index of a removed real server goes to another only when no connection
// uses it, a while has passed in which a worker could still have chosen it, and
// no counter remembers it.
func TestIndexIsUsedAgainWhenNobodyUsesIt(t *testing.T) {
	b := newSmall(t, shape{workers: 2, lan: []int{0, 1}, wan: []int{0, 1}})
	b.change(twoArm())
	b.asked(40000, "10.0.0.100:53")
	old := b.registered(dns, "192.168.1.2:53")
	b.change(noDest(dns, "192.168.1.2:53"))

	b.KeepHouse()
	b.age()
	b.KeepHouse()
	if got := b.shared.Dests[old.Index].Load(); got != old || old.Refs() != 1 {
		t.Fatalf("index %d is %v with %d connections while one uses it", old.Index, got, old.Refs())
	}
	// Its connection goes on, and is counted for it.
	out := b.fromWAN("ip 1.2.3.4 > 10.0.0.100 / udp 40000 > 53 data=4")
	if len(out) != 1 || b.workers[0].LB().Count(old.Index).InPkts != 2 {
		t.Errorf("%q left; %d packets counted", out, b.workers[0].LB().Count(old.Index).InPkts)
	}
	b.change(addDest(dns, "192.168.1.3:53", 1))
	if got := b.registered(dns, "192.168.1.3:53"); got.Index == old.Index {
		t.Fatal("another real server has its index")
	}

	b.dests.leaving[0].since = time.Now()
	b.pass(12 * time.Second)
	if old.Refs() != 0 {
		t.Fatalf("%d connections after their timeout", old.Refs())
	}
	if b.shared.Dests[old.Index].Load() != old {
		t.Error("the index was given up at once")
	}
	b.age()
	b.KeepHouse()
	if b.shared.Dests[old.Index].Load() != nil || !slices.Contains(b.dests.free, old.Index) {
		t.Error("the index was not given up")
	}
	for _, w := range b.workers {
		if c := w.LB().Count(old.Index); c != (Count{}) {
			t.Errorf("worker %s still counts %+v", w.Name, c)
		}
	}
	b.change(addDest(dns, "192.168.1.4:53", 1))
	next := b.registered(dns, "192.168.1.4:53")
	if next.Index != old.Index || next == old {
		t.Errorf("the next real server got index %d, want the free %d", next.Index, old.Index)
	}
	if v := b.view(dns).Dests[1]; v.Count != (Count{}) || v.Active != 0 || v.Inactive != 0 {
		t.Errorf("it begins with %+v", v)
	}
}

// A real server that comes back while old connections of it last is a new one:
// it begins with nothing, and what the old ones do is not its.
func TestReaddedRealServerIsNew(t *testing.T) {
	b := newSmall(t, shape{})
	b.change(twoArm())
	b.asked(40000, "10.0.0.100:53")
	old := b.registered(dns, "192.168.1.2:53")
	for _, step := range []struct {
		name  string
		edits []func(*spec.Spec) error
	}{
		{"removed and added", []func(*spec.Spec) error{noDest(dns, "192.168.1.2:53"), addDest(dns, "192.168.1.2:53", 1)}},
		{"service removed and added", []func(*spec.Spec) error{noService(dns),
			all(addService(dns, "rr"), addDest(dns, "192.168.1.2:53", 1), addLocal(dns, "192.168.1.200"))}},
	} {
		for _, e := range step.edits {
			b.change(e)
		}
		now := b.registered(dns, "192.168.1.2:53")
		if now == old || now.Index == old.Index || !old.Closed.Load() || now.Closed.Load() {
			t.Errorf("%s: the real server is the old one", step.name)
		}
		if v := b.view(dns).Dests[0]; v.Count != (Count{}) || v.Active != 0 || v.Inactive != 0 {
			t.Errorf("%s: it begins with %+v", step.name, v)
		}
		// The old connection goes on and is not counted for the new one.
		b.left()
		if out := b.fromWAN("ip 1.2.3.4 > 10.0.0.100 / udp 40000 > 53 data=4"); len(out) != 1 || !strings.Contains(out[0], "> 192.168.1.2") {
			t.Errorf("%s: the connection's packet left as %q", step.name, out)
		}
		if v := b.view(dns).Dests[0]; v.Count != (Count{}) {
			t.Errorf("%s: the old connection is counted for it: %+v", step.name, v)
		}
		old = b.registered(dns, "192.168.1.2:53")
		b.asked(40001+len(step.name), "10.0.0.100:53")
	}
}

// An edit of a real server or a service keeps the real server and its counts.
func TestEditKeepsRealServer(t *testing.T) {
	b := newSmall(t, shape{})
	b.change(twoArm())
	b.asked(40000, "10.0.0.100:53")
	before, was := b.registered(dns, "192.168.1.2:53"), b.view(dns).Dests[0]
	if was.Count.Conns != 1 || was.Count.InPkts != 1 || was.Inactive+was.Active != 1 {
		t.Fatalf("one packet gave %+v", was)
	}
	for name, edit := range map[string]func(*spec.Spec) error{
		"weight":    weigh(dns, "192.168.1.2:53", 7),
		"scheduler": reschedule(dns, "wlc"),
		"another":   addDest(dns, "192.168.1.3:53", 1),
		"threshold": func(s *spec.Spec) error {
			d := aDest("192.168.1.2:53", 7)
			d.UThreshold, d.LThreshold = 9, 5
			return s.EditDest(dns, d)
		},
	} {
		b.change(edit)
		now := b.view(dns).Dests[0]
		if b.registered(dns, "192.168.1.2:53") != before || now.Count != was.Count || now.Inactive != was.Inactive || now.Active != was.Active {
			t.Errorf("%s: %+v, was %+v", name, now, was)
		}
	}
	for weight, closed := range map[uint32]bool{0: true, 1: false} {
		b.change(weigh(dns, "192.168.1.2:53", weight))
		if before.Closed.Load() != closed {
			t.Errorf("weight %d: closed is %v", weight, before.Closed.Load())
		}
	}
}

// Counts are cleared for the services that are meant and no others.
func TestZero(t *testing.T) {
	b := newSmall(t, shape{workers: 2, lan: []int{0, 1}, wan: []int{0, 1}})
	other := udp("10.0.0.100:54")
	b.change(twoArm(), addService(other, "rr"), addDest(other, "192.168.1.2:54", 1), addLocal(other, "192.168.1.200"))
	b.asked(40000, "10.0.0.100:53")
	b.wan.InjectAt(1, frame(t, macGW, macWAN, "ip 1.2.3.4 > 10.0.0.100 / udp 40000 > 53 data=4")) // by the other worker
	b.asked(40000, "10.0.0.100:54")
	if a, o := b.view(dns).Dests[0].Count, b.view(other).Dests[0].Count; a.InPkts != 2 || a.InBytes != 64 || o.InPkts != 1 {
		t.Fatalf("counted %+v and %+v", a, o)
	}
	if err := b.Zero(func(k spec.ServiceKey) bool { return k == dns }); err != nil {
		t.Fatal(err)
	}
	if a, o := b.view(dns).Dests[0].Count, b.view(other).Dests[0].Count; a != (Count{}) || o.InPkts != 1 {
		t.Errorf("afterwards %+v and %+v", a, o)
	}
}

// More real servers than one question to a worker counts.
func TestManyRealServers(t *testing.T) {
	b := newSmall(t, shape{pool: 2 * countLot})
	b.change(twoArm())
	var edits []func(*spec.Spec) error
	for i := range countLot + 10 {
		edits = append(edits, addDest(dns, fmt.Sprintf("192.168.1.2:%d", 1000+i), 1))
	}
	b.change(edits...)
	for i := range countLot + 11 { // one packet to each
		b.asked(20000+i, "10.0.0.100:53")
	}
	v := b.view(dns)
	if len(v.Dests) != countLot+11 {
		t.Fatalf("%d real servers", len(v.Dests))
	}
	for _, d := range v.Dests {
		if d.Count.Conns != 1 || d.Count.InPkts != 1 || d.Count.InBytes != 32 {
			t.Fatalf("%s: %+v, want one connection with one packet", d.Addr, d.Count)
		}
	}
}

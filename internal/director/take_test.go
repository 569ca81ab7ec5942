package director

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"weir/internal/spec"
	"weir/internal/testkit/netns"
)

// newKeep is a folder for what outlives a director.
func newKeep(t testing.TB) string {
	t.Helper()
	w, err := netns.New("weir-take")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	dir, err := w.Pins("pins")
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "weir")
}

// die is what kill -9 does: nothing of the director runs any more, and the kernel lets go
// of its folder.
func (b *small) die() {
	b.t.Helper()
	if err := b.keep.Close(); err != nil {
		b.t.Fatal(err)
	}
	b.closing.Do(func() {}) // it can't any more
	for _, w := range b.workers {
		w.Neigh().Flush()
	}
}

// heir is the next director of a dead one, a moment later.
func (b *small) heir(s shape, later time.Duration) *small {
	b.t.Helper()
	s.keep, s.now = b.boot.Keep, b.nanos+uint64(later)
	h := newSmall(b.t, s)
	h.breathe()
	h.left() // it announces its addresses
	return h
}

// A director that is killed leaves connections, services and counters to the next one.
func TestHeir(t *testing.T) {
	s := shape{keep: newKeep(t)}
	a := newSmall(t, s)
	a.change(twoArm())
	a.left()
	type conversation struct{ ask, answer string }
	var said []conversation
	for i := range 20 {
		ask := fmt.Sprintf("ip 1.2.3.%d > 10.0.0.100 / udp %d > 53 data=4", i+1, 4000+i)
		out := a.fromWAN(ask)
		if len(out) != 1 || !strings.HasPrefix(out[0], "lan: ip 192.168.1.200") {
			t.Fatalf("%v", out)
		}
		f := strings.Fields(out[0])
		lport := f[slices.Index(f, "udp")+1]
		said = append(said, conversation{ask, fmt.Sprintf("ip 192.168.1.2 > 192.168.1.200 / udp 53 > %s data=4", lport)})
	}
	ways := func(b *small) (all []string) {
		for _, c := range said {
			all = append(all, b.fromWAN(c.ask)...)
			all = append(all, b.fromLAN(c.answer)...)
		}
		return all
	}
	was := ways(a)
	if len(was) != 40 {
		t.Fatalf("%d packets of 40: %v", len(was), was)
	}
	count := a.view(dns).Dests[0].Count
	for round := range 4 {
		a.die()
		b := a.heir(s, 3*time.Second)
		if !strings.Contains(b.said.String(), "weir goes on with 20 connections and 1 services") {
			t.Errorf("it says %s", &b.said)
		}
		v := b.view(dns)
		if v.Dests[0].Count != count || v.Dests[0].Inactive != 20 {
			t.Errorf("round %d: %+v, %d inactive, want %+v", round, v.Dests[0].Count, v.Dests[0].Inactive, count)
		}
		if is := ways(b); !slices.Equal(is, was) {
			t.Errorf("round %d: it forwards\n%s\nand the one before\n%s", round, strings.Join(is, "\n"), strings.Join(was, "\n"))
		}
		count = b.view(dns).Dests[0].Count
		if used, _, _, ok := b.LocalCounts(local200); !ok || used != 20 {
			t.Errorf("round %d: %d ports in use", round, used)
		}
		if n := b.dropped(); n != 0 {
			t.Errorf("round %d: %d packets dropped", round, n)
		}
		a = b
	}
	// All of them end in their time, and give back what they had.
	a.pass(13 * time.Second)
	if used, _, _, ok := a.LocalCounts(local200); a.shared.Flows.Len() != 0 || !ok || used != 0 || a.view(dns).Dests[0].Inactive != 0 {
		t.Errorf("%d connections, %d ports, %d inactive are left", a.shared.Flows.Len(), used, a.view(dns).Dests[0].Inactive)
	}
}

// No port is given twice, and one that was in use a moment ago is known for that.
func TestHeirOfPorts(t *testing.T) {
	s := shape{keep: newKeep(t), ports: [2]uint16{2000, 2031}}
	a := newSmall(t, s)
	a.change(twoArm())
	a.left()
	owner := map[string]int{}
	open := func(b *small, client int) {
		t.Helper()
		out := b.fromWAN(fmt.Sprintf("ip 1.2.3.4 > 10.0.0.100 / udp %d > 53 data=4", client))
		if len(out) != 1 {
			t.Fatalf("client %d: %v", client, out)
		}
		f := strings.Fields(out[0])
		lport := f[slices.Index(f, "udp")+1]
		if other := owner[lport]; other != 0 {
			t.Fatalf("client %d has port %s, and so has %d", client, lport, other)
		}
		owner[lport] = client
	}
	for i := range 32 {
		open(a, 4000+i)
		if i%8 == 7 {
			a.die()
			a = a.heir(s, time.Second)
		}
	}
	if out := a.fromWAN("ip 1.2.3.4 > 10.0.0.100 / udp 5000 > 53 data=4"); len(out) != 0 {
		t.Errorf("there is a port left: %v", out)
	}
	a.pass(14 * time.Second)
	clear(owner)
	a.die()
	a = a.heir(s, 0)
	for i := range 32 {
		open(a, 6000+i)
	}
	_ = spec.Spec{}
}

package afxdp

import (
	"errors"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"

	"weir/internal/flow"
	"weir/internal/testkit/netns"
)

// Where the kernel lacks what it takes to look ahead, the program that forwards stays; else
// another one takes its place, on veth alone.
func TestLookAheadTakesItsPlace(t *testing.T) {
	table, err := flow.New(flow.Config{Conns: 300, Workers: 1, Backing: flow.BPFArray})
	check(t, err)
	defer table.Close()
	e, err := NewEngine(table, nil)
	check(t, err)
	defer func() { check(t, e.Close()) }()
	world, err := netns.New("weirahead")
	check(t, err)
	defer func() { check(t, world.Close()) }()
	a, err := world.Namespace("a")
	check(t, err)
	b, err := world.Namespace("b")
	check(t, err)
	check(t, netns.Veth(netns.End{In: a, Name: "a0"}, netns.End{In: b, Name: "b0"}))
	check(t, a.Do(func() error {
		pr, err := AttachTo(e, 0, "a0", Native)
		check(t, err)
		defer func() { check(t, pr.Close()) }()
		if !pr.CanLookAhead() {
			t.Error("a veth's program can't look ahead")
		}
		first := idOf(t, pr)
		if err := pr.lookAhead("no_such_queue"); !errors.Is(err, btf.ErrNotFound) {
			t.Errorf("of a driver that the kernel has not: %v", err)
		}
		if idOf(t, pr) != first {
			t.Error("it failed, and the program went")
		}
		check(t, pr.LookAhead())
		if idOf(t, pr) == first {
			t.Error("the program is what it was")
		}
		return nil
	}))
	check(t, b.Do(func() error {
		pr, err := AttachTo(e, 1, "b0", Generic)
		check(t, err)
		defer func() { check(t, pr.Close()) }()
		if pr.CanLookAhead() {
			t.Error("behind the driver there is no ring to look at")
		}
		return nil
	}))
}

// idOf is the number of the program that an interface runs.
func idOf(t *testing.T, pr *Program) ebpf.ProgramID {
	t.Helper()
	info, err := pr.link.Info()
	check(t, err)
	return info.Program
}

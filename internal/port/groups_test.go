package port_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"weir/internal/port"
)

// held lists the groups whose frames Linux lets a device take, in a namespace of
// which /proc/thread-self/net tells.
func held(dev string) (groups []string, err error) {
	text, err := os.ReadFile("/proc/thread-self/net/dev_mcast")
	for line := range strings.Lines(string(text)) {
		// index, name, users, of them global, address
		if f := strings.Fields(line); len(f) == 5 && f[1] == dev {
			groups = append(groups, f[2]+" "+f[4])
		}
	}
	slices.Sort(groups)
	return groups, err
}

func TestGroups(t *testing.T) {
	_, dir := cable(t, 1, 1500)
	a, b, c := port.MAC{0x33, 0x33, 0xff, 1, 2, 3}, port.MAC{0x33, 0x33, 0xff, 1, 2, 4}, port.MAC{0x33, 0x33, 0xff, 1, 2, 5}
	check(t, dir.Do(func() error {
		l, err := port.FindLink("d0")
		if err != nil {
			return err
		}
		before, err := held("d0")
		if err != nil {
			return err
		}
		with := func(macs ...port.MAC) (want []string) {
			want = slices.Clone(before)
			for _, m := range macs {
				want = append(want, fmt.Sprintf("1 %x", m))
			}
			slices.Sort(want)
			return want
		}
		g, err := port.JoinGroups(l)
		if err != nil {
			return err
		}
		for _, step := range []struct {
			name string
			set  []port.MAC
		}{
			{"two", []port.MAC{a, b}},
			{"the same", []port.MAC{b, a}},
			{"one goes and one comes", []port.MAC{c, b}},
			{"twice in the list", []port.MAC{b, b}},
			{"none", nil},
			{"again", []port.MAC{a}},
		} {
			if err := g.Set(step.set); err != nil {
				t.Errorf("%s: %v", step.name, err)
			}
			want := with(slices.Compact(slices.Clone(step.set))...)
			if got, err := held("d0"); err != nil || !slices.Equal(got, want) {
				t.Errorf("%s: %v, %v, want %v", step.name, got, err, want)
			}
		}
		if err := g.Close(); err != nil {
			t.Error(err)
		}
		if got, _ := held("d0"); !slices.Equal(got, before) {
			t.Errorf("after closing: %v, want %v", got, before)
		}
		gone, err := port.JoinGroups(&port.Link{Name: "moon", Index: 1 << 20})
		if err != nil {
			return err
		}
		if err := gone.Set([]port.MAC{a}); err == nil || !strings.Contains(err.Error(), `interface "moon": join group 3333ff010203`) {
			t.Errorf("joined on an interface that is not there: %v", err)
		}
		return gone.Close()
	}))
}

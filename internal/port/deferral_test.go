package port_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"weir/internal/port"
	"weir/internal/testkit/netns"
)

// deferring names an interface whose interrupts the test program holds back until it is killed.
const deferring = "WEIR_TEST_DEFER"

var wanted = port.Deferral{HardIRQs: 2, FlushTimeout: 200_000}

func TestMain(m *testing.M) {
	name := os.Getenv(deferring)
	if name == "" {
		os.Exit(m.Run())
	}
	l, err := port.FindLink(name)
	if err == nil {
		_, err = l.Defer(wanted)
	}
	fmt.Println("held back:", err)
	select {}
}

// inSysfs reads what an interface has as an operator does: `cat` in a sysfs that a shell of that
// namespace mounted.
func inSysfs(t *testing.T, ns *netns.Namespace, ifname string) string {
	t.Helper()
	out, err := ns.Run(t.Context(), "unshare", "-m", "sh", "-c", "mount -t sysfs none /sys && cd /sys/class/net/"+ifname+" && cat napi_defer_hard_irqs gro_flush_timeout")
	check(t, err)
	return strings.Join(strings.Fields(out), " ")
}

// setSysfs is an operator's echo.
func setSysfs(t *testing.T, ns *netns.Namespace, ifname, file, value string) {
	t.Helper()
	_, err := ns.Run(t.Context(), "unshare", "-m", "sh", "-c", "mount -t sysfs none /sys && echo "+value+" > /sys/class/net/"+ifname+"/"+file)
	check(t, err)
}

// altNames are all that is written on an interface.
func altNames(t *testing.T, ns *netns.Namespace, ifname string) (names []string) {
	t.Helper()
	check(t, ns.Do(func() error {
		nl, err := netlink.LinkByName(ifname)
		if err == nil {
			names = nl.Attrs().AltNames
		}
		return err
	}))
	return names
}

// sameNames makes a cable whose ends have one name, in two namespaces.
func sameNames(t *testing.T) (ours, theirs *netns.Namespace) {
	t.Helper()
	w := newWorld(t)
	ours, theirs = namespace(t, w, "ours"), namespace(t, w, "theirs")
	check(t, netns.Veth(netns.End{In: ours, Name: "x0"}, netns.End{In: theirs, Name: "x0"}))
	return ours, theirs
}

func hold(t *testing.T, ns *netns.Namespace, d port.Deferral) (o *port.Deferred) {
	t.Helper()
	check(t, ns.Do(func() error {
		l, err := port.FindLink("x0")
		if err == nil {
			o, err = l.Defer(d)
		}
		return err
	}))
	return o
}

func expectSysfs(t *testing.T, when string, ns *netns.Namespace, want string) {
	t.Helper()
	if got := inSysfs(t, ns, "x0"); got != want {
		t.Errorf("%s the interface has %s, want %s", when, got, want)
	}
}

// What an interface had comes back, unless somebody else changed it meanwhile, and one of the
// same name in another namespace is not touched.
func TestDeferral(t *testing.T) {
	for _, row := range []struct {
		name            string
		before, changed map[string]string
		after           string
	}{
		{"as Linux has it", nil, nil, "0 0"},
		{"as an operator had it", map[string]string{"napi_defer_hard_irqs": "7", "gro_flush_timeout": "50000"}, nil, "7 50000"},
		{"as it is wanted already", map[string]string{"napi_defer_hard_irqs": "2", "gro_flush_timeout": "200000"}, nil, "2 200000"},
		{"one changed meanwhile", nil, map[string]string{"gro_flush_timeout": "9000"}, "0 9000"},
		{"both changed meanwhile", nil, map[string]string{"napi_defer_hard_irqs": "1", "gro_flush_timeout": "9000"}, "1 9000"},
	} {
		t.Run(row.name, func(t *testing.T) {
			ours, theirs := sameNames(t)
			for file, value := range row.before {
				setSysfs(t, ours, "x0", file, value)
			}
			was := inSysfs(t, ours, "x0")
			o := hold(t, ours, wanted)
			expectSysfs(t, "held back", ours, "2 200000")
			expectSysfs(t, "beside it", theirs, "0 0")
			if got := fmt.Sprintf("%d %d", o.Was().HardIRQs, o.Was().FlushTimeout); got != was {
				t.Errorf("it had %s, not %s", was, got)
			}
			if names := altNames(t, ours, "x0"); len(names) != 1 {
				t.Errorf("on the interface is written %q", names)
			}
			for file, value := range row.changed {
				setSysfs(t, ours, "x0", file, value)
			}
			check(t, ours.Do(o.Undo))
			check(t, ours.Do(o.Undo)) // again: nothing
			expectSysfs(t, "at the end", ours, row.after)
			if names := altNames(t, ours, "x0"); len(names) != 0 {
				t.Errorf("on the interface it is written still: %q", names)
			}
		})
	}
}

// An interface that is gone takes its values with it.
func TestDeferralOfInterfaceThatIsGone(t *testing.T) {
	ours, _ := sameNames(t)
	o := hold(t, ours, wanted)
	_, err := ours.Run(t.Context(), "ip", "link", "del", "x0")
	check(t, err)
	check(t, ours.Do(o.Undo))
}

// While a process holds interrupts back, nobody else does, and nobody gives the interface what it
// had. When it was killed, what it left is undone: by whoever is asked to, or by the next who
// holds them back, to whom what the interface had is what it had before the first.
func TestDeferralAfterKill(t *testing.T) {
	ours, theirs := sameNames(t)
	setSysfs(t, ours, "x0", "gro_flush_timeout", "50000")
	left := func(when string, want ...port.Left) {
		t.Helper()
		var got []port.Left
		check(t, ours.Do(func() (err error) { got, err = port.UndoLeft(); return err }))
		if !slices.Equal(got, want) {
			t.Errorf("%s is left %+v, want %+v", when, got, want)
		}
	}
	live := func() *netns.Process {
		t.Helper()
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), deferring+"=x0")
		said, err := cmd.StdoutPipe()
		check(t, err)
		p, err := ours.Start(cmd)
		check(t, err)
		if line, err := bufio.NewReader(said).ReadString('\n'); line != "held back: <nil>\n" {
			t.Fatalf("it said %q, %v", line, err)
		}
		return p
	}
	kill := func(p *netns.Process) {
		p.Kill()
		<-p.Done()
		expectSysfs(t, "after kill -9", ours, "2 200000")
	}
	had := port.Deferral{FlushTimeout: 50_000}

	left("at first")
	p := live()
	left("beside one who lives", port.Left{Name: "x0", Was: had, Held: true})
	expectSysfs(t, "beside one who lives", ours, "2 200000")
	kill(p)
	left("of one who was killed", port.Left{Name: "x0", Was: had})
	expectSysfs(t, "undone", ours, "0 50000")
	left("undone")

	kill(live())
	kill(live()) // who goes on knows what it had, not what the one before made of it
	o := hold(t, ours, port.Deferral{HardIRQs: 9, FlushTimeout: 30_000})
	expectSysfs(t, "with other numbers", ours, "9 30000")
	if o.Was() != had {
		t.Errorf("after two were killed it is said to have had %v, want %v", o.Was(), had)
	}
	check(t, ours.Do(o.Undo))
	expectSysfs(t, "at the end", ours, "0 50000")
	expectSysfs(t, "all the time", theirs, "0 0")

	// Other names that an interface has are nobody's mark.
	for _, name := range []string{"lan", "weir-1-of-2-3-napi_defer_hard_irqs-0-2-gro_flush_timeout-0", "weir-1-of-2-3-napi_defer_hard_irqs-0-02-gro_flush_timeout-0-2", "weir-1-of-2-3-napi_defer_hard_irqs-0-2-gro_flush_timeout-0-2-3"} {
		_, err := ours.Run(t.Context(), "ip", "link", "property", "add", "dev", "x0", "altname", name)
		check(t, err)
	}
	left("of other names")
	if names := altNames(t, ours, "x0"); len(names) != 4 {
		t.Errorf("of four names there are %q", names)
	}
}

// Two at once: the second is told why not, and the first goes on.
func TestDeferralTwice(t *testing.T) {
	ours, _ := sameNames(t)
	o := hold(t, ours, wanted)
	err := ours.Do(func() error {
		l, err := port.FindLink("x0")
		if err == nil {
			_, err = l.Defer(port.Deferral{HardIRQs: 9, FlushTimeout: 30_000})
		}
		return err
	})
	if err == nil || !strings.Contains(err.Error(), `interface "x0": hold its interrupts back: a running weir does so already`) {
		t.Errorf("the second: %v", err)
	}
	expectSysfs(t, "after the second", ours, "2 200000")
	check(t, ours.Do(o.Undo))
	expectSysfs(t, "at the end", ours, "0 0")
}

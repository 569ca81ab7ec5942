package director

import (
	"bytes"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"weir/internal/port"
	"weir/internal/port/afxdp"
	"weir/internal/spec"
	"weir/internal/testkit/netns"
)

// polled stands for a queue on a card, of which there is none here: it is polled, or has a reason
// why not.
type polled struct {
	port.Queue // of which nothing else is called
	budget     int
	why        error
}

func (q *polled) BusyPoll(budget int) error {
	if budget > 0 && q.why != nil {
		return q.why
	}
	q.budget = budget
	return nil
}

func (q *polled) Close() error { return nil }

// silent is a queue of packet sockets.
type silent struct{ port.Queue }

func (silent) Close() error { return nil }

// An interface's interrupts are held back if all of its queues are polled, and else nothing is
// changed: auto goes on with a line, on is refused. At the end they are as they were.
func TestBusyPoll(t *testing.T) {
	ns := cabled(t, "weir-poll", "far")
	has := func() string {
		t.Helper()
		out, err := ns.Run(t.Context(), "unshare", "-m", "sh", "-c", "mount -t sysfs none /sys && cd /sys/class/net/eth0 && cat napi_defer_hard_irqs gro_flush_timeout")
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(strings.Fields(out), " ")
	}
	napi := spec.NAPI{Budget: 128, DeferHardIRQs: 100, FlushTimeout: 30_000}
	none := fmt.Errorf("queue 1: %w", afxdp.ErrNoNAPI)
	for _, row := range []struct {
		name        string
		want        spec.NAPIBusyPoll
		queues      []port.Queue
		driver, has string
		says        []string // of the log, or of the error if there is no driver
	}{
		{"not wanted", "", []port.Queue{&polled{}}, "afxdp zero-copy", "0 0", nil},
		{"off", spec.NAPIOff, []port.Queue{&polled{}}, "afxdp zero-copy", "0 0", nil},
		{
			"on", spec.NAPIOn, []port.Queue{&polled{}, &polled{}}, "afxdp zero-copy, busy polling", "100 30000",
			[]string{"device dpdk0: busy polling: eth0 has napi_defer_hard_irqs 100, gro_flush_timeout 30000 until weir ends; before: napi_defer_hard_irqs 0, gro_flush_timeout 0"},
		},
		{"auto, and it can be", spec.NAPIAuto, []port.Queue{&polled{}}, "afxdp zero-copy, busy polling", "100 30000", []string{"busy polling: eth0 has"}},
		{
			"auto, and one queue has no NAPI id", spec.NAPIAuto, []port.Queue{&polled{}, &polled{why: none}}, "afxdp zero-copy, no busy polling", "0 0",
			[]string{"device dpdk0: no busy polling, and eth0 keeps its interrupts: queue 1: Linux tells the socket no NAPI id"},
		},
		{
			"on, and one queue has no NAPI id", spec.NAPIOn, []port.Queue{&polled{}, &polled{why: none}}, "", "0 0",
			[]string{"device dpdk0: napi_busy_poll on can't be (auto goes on without): queue 1: Linux tells the socket no NAPI id"},
		},
		{"auto, of packet sockets", spec.NAPIAuto, []port.Queue{silent{}}, "afxdp zero-copy, no busy polling", "0 0", []string{"packet sockets drive it, which can't"}},
		{"on, of packet sockets", spec.NAPIOn, []port.Queue{silent{}}, "", "0 0", []string{"packet sockets drive it, which can't"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			var said bytes.Buffer
			napi.BusyPoll = row.want
			p := &openPort{facts: port.Facts{Name: "dpdk0", Driver: "afxdp zero-copy"}, device: spec.Device{NAPI: napi}}
			for i, q := range row.queues {
				p.queues = append(p.queues, boundQueue{0, q, i})
			}
			d := &Director{log: slog.New(slog.NewTextHandler(&said, nil)), ports: []*openPort{p}}
			err := ns.Do(func() (err error) {
				if p.link, err = port.FindLink("eth0"); err != nil {
					return err
				}
				return d.startBusyPoll(p)
			})
			if row.driver == "" {
				if err == nil {
					t.Fatal("it is not refused")
				}
				said.WriteString(err.Error())
			} else if err != nil || p.facts.Driver != row.driver {
				t.Errorf("the driver is %q, want %q; %v", p.facts.Driver, row.driver, err)
			}
			for _, s := range row.says {
				if !strings.Contains(said.String(), s) {
					t.Errorf("it does not say %q, but\n%s", s, &said)
				}
			}
			if len(row.says) == 0 && said.Len() > 0 {
				t.Errorf("it says %s", &said)
			}
			if got := has(); got != row.has {
				t.Errorf("the interface has %s, want %s", got, row.has)
			}
			on := strings.HasSuffix(row.driver, ", busy polling")
			for i, q := range row.queues {
				if q, ok := q.(*polled); ok && q.budget != map[bool]int{true: 128, false: 0}[on] {
					t.Errorf("queue %d is polled with budget %d", i, q.budget)
				}
			}
			if err := ns.Do(d.closePorts); err != nil {
				t.Error(err)
			}
			if got := has(); got != "0 0" {
				t.Errorf("at the end the interface has %s", got)
			}
		})
	}

	// Interrupts that can't be held back: the queues are not polled either.
	q := &polled{}
	p := &openPort{facts: port.Facts{Name: "dpdk0"}, device: spec.Device{NAPI: spec.NAPI{BusyPoll: spec.NAPIOn, Budget: 64}}, queues: []boundQueue{{0, q, 0}}, link: &port.Link{Name: "none", Index: 1 << 20}}
	d := &Director{log: slog.New(slog.DiscardHandler), ports: []*openPort{p}}
	if err := ns.Do(func() error { return d.startBusyPoll(p) }); err == nil || q.budget != 0 || p.deferred != nil {
		t.Errorf("on an interface that is gone: %v, budget %d", err, q.budget)
	}
	if err := ns.Do(d.closePorts); err != nil {
		t.Error(err)
	}
}

// cabled is a namespace with a veth cable from eth0 to another interface of its own.
func cabled(t *testing.T, label, far string) *netns.Namespace {
	t.Helper()
	w, err := netns.New(label)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	ns, err := w.Namespace("ns")
	if err != nil {
		t.Fatal(err)
	}
	if err := netns.Veth(netns.End{In: ns, Name: "eth0"}, netns.End{In: ns, Name: far}); err != nil {
		t.Fatal(err)
	}
	return ns
}

// What a weir that was killed left on any interface of the namespace is undone at the start.
func TestBusyPollUndoesWhatIsLeft(t *testing.T) {
	ns := cabled(t, "weir-left", "eth1")
	for i, ifname := range []string{"eth0", "eth1"} {
		_, err := ns.Run(t.Context(), "unshare", "-m", "sh", "-c", fmt.Sprintf(
			`mount -t sysfs none /sys && cd /sys/class/net/%s && echo 2 > napi_defer_hard_irqs && echo 200000 > gro_flush_timeout && ip link property add dev %[1]s altname weir-%d-of-1-999999999999-napi_defer_hard_irqs-0-2-gro_flush_timeout-%[3]d-200000`, ifname, i+10, i))
		if err != nil {
			t.Fatal(err)
		}
	}
	var said bytes.Buffer
	d := &Director{log: slog.New(slog.NewTextHandler(&said, nil))}
	if err := ns.Do(func() error {
		l, err := port.FindLink("eth0")
		d.ports = []*openPort{{link: l}}
		if err == nil {
			d.undoDeferrals()
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	for i, ifname := range []string{"eth0", "eth1"} {
		want := fmt.Sprintf("interface %s has napi_defer_hard_irqs 0, gro_flush_timeout %d again, as before a weir that was killed", ifname, i)
		if strings.Count(said.String(), want) != 1 {
			t.Errorf("it does not say %q, but\n%s", want, &said)
		}
		out, err := ns.Run(t.Context(), "unshare", "-m", "sh", "-c", "mount -t sysfs none /sys && cat /sys/class/net/"+ifname+"/napi_defer_hard_irqs /sys/class/net/"+ifname+"/gro_flush_timeout")
		if got := strings.Fields(out); err != nil || !slices.Equal(got, []string{"0", fmt.Sprint(i)}) {
			t.Errorf("%s has %v, %v", ifname, got, err)
		}
	}
}

package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"weir/internal/port"
	"weir/internal/wire"
)

// The second processes of veth and of peers are this binary.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && (os.Args[1] == "veth-part" || os.Args[1] == "peers-part") {
		if err := run(os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestWalk(t *testing.T) {
	if err := run([]string{"walk", "-flows", "1,1000", "-packets", "4096", "-reps", "1", "-tcp", "0.02"}); err != nil {
		t.Error(err)
	}
}

// Two workers on one table, and a whole director with calls to its API beside.
func TestScaleAndPause(t *testing.T) {
	for _, args := range []string{"scale -flows 100,200 -conns 4096 -packets 4096 -reps 1", "pause -flows 1000 -pps 20000 -seconds 1 -reps 1"} {
		if err := run(strings.Fields(args)); err != nil {
			t.Errorf("%s: %v", args, err)
		}
	}
}

// A director that has next to nothing to do.
func TestIdle(t *testing.T) {
	if err := run([]string{"idle", "-seconds", "1", "-paths", "afxdp"}); err != nil {
		t.Error(err)
	}
}

// Every mode carries packets both ways, loses none and allocates nothing.
func TestModes(t *testing.T) {
	for _, m := range modes {
		t.Run(m.name, func(t *testing.T) {
			r, err := newModeRun(m, plain, 100)
			if err != nil {
				t.Fatal(err)
			}
			defer r.close()
			r.measure(4096)
			if err := r.lost(); err != nil {
				t.Error(err)
			}
			if r.allocations >= 0.01 {
				t.Errorf("%v allocations a packet", r.allocations)
			}
		})
	}
	for args, want := range map[string]string{"-flows 0": "-flows 0: want 1 to 1048576", "-only NAT65": `-only "NAT65": no such mode`} {
		err := run(append([]string{"modes"}, strings.SplitN(args, " ", 2)...))
		if err == nil || err.Error() != want {
			t.Errorf("modes %s: %v, want %s", args, err, want)
		}
	}
}

// Every device carries packets both ways, loses none and allocates nothing. What leaves
// is what a plain port would send, in the device's headers, and of a bond by all members.
func TestDevices(t *testing.T) {
	grows := map[string]int{
		"VLAN": 4, "bond + VLAN": 4, "ipip over IPv4": 20, "ipip over IPv6": 40, "GRE over IPv4": 24, "GRE over IPv6": 44,
		"GRE, key and checksum": 32, "GRE on bond + VLAN": 28,
	}
	const flows = 100
	for family, name := range []string{"IPv4", "IPv6"} {
		var want []string // IP packets that leave a plain port
		for _, d := range devices {
			t.Run(d.name+", "+name, func(t *testing.T) {
				r, err := newModeRun(modes[family], d, flows)
				if err != nil {
					t.Fatal(err)
				}
				defer r.close()
				r.measure(4096)
				if err := r.lost(); err != nil {
					t.Error(err)
				}
				if r.allocations >= 0.01 {
					t.Errorf("%v allocations a packet", r.allocations)
				}
				sending := 0
				for i, q := range r.queues[wan] {
					var c port.Counters
					q.Counters(&c)
					if c.RxPackets == 0 {
						t.Errorf("queue %d received nothing", i)
					}
					if c.TxPackets > 0 {
						sending++
					}
				}
				// All of a tunnel is one flow to the hash of a bond: one cable carries it.
				if want := len(r.queues[wan]); sending != want && !(d.tunnel != nil && sending == 1) {
					t.Errorf("%d members sent, want %d", sending, want)
				}
				r.collect(r.catch)
				r.caught = nil
				r.pass(flows, lan)
				var got []string
				for _, f := range r.caught {
					ip := string(f[wire.EthernetLen+grows[d.name]:])
					if d.tag != 0 && !d.beside && binary.BigEndian.Uint32(f[12:]) != d.tag {
						t.Errorf("%x has not the tag %#x", f, d.tag)
					}
					got = append(got, ip)
				}
				slices.Sort(got)
				if d.name == plain.name {
					want = got
				}
				if len(got) != flows || !slices.Equal(got, want) {
					t.Errorf("%d packets left, not the %d of a plain port: the first is %x", len(got), len(want), r.caught[0])
				}
			})
		}
	}
	for args, want := range map[string]string{"-reps 0": "-reps and -packets must be more than 0", "-only VXLAN": `-only "VXLAN": no such device`} {
		err := run(append([]string{"devices"}, strings.SplitN(args, " ", 2)...))
		if err == nil || err.Error() != want {
			t.Errorf("devices %s: %v, want %s", args, err, want)
		}
	}
	if err := run([]string{"devices", "-only", "VLAN", "-reps", "1", "-flows", "100", "-packets", "4096"}); err != nil {
		t.Error(err)
	}
}

// Every path carries packets, whole and rewritten, and its row has figures.
func TestVeth(t *testing.T) {
	var out bytes.Buffer
	// Long enough that a busy machine lets every part run in it.
	o := vethOptions{time: 500 * time.Millisecond, reps: 1, flows: 100, paths: allPaths}
	if err := compare(t.Context(), &out, o); err != nil {
		t.Fatal(err)
	}
	for _, p := range allPaths {
		row := regexp.MustCompile(`(?m)^` + p.name + ` +([0-9.]+) \(.*\) +[0-9.]+% +([0-9.]+) \(.*\) +-?[0-9]+ \(`).FindStringSubmatch(out.String())
		if row == nil {
			t.Errorf("no row of %s in\n%s", p.name, &out)
			continue
		}
		for _, figure := range row[1:] {
			if v, err := strconv.ParseFloat(figure, 64); err != nil || v <= 0 {
				t.Errorf("%s carried %s Mpps", p.name, figure)
			}
		}
	}
	nothingLeft(t)
}

// Ctrl-C in the middle leaves nothing behind.
func TestVethInterrupted(t *testing.T) {
	bin, err := build(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(bin)
	ctx, cancel := context.WithCancel(t.Context())
	o := vethOptions{time: time.Hour, reps: 1, flows: 100, paths: allPaths}
	n, err := newCourse(bin, o)
	if err != nil {
		t.Fatal(err)
	}
	if err := allPaths[0].set(ctx, n); err != nil {
		t.Fatal(errors.Join(err, n.close()))
	}
	part, err := n.startVeth(allPaths[0])
	if err != nil {
		t.Fatal(errors.Join(err, n.close()))
	}
	done := make(chan error, 1)
	go func() {
		_, err := part.do(ctx, order{Flows: 100, For: time.Hour, Director: n.pid()})
		done <- err
	}()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("an interrupted measurement ended with %v", err)
	}
	if err := n.close(); err != nil {
		t.Error(err)
	}
	nothingLeft(t)
}

func nothingLeft(t *testing.T) {
	t.Helper()
	left, err := filepath.Glob(fmt.Sprintf("/run/netns/weir-bench*-%d-*", os.Getpid()))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

func TestRefusals(t *testing.T) {
	for name, row := range map[string]struct {
		args []string
		want string
	}{
		"no such benchmark":     {[]string{"fly"}, "no benchmark"},
		"no such path":          {[]string{"veth", "-paths", "afxdp,dpdk"}, `"dpdk" is none of afxdp, afpacket`},
		"no flows":              {[]string{"veth", "-flows", "0"}, "-flows"},
		"more flows than ports": {[]string{"veth", "-flows", "100000"}, "nft can't carry 100000"},
		"no repetition":         {[]string{"veth", "-reps", "0"}, "-reps"},
		"no such peer":          {[]string{"peers", "-peers", "forward,dpvs"}, `"dpvs" is none of weir-afxdp, weir-afpacket`},
		"peers without flows":   {[]string{"peers", "-flows", "1,0"}, `"0" is no number within 1-1048576`},
		"peers unconnected":     {[]string{"peers", "-conns", "0"}, "-conns: 0 is not within 1-5000"},
		"peers never":           {[]string{"peers", "-reps", "0"}, "-reps"},
		"no flows to walk":      {[]string{"walk", "-flows", "x"}, `-flows: "x" is no number within 1-88583700`},
		"walk through too many": {[]string{"walk", "-fill", "50", "-flows", "67108865"}, `"67108865" is no number within 1-67108864`},
		"no flows to scale":     {[]string{"scale", "-flows", ""}, `-flows: "" is no number`},
		"no flows for XDP":      {[]string{"xdp", "-flows", "1000"}, "-flows: 1000 is no power of two"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := run(row.args); err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("error %v, want one with %q", err, row.want)
			}
		})
	}
}

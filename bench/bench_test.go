package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The second process of veth is this binary.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "veth-part" {
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

// Every mode carries packets both ways, loses none and allocates nothing.
func TestModes(t *testing.T) {
	for _, m := range modes {
		t.Run(m.name, func(t *testing.T) {
			r, err := newModeRun(m, 100)
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
	part, err := n.startPart(allPaths[0])
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
	left, err := filepath.Glob(fmt.Sprintf("/run/netns/weir-bench-%d-*", os.Getpid()))
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
		"no flows to walk":      {[]string{"walk", "-flows", "x"}, "-flows"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := run(row.args); err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("error %v, want one with %q", err, row.want)
			}
		})
	}
}

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// makeRoom has the kernel track more connections than flows, and returns what gives
// it its own bounds back: they are the whole machine's.
func makeRoom(flows int) (restore func() error, err error) {
	const dir = "/proc/sys/net/netfilter/"
	nothing := func() error { return nil }
	want := map[string]int{dir + "nf_conntrack_max": 4 * max(flows, webFlows), dir + "nf_conntrack_buckets": 2 * max(flows, webFlows)}
	before := map[string]string{}
	restore = func() error {
		var errs []error
		for name, text := range before {
			errs = append(errs, os.WriteFile(name, []byte(text), 0o644))
		}
		return errors.Join(errs...)
	}
	for name, n := range want {
		text, err := os.ReadFile(name)
		if errors.Is(err, os.ErrNotExist) {
			return nothing, fmt.Errorf("%s is not there: nftables can't be measured without connection tracking: modprobe nf_conntrack, or leave it out with -peers", name)
		}
		if err != nil {
			return nothing, err
		}
		if has, err := strconv.Atoi(strings.TrimSpace(string(text))); err != nil || has >= n {
			if err != nil {
				return nothing, err
			}
			continue
		}
		before[name] = string(text)
		if err := os.WriteFile(name, []byte(strconv.Itoa(n)), 0o644); err != nil {
			return nothing, errors.Join(err, restore())
		}
	}
	return restore, nil
}

// versions asks all programs what they are.
func (c *catch) versions(ctx context.Context, o peersOptions) error {
	c.Machine = machine()
	commit, err := exec.CommandContext(ctx, "git", "describe", "--always", "--dirty", "--tags").Output()
	if err != nil {
		commit = []byte("unknown")
	}
	c.Versions = append(c.Versions, "Weir "+strings.TrimSpace(string(commit)))
	for _, p := range o.peers {
		if p.version == nil {
			continue
		}
		out, err := exec.CommandContext(ctx, p.version[0], p.version[1:]...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%s: %w: %s (Debian: haproxy, nginx-light, libnginx-mod-stream, nftables, iperf3)", strings.Join(p.version, " "), err, out)
		}
		line, _, _ := strings.Cut(string(out), "\n")
		c.Versions = append(c.Versions, strings.TrimSpace(line))
	}
	out, err := exec.CommandContext(ctx, "iperf3", "--version").Output()
	if err != nil {
		return fmt.Errorf("iperf3: %w", err)
	}
	line, _, _ := strings.Cut(string(out), "\n")
	c.Versions = append(c.Versions, line)
	return nil
}

// loadAverage is what a shared machine has to do, ours included.
func loadAverage() string {
	var s unix.Sysinfo_t
	if unix.Sysinfo(&s) != nil {
		return "unknown"
	}
	return fmt.Sprintf("%.1f", float64(s.Loads[0])/65536)
}

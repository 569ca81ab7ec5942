//go:build long

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Every peer carries datagrams, requests and a stream, and each of its figures is there:
// in the report, in the picture, and read back from the file.
func TestPeers(t *testing.T) {
	const held, fill, rounds = 200, 5000, 2
	o := peersOptions{
		time: 200 * time.Millisecond, reps: rounds, flows: []int{pacedFlows}, fill: []int{fill}, held: held, conns: 64, rough: true, peers: peersOf(),
	}
	room, err := os.ReadFile("/proc/sys/net/netfilter/nf_conntrack_max")
	if err != nil {
		t.Fatal(err)
	}
	c, err := measurePeers(t.Context(), o, "")
	if err != nil {
		t.Fatal(err)
	}
	nothingLeft(t)
	if after, err := os.ReadFile("/proc/sys/net/netfilter/nf_conntrack_max"); err != nil || string(after) != string(room) {
		t.Errorf("nf_conntrack_max was %s and is %s: %v", room, after, err)
	}
	for _, f := range c.rows() {
		for _, p := range o.peers {
			v, ok := c.Figures[f.key][p.name]
			switch {
			case strings.HasPrefix(f.key, "udp") && p.proxy():
				if ok {
					t.Errorf("%s of %s, which forwards no datagrams: %v", f.label, p.name, v)
				}
			case f.key == memoryKey(fill) && !p.proxy() && !p.fill:
				if ok {
					t.Errorf("%s of %s: %v", f.label, p.name, v)
				}
			case strings.HasSuffix(f.key, "own") && p.udp != nil && !p.fill:
				if ok {
					t.Errorf("%s of %s, which has no process: %v", f.label, p.name, v)
				}
			case len(v) != figuresOf(f.key, rounds):
				t.Errorf("%s of %s: %v, want %d figures", f.label, p.name, v, figuresOf(f.key, rounds))
			case strings.HasSuffix(f.key, "more"), strings.HasPrefix(f.key, "udp cpu"), f.key == "udp lost":
				// Differences, of so short a time, may be less than nothing.
			case v[0] <= 0:
				t.Errorf("%s of %s: %v", f.label, p.name, v[0])
			}
		}
	}
	name := filepath.Join(t.TempDir(), "raw.json")
	if err := c.save(name); err != nil {
		t.Fatal(err)
	}
	again, err := loadCatch(name)
	if err != nil {
		t.Fatal(err)
	}
	if got := c.compare(again); !strings.Contains(got, " ratios 0 differ") {
		t.Errorf("compared with itself: %s", got)
	}
}

// figuresOf is how many figures so many rounds give.
func figuresOf(key string, rounds int) int {
	switch {
	case strings.HasPrefix(key, "memory"):
		return 1
	case key == "iperf":
		return max(rounds/iperfFewer, 1)
	case key == "udp p99", key == "udp p99.9", key == "udp lost":
		return min(tailGroups, rounds)
	case strings.HasPrefix(key, "udp"):
		return rounds
	}
	return rounds
}

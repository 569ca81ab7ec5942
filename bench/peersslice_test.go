package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Without probes a slice is one piece, of just the time that is wanted; one that is measured to
// its end has all pieces, but for those in which there was nothing; and what goes wrong is said.
func TestMeter(t *testing.T) {
	broken := errors.New("broken")
	for _, row := range []struct {
		name   string
		whole  bool
		ends   error // what the fourth pass says
		passes int
		sum    int
		err    error
	}{
		{name: "slice", passes: 1, sum: 1},
		{name: "whole", whole: true, ends: io.EOF, passes: 4, sum: 1 + 3},
		{name: "broken", whole: true, ends: broken, passes: 4, sum: 1 + 3, err: broken},
	} {
		var spans []time.Duration
		m := meter[int, int]{
			pass: func(span time.Duration, _ bool) error {
				if spans = append(spans, span); len(spans) == 4 {
					return row.ends
				}
				return nil
			},
			read: func(*watched) (int, error) { return len(spans), nil },
			piece: func(_, b *int) (int, time.Duration, time.Duration) {
				if *b == 2 {
					return 1000, 0, 0
				}
				return *b, time.Second, 0
			},
			add:   func(to, piece *int) { *to += *piece },
			whole: row.whole,
		}
		counted, calm, all, err := m.slice(calmOrder{Times: calmMost}, new(processors), time.Second)
		if err != row.err || *counted != row.sum || *all != row.sum || calm.Calm != 0 && row.name == "slice" {
			t.Errorf("%s: %d and %d counted (%+v), %v; want %d, %v", row.name, *counted, *all, calm, err, row.sum, row.err)
		}
		if len(spans) != row.passes || spans[0] != time.Second {
			t.Errorf("%s: pieces of %v", row.name, spans)
		}
	}
}

// answering is a web server that counts connections.
func answering(t *testing.T, accepted *atomic.Uint32) netip.AddrPort {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			accepted.Add(1)
			go func() {
				defer c.Close()
				b := make([]byte, len(requestKept))
				for {
					if _, err := io.ReadFull(c, b); err != nil {
						return
					}
					if _, err := c.Write(answerKept); err != nil {
						return
					}
				}
			}()
		}
	}()
	return netip.MustParseAddrPort(listener.Addr().String())
}

// What became due in time that was not calm is not in the delays of the calm time after it.
func TestSettle(t *testing.T) {
	const late = 4 * time.Minute // what is under way before is late by twice as much, which a delay can be
	set, err := newPoller()
	if err != nil {
		t.Fatal(err)
	}
	r := newWebRun(set, webOrder{To: answering(t, new(atomic.Uint32)), Conns: 20, Every: time.Millisecond, For: 50 * time.Millisecond, Stay: true})
	defer r.end()
	if ph, err := r.do(r.o); err != nil || ph.Requests == 0 {
		t.Fatalf("%+v %v", ph, err)
	}
	r.begun = r.begun.Add(-2 * late) // so that there is a time at which something may have been due
	for _, settled := range []bool{false, true} {
		clear(r.delays)
		r.measuring, r.next, r.last = true, r.now()-late, r.now()
		if settled {
			if err := r.settle(r.now() + 20*time.Millisecond); err != nil {
				t.Fatal(err)
			}
		}
		for until := r.now() + 20*time.Millisecond; r.now() < until; {
			if err := r.turn(until); err != nil {
				t.Fatal(err)
			}
		}
		most := time.Duration(0)
		for class, n := range r.delays {
			if n > 0 {
				most = middle(class)
			}
		}
		if most == 0 || (most > late/2) == settled {
			t.Errorf("settled %v: the longest delay is %s", settled, most)
		}
	}
}

// All of a process's threads leave the other processor alone, those that are born later too.
func TestBindAll(t *testing.T) {
	tasks := func() (of map[string]string) {
		of = map[string]string{}
		names, err := filepath.Glob("/proc/self/task/*/status")
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			text, err := os.ReadFile(name)
			if err != nil {
				continue // ended meanwhile
			}
			_, rest, _ := strings.Cut(string(text), "\nCpus_allowed_list:\t")
			of[name], _, _ = strings.Cut(rest, "\n")
		}
		return of
	}
	var before unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := setAll(&before); err != nil {
			t.Error(err)
		}
	}()
	if err := bindAll(generatorCPU); err != nil {
		t.Fatal(err)
	}
	for name, on := range tasks() {
		if on != fmt.Sprint(generatorCPU) {
			t.Errorf("%s: on %s", name, on)
		}
	}
}

// After all rounds those that lack calm ones, or whose calm ones scatter, have as many more, and
// nobody else; and nobody when the time is used up.
func TestRoundsMore(t *testing.T) {
	const rounds = 6
	o := peersOptions{}
	for _, row := range []struct {
		left time.Duration
		want map[string]int
	}{
		{time.Hour, map[string]int{"calm": rounds, "disturbed": rounds + 4, "scattered": 2 * rounds}},
		{-time.Hour, map[string]int{"calm": rounds, "disturbed": rounds, "scattered": rounds}},
	} {
		c := newCatch(o)
		c.allow.begin()
		c.allow.left = row.left
		names := []string{"calm", "disturbed", "scattered"}
		for round := range o.most(rounds) {
			for _, name := range inRound(c, names, round, rounds, time.Second, func(name string) bool { return c.lacks(rounds, name, "k") }) {
				ct, v := calmTime{Calm: time.Second}, 1.0
				switch {
				case name == "disturbed" && round < rounds-1: // of rounds from 5 on five are calm after round 9
					ct.Calm = 0
				case name == "scattered":
					v = float64(1 + round%2)
				}
				c.addCalm("k", name, v, ct, time.Second)
			}
		}
		for name, want := range row.want {
			if n := len(c.Figures["k"][name]); n != want {
				t.Errorf("%s: %d rounds with %s left, want %d", name, n, row.left, want)
			}
		}
	}
}

// Slices wait longer for calm time while there is some left, and never longer than they may; what
// goes by between two sets of rounds is not counted.
func TestAllowance(t *testing.T) {
	c, o := newCatch(peersOptions{}), &peersOptions{}
	for _, row := range []struct {
		left time.Duration
		want int
	}{{-time.Hour, calmSpan}, {0, calmSpan}, {time.Hour, calmMost}, {8500 * time.Millisecond, 8}} {
		c.allow = allowance{left: row.left}
		c.allow.begin()
		if got := c.calm(o, time.Second, false).Times; got != row.want {
			t.Errorf("%s left: a slice may last %d times as long, want %d", row.left, got, row.want)
		}
	}
	// Each of a round may take as much: who comes first must not wait until nothing is left for the
	// last, and what one leaves is for those after it.
	c.allow = allowance{}
	c.allow.begin()
	var first []int
	for range inRound(c, []int{1, 2, 3, 4}, 0, 1, time.Second, nil) {
		times := c.calm(o, time.Second, false).Times
		first = append(first, times)
		c.allow.left -= time.Duration(times) * time.Second
	}
	if slices.Min(first) < granted-1 || slices.Max(first) > granted {
		t.Errorf("slices of a round may last %v times as long as they want, each was granted %d", first, granted)
	}
	c.allow.left += granted * time.Second
	inRound(c, []int{1, 2}, 0, 1, time.Second, nil)
	if got := c.calm(o, time.Second, false).Times; got < granted+granted/2-1 {
		t.Errorf("after a round that left %d s a slice may last %d times as long, of two", granted, got)
	}
	c.allow = allowance{left: time.Second, since: time.Now().Add(-time.Hour)}
	if got := c.allow.rest(); got > time.Second-time.Hour {
		t.Errorf("%s is left of a second after an hour", got)
	}
	c.allow.left, c.allow.since = time.Second, time.Now().Add(-time.Hour)
	c.allow.begin()
	if got := c.allow.rest(); got < 0 {
		t.Errorf("%s is left of a second: what was before the rounds is counted", got)
	}
	inRound(c, []int{1, 2}, 0, 1, time.Second, func(int) bool { return true })
	if got := c.allow.rest(); got < 2*granted*time.Second {
		t.Errorf("%s is left, two slices were granted %s", got, 2*granted*time.Second)
	}
}

// What is written comes back, one line for each series; and what is there so far is whole.
func TestRawFile(t *testing.T) {
	c := newCatch(peersOptions{flows: []int{1000}, peers: []*peer{{name: nftName}}})
	for i := range 3 {
		c.addCalm(udpKey("all", 1000), nftName, 1234567.891+float64(i), calmTime{Calm: time.Second, Slow: []float64{1.25, 1.5}}, time.Second)
		c.addCalm(udpKey("own", 1000), baseline.name, 1000, calmTime{Calm: time.Second}, time.Second)
	}
	c.raw = filepath.Join(t.TempDir(), "raw.json")
	if err := c.keep(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{c.raw + ".part", c.raw} {
		if name == c.raw {
			if err := c.done(); err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(c.raw + ".part"); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("what was written on the way is there: %v", err)
			}
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if want := "\n  \"nft\": [1.23457e+06,1.23457e+06,1.23457e+06]"; !strings.Contains(string(text), want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
		again, err := loadCatch(name)
		if err != nil {
			t.Fatal(err)
		}
		if v := again.Slow[udpKey("all", 1000)][nftName]; len(v) != 3 || !slices.Equal(v[2], []float64{1.25, 1.5}) {
			t.Errorf("what the probes found came back as %v", v)
		}
		// Made of the others, and made anew.
		if v := again.Figures[udpKey("cpu", 1000)][nftName]; len(v) != 3 || v[0] != 1.23457e6-1000 {
			t.Errorf("costs came back as %v", v)
		}
	}
}

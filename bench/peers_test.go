package main

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// caught is what three repetitions might give.
func caught() *catch {
	list := []*peer{{name: "weir-afxdp", text: "Weir"}, {name: forwardName}, {name: nftName}}
	c := newCatch(peersOptions{time: time.Second, reps: 3, flows: []int{1000}, peers: list})
	for i, v := range [][]float64{{4, 2, 3}, {2, 1, 1.5}, {1, 1, 1}} {
		for _, x := range v {
			c.add(udpKey("flood", 1000), list[i], x)
		}
	}
	return c
}

func TestReport(t *testing.T) {
	c := caught()
	page := c.page()
	for _, want := range []string{
		"| | weir-afxdp | forward | nft |\n|---|---|---|---|\n",
		"| UDP, 1 k flows: Mpps, flooded | 3.00 (2.50-3.50) | 1.50 (1.25-1.75) | 1.00 (1.00-1.00) |\n",
		"| UDP, 1 k flows: Mpps, flooded: of nft | 3.00 ±31 % | 1.50 ±31 % | 1 |\n",
		"- weir-afxdp: Weir\n",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("%q is not in\n%s", want, page)
		}
	}
	if strings.Contains(page, "iperf3") && strings.Contains(page, "Gbit/s") {
		t.Errorf("what was not measured has a row in\n%s", page)
	}
	d := xml.NewDecoder(strings.NewReader(c.plot()))
	bars := 0
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("the picture is no XML: %v\n%s", err, c.plot())
		}
		if e, ok := token.(xml.StartElement); ok && e.Name.Local == "path" {
			bars++
		}
	}
	if bars != len(c.Peers) {
		t.Errorf("%d bars for %d peers", bars, len(c.Peers))
	}
}

func TestCompareRuns(t *testing.T) {
	before, c := caught(), caught()
	c.Figures[udpKey("flood", 1000)][forwardName] = []float64{2, 1.6, 1.8}
	want := []string{
		"Of 2 ratios 1 differ",
		"weir-afxdp is 3.00 times nft",
		"forward is 1.80 times nft",
	}
	got := c.compare(before)
	for i, w := range want {
		if strings.Contains(got, w) == (i == 1) {
			t.Errorf("%q in or not in\n%s", w, got)
		}
	}
}

func TestRewrite(t *testing.T) {
	name := filepath.Join(t.TempDir(), "page.md")
	for page, want := range map[string]string{
		"a\n" + markBegin + "\nold\n" + markEnd + "\nb\n": "a\n" + markBegin + "\nnew\n" + markEnd + "\nb\n",
		"a\n" + markEnd + "\n" + markBegin + "\nb\n":      "",
		"a\n": "",
	} {
		if err := os.WriteFile(name, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
		err := rewrite(name, "new\n")
		got, _ := os.ReadFile(name)
		if want == "" {
			if err == nil || string(got) != page {
				t.Errorf("%q: error %v, and the page became %q", page, err, got)
			}
			continue
		}
		if err != nil || string(got) != want {
			t.Errorf("%q became %q, want %q: %v", page, got, want, err)
		}
	}
}

func TestDelays(t *testing.T) {
	for _, ns := range []time.Duration{0, 1, 15, 16, 17, 31, 32, 1000, 12345, 1e6, 1e9, 1<<40 - 1} {
		if got := middle(classOf(ns)); got < ns-ns/16-1 || got > ns+ns/16+1 {
			t.Errorf("%d ns is counted as %d", ns, got)
		}
	}
	last := -1
	for ns := time.Duration(0); ns < 1<<41; ns += ns/64 + 1 {
		class := classOf(ns)
		if class < last || class >= classes || class > last+1 && class != classes-1 {
			t.Fatalf("%d ns is of class %d, and less of %d", ns, class, last)
		}
		last = class
	}
	d := make(delays, classes)
	d[classOf(10)], d[classOf(1000)] = 99, 1
	for part, want := range map[float64]int{0.5: 10, 0.99: 10, 0.999: classOf(1000)} {
		if got, err := d.at(part); err != nil || classOf(got) != want {
			t.Errorf("%v of all took %s (%v), want class %d", part, got, err, want)
		}
	}
	// Within a class it is known how many were less.
	d = make(delays, classes)
	d[classOf(1024)], d[classOf(1088)] = 64, 64 // 1024 to 1087, 1088 to 1151
	for part, want := range map[float64]time.Duration{0.125: 1040, 0.25: 1056, 0.5: 1087, 0.75: 1120, 1: 1151} {
		if got, err := d.at(part); err != nil || got < want-1 || got > want+1 {
			t.Errorf("%v of 1024 to 1151 ns, evenly, took %d (%v), want %d", part, got, err, want)
		}
	}
	for _, d := range []time.Duration{longest - 1, longest, 1 << 62} {
		if got := middle(classOf(d)); got < longest*9/10 || got > longest {
			t.Errorf("%s stands for a delay of %s", got, d)
		}
	}
	late, away := make(delays, classes), make(delays, classes)
	away[classOf(10*time.Millisecond)] = 2
	late.late(away, time.Millisecond)
	most, _ := late.at(1)
	some, _ := late.at(0.5)
	if n := sumOf(late); n != 20 && n != 22 || most < 9*time.Millisecond || most > 11*time.Millisecond || some < 4*time.Millisecond || some > 6*time.Millisecond {
		t.Errorf("twice away for 10 ms, a frame each ms: %d frames, half waited for %s, all for %s", n, some, most)
	}
	if _, err := make(delays, classes).at(0.5); err == nil {
		t.Error("half of nothing took some time")
	}
	if diff := d.since(d); diff[10] != 0 {
		t.Errorf("%d delays between now and now", diff[10])
	}
}

func TestQuarters(t *testing.T) {
	for _, row := range []struct {
		of   []float64
		want [3]float64
	}{
		{[]float64{7}, [3]float64{7, 7, 7}},
		{[]float64{3, 1, 2}, [3]float64{1.5, 2, 2.5}},
		{[]float64{5, 1, 4, 2, 3}, [3]float64{2, 3, 4}},
	} {
		if got := quarters(row.of); got != row.want {
			t.Errorf("quarters of %v: %v, want %v", row.of, got, row.want)
		}
	}
}

// Rounds that a neighbour disturbed are not in a ratio, whoever had them; where hardly any was
// calm all are.
func TestRatioOfCalmRounds(t *testing.T) {
	c := newCatch(peersOptions{})
	disturbed := map[string]int{"a": 3, "b": 2}
	for round := range 24 {
		noise := 1 + 0.02*float64(round%3-1)
		for name, v := range map[string]float64{"a": 6, "b": 2} {
			calm := calmTime{Calm: time.Second}
			if round%disturbed[name] == 0 {
				v, calm.Calm = v/2, time.Second/(2*calmParts)
			}
			c.addCalm("k", name, v*noise, calm, time.Second)
		}
	}
	r, ok := c.ratio(&figure{key: "k"}, "a", "b")
	if !ok || math.Abs(r.times-3) > 0.03 || r.within > doubtful {
		t.Errorf("%+v (%v), want 3, within little", r, ok)
	}
	if v := c.counted("k", "a"); len(v) != 16 {
		t.Errorf("%d rounds count, 16 are calm", len(v))
	}
	if r.disturbed || strings.Contains(r.String(), mark) {
		t.Errorf("%s: of calm rounds", &r)
	}
	// Who is never calm is compared with the other's disturbed rounds.
	for range 24 {
		c.addCalm("k", "never", 1, calmTime{}, time.Second)
	}
	if r, ok := c.ratio(&figure{key: "k"}, "never", "a"); !ok || math.Abs(r.times-1.0/3) > 0.01 || !r.disturbed {
		t.Errorf("%+v (%v), want 1/3, of disturbed time", r, ok)
	}
	clear(c.Calm["k"]["b"][2:])
	if v := c.counted("k", "b"); len(v) != 24 {
		t.Errorf("%d rounds count where too few are calm", len(v))
	}
	// Half of the rounds say 2 and half 4: that is not known to a tenth.
	for round := range 24 {
		c.Figures["k"]["a"][round] = float64(2 + round/2%2*2)
	}
	if r, _ := c.ratio(&figure{key: "k"}, "a", "b"); r.within < agreement {
		t.Errorf("%+v is trusted, of rounds that say 2 and 4", r)
	}
}

// A cost that is less than nothing in some rounds has a ratio all the same. What is taken off
// is the middle of all rounds in which that was measured.
func TestRatioOfCosts(t *testing.T) {
	c := newCatch(peersOptions{})
	calm := calmTime{Calm: time.Second}
	for round := range 24 {
		noise := 1.5 * float64(round%3-1)
		c.addCalm("all", "a", 1000*(40+20), calm, time.Second)
		c.addCalm("all", "b", 1000*(1+20+noise), calm, time.Second)
		c.addCalm("cable", "c", 1000*(20+noise), calm, time.Second)
	}
	c.takeOff("cost", "all", "cable", "c", 1e-3)
	f := figure{key: "per cpu", cost: "cost"}
	if r, ok := c.ratio(&f, "b", "a"); !ok || math.Abs(r.times-40) > 1e-9 || r.within < doubtful {
		t.Errorf("%+v (%v), want 40, and that it is not known well", r, ok)
	}
	if r, ok := c.ratio(&figure{key: "cost"}, "a", "b"); !ok || math.Abs(r.times-40) > 1e-9 {
		t.Errorf("%+v (%v), want 40", r, ok)
	}
	for i := range c.Figures["cost"]["b"] {
		c.Figures["cost"]["b"][i] = -1
	}
	if r, ok := c.ratio(&f, "a", "b"); ok {
		t.Errorf("%+v, of a cost below nothing", r)
	}
}

// What is taken off a round's cost is that of rounds in which the generator's processor was as
// disturbed: the balancer's own may be calm or not.
func TestTakeOffInKind(t *testing.T) {
	c := newCatch(peersOptions{})
	for _, row := range []struct {
		slow  []float64
		cable float64
		all   float64
	}{
		{[]float64{1}, 50, 80},
		{[]float64{1, 1.8}, 50, 90},
		{[]float64{1.8}, 85, 115},
		{[]float64{1.8, 1}, 85, 125},
	} {
		took := calmTime{Slow: row.slow}
		c.addCalm("all", "a", row.all, took, time.Second)
		c.addCalm("cable", "c", row.cable, calmTime{Slow: row.slow[:1]}, time.Second)
	}
	c.takeOff("cost", "all", "cable", "c", 1)
	if got, want := c.Figures["cost"]["a"], []float64{30, 40, 30, 40}; !slices.Equal(got, want) {
		t.Errorf("costs %v, want %v", got, want)
	}
}

// Each round has each peer once, and over the rounds all have all places.
func TestInTurn(t *testing.T) {
	list := []int{0, 1, 2, 3, 4}
	var places [5][5]int
	for round := range 20 {
		order := inTurn(list, round)
		if sorted := slices.Sorted(slices.Values(order)); !slices.Equal(sorted, list) {
			t.Fatalf("round %d: %v", round, order)
		}
		for place, of := range order {
			places[of][place]++
		}
	}
	for of, at := range places {
		for place, n := range at {
			if n != 4 {
				t.Errorf("%d was at place %d in %d rounds of 20", of, place, n)
			}
		}
	}
}

// What befalls one slice of many is in the tail.
func TestTailOfSlices(t *testing.T) {
	var rounds []delays
	for range 8 {
		d := make(delays, classes)
		d[classOf(time.Microsecond)] = 990
		rounds = append(rounds, d)
	}
	rounds[5][classOf(time.Millisecond)] = 30
	groups := merged(rounds, tailGroups)
	if len(groups) != tailGroups {
		t.Fatalf("%d groups", len(groups))
	}
	for i, g := range groups {
		at, err := g.at(0.99)
		if late := at > 900*time.Microsecond; err != nil || late != (i == 2) {
			t.Errorf("group %d: %v %v", i, at, err)
		}
	}
}

// A slice that lost more than one of a hundred though the generator held back is none;
// flooded, it is one.
func TestLossIsToldApart(t *testing.T) {
	for _, row := range []struct {
		ph          phase
		held, rough bool
		want        string
	}{
		{ph: phase{Sunk: 1, AllSent: 10000, AllSunk: 9900}, held: true},
		{ph: phase{Sunk: 1, AllSent: 10000, AllSunk: 9899}, held: true, want: "101 of 10000 frames were lost"},
		{ph: phase{Sunk: 1, AllSent: 10000, AllSunk: 9899}, held: true, rough: true},
		{ph: phase{Sunk: 1, AllSent: 10000, AllSunk: 5000}},
		{ph: phase{Sunk: 1, AllSent: 10000, AllSunk: 10000, Bad: 1}, want: "wrong checksum"},
		{ph: phase{Sunk: 1, AllSent: 10000, AllSunk: 9000, AllOthers: 200}, want: "arrived otherwise"},
		{ph: phase{AllSent: 10000, AllSunk: 10000}, want: "no frame arrived within"},
	} {
		if err := row.ph.check(row.held, row.rough); (err == nil) != (row.want == "") || err != nil && !strings.Contains(err.Error(), row.want) {
			t.Errorf("%+v: %v, want %q", row.ph, err, row.want)
		}
	}
}

// A balancer that loses one packet in fifty is found out: all that it lost is counted, none
// besides, and no figure comes of it.
func TestLossIsCounted(t *testing.T) {
	const each, flows = 50, 10
	bin := t.TempDir()
	lossy := &path{name: "lossy", dst: rip, seen: clients, set: func(ctx context.Context, n *course) error {
		return errors.Join(forwarding(ctx, n), n.linux(ctx, "nft", "add table ip loses;"+
			"add chain ip loses f { type filter hook forward priority 0; };"+
			fmt.Sprintf("add rule ip loses f numgen inc mod %d 0 drop", each)))
	}}
	o := peersOptions{time: 200 * time.Millisecond}
	l, err := openUDP(t.Context(), bin, &peer{name: "lossy"}, lossy, o, flows)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := l.n.close(); err != nil {
			t.Error(err)
		}
	}()
	ph, err := l.slice(t.Context(), o, calmOrder{}, flows, window, 0)
	if err == nil || !strings.Contains(err.Error(), "were lost though the generator held back") {
		t.Errorf("a loss of one in %d: %v", each, err)
	}
	if lost, want := lostOf(&ph), ph.AllSent/each; ph.AllSent < 10*each || lost < want || lost > want+1 {
		t.Errorf("%d of %d are counted as lost, one in %d was", lost, ph.AllSent, each)
	}
}

// Connections that stay are the same ones in the next slice, and a pause between two slices
// is nobody's delay.
func TestConnectionsStay(t *testing.T) {
	const conns, pause = 20, time.Hour
	var accepted atomic.Uint32
	to := answering(t, &accepted)
	for _, every := range []time.Duration{0, time.Millisecond} {
		accepted.Store(0)
		set, err := newPoller()
		if err != nil {
			t.Fatal(err)
		}
		o := webOrder{To: to, Conns: conns, Every: every, For: 100 * time.Millisecond, Stay: true}
		r := newWebRun(set, o)
		defer r.end()
		for slice := range 3 {
			if slice > 0 {
				r.begun = r.begun.Add(-pause) // as if it had been so long
			}
			ph, err := r.do(o)
			if err != nil || ph.Requests == 0 || ph.Failures > 0 {
				t.Fatalf("slice %d: %+v %v", slice, ph, err)
			}
			for class, n := range ph.Delays {
				if n > 0 && middle(class) > pause/16 {
					t.Errorf("slice %d: %d answers took %s", slice, n, middle(class))
				}
			}
		}
		if n := accepted.Load(); n != conns {
			t.Errorf("%d connections were opened for three slices of %d", n, conns)
		}
	}
}

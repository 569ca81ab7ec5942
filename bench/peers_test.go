package main

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// caught is what three repetitions might give.
func caught() *catch {
	list := []*peer{{name: "weir-afxdp", text: "Weir"}, {name: forwardName}, {name: nftName}}
	c := newCatch(peersOptions{time: time.Second, reps: 3, flows: []int{1000}, peers: list})
	for i, v := range [][]float64{{4, 2, 3}, {2, 1, 1}, {1, 1, 1}} {
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
		"| UDP, 1 k flows: Mpps, flooded | 3.00 (2.50-3.50) | 1.00 (1.00-1.50) | 1.00 (1.00-1.00) |\n",
		"| UDP, 1 k flows: Mpps, flooded: of forward / of nft | 2.00 / 3.00 | 1.00 / 1.00 | 1.00 / 1.00 |\n",
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
	c.Figures[udpKey("flood", 1000)][forwardName] = []float64{2, 1.3, 1.3}
	want := []string{
		"Of 4 ratios 2 differ",
		"weir-afxdp is 2.00 times forward, and was 2.00",
		"forward is 1.30 times nft, and was 1.00",
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

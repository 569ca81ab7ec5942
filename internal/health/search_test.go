package health

import (
	"context"
	"io"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestSearch: what a body has to hold, or must not, and where.
func TestSearch(t *testing.T) {
	for _, row := range []struct {
		name, re, body string
		no             bool
		min, max       int
		well           bool
	}{
		{"there", "ok", "all ok", false, 0, 0, true},
		{"not there", "ok", "ill", false, 0, 0, false},
		{"must not be, and is not", "ill", "all ok", true, 0, 0, true},
		{"must not be, and is", "ill", "ill", true, 0, 0, false},
		{"too early", "ok", "ok then", false, 1, 0, false},
		{"early and late enough", "ok", "ok then ok", false, 1, 0, true},
		{"behind one that is too early and overlaps it", "aa", "aaa", false, 1, 0, true},
		{"too early, and overlaps nothing", "aa", "aab", false, 1, 0, false},
		{"the beginning is not there", "^ok", "okok", false, 2, 0, false},
		{"a line's beginning is", "(?m)^ok", "x\nok", false, 2, 0, true},
		{"a word's beginning is not", `\bok`, "xok", false, 1, 0, false},
		{"too early, and too late", "ok", "ok then ok", false, 1, 7, false},
		{"beyond the body", "x*", "xx", false, 3, 0, false},
		{"too late", "ok", "then ok", false, 0, 4, false},
		{"at the last place", "ok", "then ok", false, 0, 5, true},
		{"case", "(?i)OK", "all ok", false, 0, 0, true},
		{"behind what is looked at", "ok", strings.Repeat("x", maxSearched) + "ok", false, 0, 0, false},
		{"across a long body", "^x+$", strings.Repeat("x", 3*maxSearched), false, 0, 0, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			u := URL{Path: "/", Body: regexp.MustCompile(row.re), NoBody: row.no, MinOffset: row.min, MaxOffset: row.max}
			err := u.judge(strings.NewReader("HTTP/1.0 200 OK\r\n\r\n" + row.body))
			if (err == nil) != row.well {
				t.Errorf("%v", err)
			}
		})
	}
}

// counted counts how often it is asked.
type counted struct{ n *atomic.Int64 }

func (c counted) Probe(context.Context) Finding { c.n.Add(1); return Finding{Err: io.EOF} }

// TestPause: a paused server is not asked, what was known of it stays, and then it is asked again.
func TestPause(t *testing.T) {
	s := Start(&count{})
	defer s.Stop()
	n := &atomic.Int64{}
	if err := s.Set("a", Target{Checks: []Check{{Probe: counted{n}, DelayLoop: 5 * time.Millisecond}}}); err != nil {
		t.Fatal(err)
	}
	reach := func(n *atomic.Int64, least int64) {
		t.Helper()
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for deadline := time.Now().Add(patient); n.Load() < least; <-tick.C {
			if time.Now().After(deadline) {
				t.Fatal("it is not asked")
			}
		}
	}
	asked := func(more int64) { t.Helper(); reach(n, n.Load()+more) }
	asked(3)
	if err := s.Pause("a", true); err != nil {
		t.Fatal(err)
	}
	// One that was under way may still end; after it none begins. Another server shows that
	// time goes on.
	m := &atomic.Int64{}
	if err := s.Set("b", Target{Checks: []Check{{Probe: counted{m}, DelayLoop: 5 * time.Millisecond}}}); err != nil {
		t.Fatal(err)
	}
	reach(m, 2)
	before := n.Load()
	reach(m, 6)
	if after := n.Load(); after != before {
		t.Errorf("it was asked %d times while it was paused", after-before)
	}
	if err := s.Pause("a", false); err != nil {
		t.Fatal(err)
	}
	asked(3)
	if err := s.Pause("nobody", true); err != nil {
		t.Error(err)
	}
}

// TestOwnCertificate: a server that asks for a certificate is shown ours.
func TestOwnCertificate(t *testing.T) {
	own, _, err := makeCertificate(time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	h := HTTP{TLS: true, Own: &own}
	if c := h.tlsConfig(); len(c.Certificates) != 1 {
		t.Errorf("%d certificates are shown", len(c.Certificates))
	}
}

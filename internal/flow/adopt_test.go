package flow

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"weir/internal/clock"
	"weir/internal/pinned"
	"weir/internal/testkit/netns"
)

// newKeep is a folder for what outlives its director.
func newKeep(t testing.TB) string {
	t.Helper()
	w, err := netns.New("weir-flow")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	dir, err := w.Pins("pins")
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "weir")
}

func openKeep(t testing.TB, path string) *pinned.Dir {
	t.Helper()
	d, err := pinned.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

// openTaken is a table that is ready for work.
func openTaken(c Config, now clock.Tick) (tab *Table, found bool, taken Taken, err error) {
	if tab, found, err = Open(c); found {
		taken = tab.TakeOver(now)
	}
	return tab, found, taken, err
}

func TestTakeOver(t *testing.T) {
	keep := openKeep(t, newKeep(t))
	c := Config{Conns: 1000, Workers: 2, Keep: keep}
	now := clock.Now()
	old, found, err := Open(c)
	if err != nil || found {
		t.Fatalf("the first: %v, %v", found, err)
	}
	startAt(old, now)
	live := map[uint32]uint32{}
	for n := range uint32(200) {
		in, out := pair(n)
		i, err := old.Worker(int(n%2)).Insert(&in, &out, &NewConn{Timeout: 1000 + n}, now)
		if err != nil {
			t.Fatal(err)
		}
		live[n] = i
	}
	for n := uint32(0); n < 200; n += 5 {
		old.Claim(live[n])
		old.Worker(int(n%2)).Remove(live[n], now)
		delete(live, n)
	}
	checkTable(t, old, live, pair)
	old.Close() // as the kernel does for one that was killed

	for workers := 3; workers > 0; workers-- {
		c.Workers = workers
		now += 500
		tab, found, taken, err := openTaken(c, now)
		if err != nil || !found {
			t.Fatal(found, err)
		}
		if want := (Taken{Conns: len(live), Away: 500}); taken != want {
			t.Errorf("taken %+v, want %+v", taken, want)
		}
		checkTable(t, tab, live, pair)
		for n, i := range live {
			c := tab.Conn(i)
			if c.Timeout != 1000+n || int(c.Owner) != int(i)%workers {
				t.Fatalf("connection %d: timeout %d, owner %d", n, c.Timeout, c.Owner)
			}
			if idle := now.Since(tab.LastSeen(c)); idle != 0 {
				t.Fatalf("connection %d is idle for %d ticks, and nobody was there", n, idle)
			}
		}
		tab.Close()
	}
	c.Workers = 1
	tab, _, _, err := openTaken(c, now)
	if err != nil {
		t.Fatal(err)
	}
	defer tab.Close()
	for len(live) > 0 {
		if now += 64; now.Since(now-2000) < 2000 {
			t.Fatal("time stands still")
		}
		tab.Worker(0).Begin(now)
		tab.Worker(0).Advance(now, func(i uint32) {
			for n, j := range live {
				if j == i {
					if idle := now.Since(tab.LastSeen(tab.Conn(i))); idle < 1000+n || idle > 1000+n+2<<wheelShift {
						t.Fatalf("connection %d ended after %d ticks", n, idle)
					}
					delete(live, n)
				}
			}
			tab.Claim(i)
			tab.Worker(0).Remove(i, now)
		})
	}
	for range 100 {
		now += 64
		tab.Worker(0).Begin(now)
		tab.Worker(0).Advance(now, func(uint32) { t.Fatal("who is left?") })
	}
	checkTable(t, tab, live, pair)
	if n := free(tab); n != tab.Conns() {
		t.Errorf("%d indexes of %d are free at the end", n, tab.Conns())
	}
}

// What can't be gone on with is said, and stays.
func TestTakeOverDiffers(t *testing.T) {
	keep := openKeep(t, newKeep(t))
	c := Config{Conns: 1000, Workers: 1, Keep: keep}
	for _, row := range []struct {
		name   string
		change func(h *Header, c *Config)
		says   string
	}{
		{"layout", func(h *Header, _ *Config) { h.Version++ }, "has layout 5, and this weir has layout 4"},
		{"room", func(_ *Header, c *Config) { c.Conns = 100_000 }, "has room for 1000 connections, and conn_pool_size wants 100000"},
		{"room for IPv6", func(_ *Header, c *Config) { c.WideConns = 500 }, "has room for 1000 connections of IPv6, and conn_pool_ipv6 wants 500"},
		{"magic", func(h *Header, _ *Config) { h.Magic++ }, "no flow table of weir"},
		{"records", func(h *Header, _ *Config) { h.ConnSize = 128 }, "records of other sizes"},
		{"a part", func(*Header, *Config) { _ = keep.Unpin("wides") }, "is not complete: it has no wides"},
	} {
		tab, found, err := Open(c)
		if err != nil || found {
			t.Fatalf("%s: %v, %v", row.name, found, err)
		}
		d := c
		row.change(tab.Header(), &d)
		tab.Close()
		var differs *Differs
		if _, _, err := Open(d); !errors.As(err, &differs) || !strings.Contains(err.Error(), row.says) {
			t.Errorf("%s: %v", row.name, err)
		}
		if err := keep.Clear(); err != nil {
			t.Fatal(err)
		}
	}
	// One that was not made to its end is none.
	tab, _, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	tab.Header().Magic = 0
	tab.Close()
	if err := keep.Unpin("hops"); err != nil {
		t.Fatal(err)
	}
	tab, found, err := Open(c)
	if err != nil || found {
		t.Errorf("%v, %v", found, err)
	}
	tab.Close()
}

// Whoever takes over may be killed while he does.
func TestTakeOverTwice(t *testing.T) {
	keep := openKeep(t, newKeep(t))
	for upTo := 0; upTo < 64; upTo += 7 {
		c := Config{Conns: 100, Workers: 2, Keep: keep}
		now := clock.Now()
		old, _, err := Open(c)
		if err != nil {
			t.Fatal(err)
		}
		startAt(old, now)
		live := map[uint32]uint32{}
		for n := range uint32(60) {
			in, out := pair(n)
			if live[n], err = old.Worker(int(n%2)).Insert(&in, &out, &NewConn{Timeout: 1000}, now); err != nil {
				t.Fatal(err)
			}
		}
		for n := uint32(0); n < 60; n += 4 {
			old.Claim(live[n])
			if n%8 == 0 { // the other ones' director was killed before this
				old.Worker(int(n%2)).Remove(live[n], now)
			}
			delete(live, n)
		}
		old.Close()

		tab, _, err := Open(c)
		if err != nil {
			t.Fatal(err)
		}
		a := adoption{t: tab, now: now + 100, died: now, away: 100}
		a.conns(0, upTo)
		tab.workers[1].inherit(upTo, now+100)
		tab.freeRest(upTo)
		tab.Close()

		now += 200
		tab, _, taken, err := openTaken(c, now)
		if err != nil || taken.Conns != len(live) || upTo == 0 && taken.Freed != 14 {
			t.Fatalf("%+v, %v", taken, err)
		}
		checkTable(t, tab, live, pair)
		for n, i := range live {
			c := tab.Conn(i)
			if left := int32(c.Deadline - uint32(now)); left < 900-200 || left > 1000 {
				t.Errorf("connection %d: looked at in %d ticks", n, left)
			}
		}
		tab.Close()
		if err := keep.Clear(); err != nil {
			t.Fatal(err)
		}
	}
}

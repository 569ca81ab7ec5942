package flow

import (
	"testing"
	"time"

	"weir/internal/clock"
)

// How long a table of a million connections takes to be taken over.
func BenchmarkTakeOver(b *testing.B) {
	for _, row := range []struct {
		name  string
		room  int
		conns uint32
	}{{"1000 of 2M", 2 << 20, 1000}, {"1M of 1M", 1 << 20, 1 << 20}, {"1M of 2M", 2 << 20, 1 << 20}} {
		b.Run(row.name, func(b *testing.B) {
			keep := openKeep(b, newKeep(b))
			c := Config{Conns: row.room, Workers: 1, Keep: keep}
			began := time.Now()
			t, _, err := Open(c)
			if err != nil {
				b.Fatal(err)
			}
			b.Logf("made in %v", time.Since(began))
			for n := range row.conns {
				in, out := narrow(n)
				if _, err := t.Worker(0).Insert(&in, &out, &NewConn{Timeout: 100000 + n%50000}, clock.Now()); err != nil {
					b.Fatal(n, err)
				}
			}
			t.Close()
			for b.Loop() {
				began := time.Now()
				t, _, taken, err := openTaken(c, clock.Now())
				if err != nil || taken.Conns != int(row.conns) {
					b.Fatal(taken, err)
				}
				b.ReportMetric(float64(time.Since(began).Milliseconds()), "ms/open")
				t.Close()
			}
			if err := keep.Clear(); err != nil {
				b.Fatal(err)
			}
		})
	}
}

package bond

import (
	"fmt"
	"testing"

	"weir/internal/lacp"
)

func settings(mode Mode) Settings {
	return Settings{Mode: mode, Primary: -1, LACP: lacp.Config{System: lacp.SystemID{Priority: 1, MAC: [6]byte{2, 0, 0, 0, 0, 1}}, Key: 1, Fast: true, Select: lacp.Stable}}
}

// drive is a control and the time.
type drive struct {
	*Control
	now   int64
	moved int
}

func (d *drive) tick(ms int64) string {
	for end := d.now + ms; d.now < end; d.now += 10 {
		if _, moved := d.Tick(d.now, func(int, []byte) {}); moved {
			d.moved++
		}
	}
	return fmt.Sprint(d.table.Tx)
}

func (d *drive) link(i int, up bool) { d.Link(i, up, 10_000, true, d.now) }

func newDrive(s Settings, members int) *drive {
	return &drive{Control: NewControl(s, members, 0)}
}

func TestRoundRobinFollowsLinks(t *testing.T) {
	for _, mode := range []Mode{RoundRobin, XOR, Broadcast} {
		d := newDrive(settings(mode), 2)
		steps := []struct {
			what string
			do   func()
			want string
		}{
			{"no link yet", func() {}, "[]"},
			{"the first", func() { d.link(0, true) }, "[0]"},
			{"both", func() { d.link(1, true) }, "[0 1]"},
			{"one lost", func() { d.link(0, false) }, "[1]"},
			{"one taken out", func() { d.link(0, true); d.Attach(1, false, d.now) }, "[0]"},
			{"and back", func() { d.Attach(1, true, d.now) }, "[0 1]"},
		}
		for _, s := range steps {
			s.do()
			if got := d.tick(10); got != s.want {
				t.Errorf("%s, %s: %s send, want %s", mode, s.what, got, s.want)
			}
		}
	}
}

func TestActiveBackup(t *testing.T) {
	s := settings(ActiveBackup)
	s.Primary = 1
	d := newDrive(s, 3)
	for _, step := range []struct {
		what  string
		do    func()
		want  string
		moved int
	}{
		{"none", func() {}, "[]", 0},
		{"the first that is up", func() { d.link(2, true) }, "[2]", 1},
		{"stays when another comes", func() { d.link(0, true) }, "[2]", 1},
		{"the primary is always better", func() { d.link(1, true) }, "[1]", 2},
		{"it is lost", func() { d.link(1, false) }, "[0]", 3},
		{"all are lost", func() { d.link(0, false); d.link(2, false) }, "[]", 3},
		{"one comes back", func() { d.link(2, true) }, "[2]", 4},
		{"another primary", func() { s.Primary = 0; d.link(0, true); d.Configure(s, d.now) }, "[0]", 5},
		{"the one in use is taken out", func() { d.Attach(0, false, d.now) }, "[2]", 6},
	} {
		step.do()
		if got := d.tick(10); got != step.want || d.moved != step.moved {
			t.Errorf("%s: %s sends after %d moves, want %s after %d", step.what, got, d.moved, step.want, step.moved)
		}
		if rx := d.table.Rx; len(d.table.Tx) == 1 && rx != 1<<d.table.Tx[0] {
			t.Errorf("%s: members %b receive, want the one that sends", step.what, rx)
		}
	}
}

// TestDrains changes the active member: the former one is received from a while longer.
func TestDrains(t *testing.T) {
	s := settings(ActiveBackup)
	s.Primary = 0
	d := newDrive(s, 3)
	for _, step := range []struct {
		what string
		do   func()
		ms   int64
		want string // sends, receives, is drained
	}{
		{"the first one", func() { d.link(1, true) }, 10, "[1] 10 0"},
		{"the primary takes over", func() { d.link(0, true) }, 10, "[0] 1 10"},
		{"nearly to the end", func() {}, DrainTime - 10, "[0] 1 10"},
		{"the end", func() {}, 10, "[0] 1 0"},
		{"its cable is cut: what it had received", func() { d.link(0, false) }, 10, "[1] 10 1"},
		{"and it is back at once", func() { d.link(0, true) }, 10, "[0] 1 10"},
		{"and another primary", func() { d.link(2, true); s.Primary = 2; d.Configure(s, d.now) }, 10, "[2] 100 11"},
		{"one of them is taken out", func() { d.Attach(1, false, d.now) }, 10, "[2] 100 1"},
		{"another mode", func() { s.Mode = RoundRobin; d.Configure(s, d.now) }, 10, "[0 2] 101 0"},
		{"and back", func() { s.Mode = ActiveBackup; d.Configure(s, d.now) }, 10, "[2] 100 1"},
		{"all are lost", func() { d.link(0, false); d.link(2, false) }, 10, "[] 0 101"},
	} {
		before := d.moved
		step.do()
		d.tick(step.ms)
		if got := fmt.Sprintf("%d %b %b", d.table.Tx, d.table.Rx, d.table.RxOne); got != step.want {
			t.Errorf("%s: %s, want %s", step.what, got, step.want)
		}
		if step.what == "the end" && d.moved != before {
			t.Error("the end of the time is told to the network as a move")
		}
	}
}

func TestDelays(t *testing.T) {
	s := settings(RoundRobin)
	s.UpDelay, s.DownDelay = 500, 200
	d := newDrive(s, 2)
	d.link(0, true)
	if got := d.tick(10); got != "[0]" {
		t.Errorf("the only link waits for its delay: %s", got)
	}
	d.link(1, true)
	if got := d.tick(490); got != "[0]" {
		t.Errorf("after 490 ms: %s", got)
	}
	if got := d.tick(30); got != "[0 1]" {
		t.Errorf("after 520 ms: %s", got)
	}
	d.link(0, false)
	d.tick(100)
	d.link(0, true)
	if got := d.tick(1000); got != "[0 1]" {
		t.Errorf("a loss shorter than the delay counts: %s", got)
	}
	d.link(0, false)
	d.tick(190)
	if got := d.tick(30); got != "[1]" {
		t.Errorf("a loss that lasts does not count: %s", got)
	}
	if v, _ := d.View(); v[0].Failures != 1 || v[1].Failures != 0 {
		t.Errorf("failures %d and %d, want 1 and 0", v[0].Failures, v[1].Failures)
	}
}

// TestLACPOfTwoControls lets two bonds talk to each other, and one leave the mode.
func TestLACPOfTwoControls(t *testing.T) {
	a, b := settings(LACP), settings(LACP)
	b.LACP.System.MAC[5] = 2
	ends := [2]*Control{NewControl(a, 2, 0), NewControl(b, 2, 0)}
	now := int64(0)
	run := func(ms int64) {
		for end := now + ms; now < end; now += 10 {
			var way [2][][2]any
			for i, c := range ends {
				c.Tick(now, func(m int, message []byte) { way[i] = append(way[i], [2]any{m, message}) })
			}
			for i := range ends {
				for _, w := range way[i] {
					ends[1-i].Receive(w[0].(int), w[1].([]byte), now)
				}
				for _, m := range ends[i].table.Tx {
					if now >= 10_000 {
						break // one end is in another mode then, and begins anew
					}
					if to := ends[1-i].table; (to.Rx|to.RxOne)&(1<<m) == 0 && ends[1-i].members[m].attached {
						t.Errorf("at %d ms end %d sends by member %d, and the other does not take it", now, i, m)
					}
				}
			}
		}
	}
	for _, c := range ends {
		for i := range 2 {
			c.Link(i, true, 10_000, true, now)
		}
	}
	run(5_000)
	for i, c := range ends {
		members, aggregator := c.View()
		if fmt.Sprint(c.table.Tx) != "[0 1]" || aggregator != 1 || members[1].LACP == nil || members[1].LACP.Actor.State != 63 {
			t.Errorf("end %d: %v sends, aggregator %d, %+v", i, c.table.Tx, aggregator, members[1])
		}
	}
	ends[0].Attach(1, false, now)
	run(5_000)
	if got := fmt.Sprint(ends[0].table.Tx, ends[1].table.Tx); got != "[0] [0]" {
		t.Errorf("with a member taken out %s send, want the other on both ends", got)
	}
	ends[0].Configure(settings(RoundRobin), now)
	run(10)
	if m, aggregator := ends[0].View(); m[0].LACP != nil || aggregator != 0 || fmt.Sprint(ends[0].table.Tx) != "[0]" {
		t.Errorf("in another mode LACP is still there: %+v", m[0])
	}
	ends[0].Configure(settings(LACP), now)
	ends[0].Attach(1, true, now)
	run(8_000)
	if got := fmt.Sprint(ends[0].table.Tx, ends[1].table.Tx); got != "[0 1] [0 1]" {
		t.Errorf("back in the mode %s send", got)
	}
}

package lacp

import (
	"testing"

	"pgregory.net/rapid"
)

// pair is two systems and the cables between them.
type pair struct {
	t      *testing.T
	now    int64
	ends   [2]*System
	ports  [2][]*Port
	cables []cable
	sent   [2]int // messages in all
}

// cable joins port i of one end with port to[i] of the other.
type cable struct {
	cut    bool // no carrier: both see it
	silent bool // loses all, and nobody sees it
	way    [2][][]byte
}

func system(mac byte) Config {
	return Config{System: SystemID{65535, [6]byte{2, 0, 0, 0, 0, mac}}, Key: 1, Fast: true, Select: Stable}
}

func newPair(t *testing.T, cables int, a, b Config) *pair {
	p := &pair{t: t, cables: make([]cable, cables)}
	for i, c := range [2]Config{a, b} {
		p.ends[i] = New(c)
		for n := range cables {
			p.ports[i] = append(p.ports[i], p.ends[i].Add(uint16(n)+1, 255, 0))
		}
	}
	for n := range cables {
		p.links(n, true)
	}
	return p
}

func (p *pair) links(n int, up bool) {
	p.cables[n].cut = !up
	for i := range p.ends {
		p.ends[i].Link(p.ports[i][n], up, 10_000, true, p.now)
	}
}

// run lets time go by, in steps of 100 ms.
func (p *pair) run(ms int64) {
	for end := p.now + ms; p.now < end; p.now += 100 {
		for n := range p.cables {
			c := &p.cables[n]
			for i := range p.ends {
				for _, m := range c.way[i] {
					if !c.cut && !c.silent {
						p.ends[1-i].Receive(p.ports[1-i][n], m, p.now)
					}
				}
				c.way[i] = nil
			}
		}
		for i := range p.ends {
			p.ends[i].Tick(p.now, func(from *Port, m []byte) {
				n := int(from.actor.Port) - 1
				p.cables[n].way[i] = append(p.cables[n].way[i], m)
				p.sent[i]++
			})
		}
	}
}

// usable says which cables each end uses.
func (p *pair) usable() (out [2]string) {
	for i := range p.ends {
		for _, port := range p.ports[i] {
			out[i] += map[bool]string{true: "+", false: "-"}[port.Distributes()]
		}
	}
	return out
}

func (p *pair) want(what, both string) {
	p.t.Helper()
	if got := p.usable(); got != [2]string{both, both} {
		p.t.Errorf("%s: at %d ms the ends use %q, want both %s", what, p.now, got, both)
		for i := range p.ends {
			for _, port := range p.ports[i] {
				p.t.Logf("%+v", port.View())
			}
		}
	}
}

func (p *pair) states(n int) [4]State {
	a, b := p.ports[0][n], p.ports[1][n]
	return [4]State{a.actor.State, a.partner.State, b.actor.State, b.partner.State}
}

func TestComesUp(t *testing.T) {
	p := newPair(t, 2, system(1), system(2))
	p.run(1_900)
	p.want("within the time that others are waited for", "--")
	p.run(2_100)
	p.want("then", "++")
	if got := p.states(1); got != [4]State{63, 63, 63, 63} {
		t.Errorf("states %v, want 63", got)
	}
	if a := p.ends[0].Active(); a != 1 {
		t.Errorf("aggregator %d is in force, want 1", a)
	}
}

// Nobody sends by a cable before the other end takes it, when it comes up and when it is
// mended.
func TestNothingIsSentInVain(t *testing.T) {
	p := newPair(t, 2, system(1), system(2))
	for step := range 120 {
		if step == 60 {
			p.links(1, false)
			p.run(100)
			p.links(1, true)
		}
		p.run(100)
		for n := range p.cables {
			for i := range p.ends {
				if p.ports[i][n].Distributes() && !p.ports[1-i][n].Collects() {
					t.Errorf("after %d ms end %d sends by cable %d, and the other does not take it", p.now, i, n)
				}
			}
		}
	}
	p.want("in the end", "++")
}

// What a port does follows what the partner says, by independent control.
func TestPartnerSays(t *testing.T) {
	s := New(system(1))
	p := s.Add(1, 255, 0)
	s.Link(p, true, 1000, true, 0)
	now := int64(0)
	const speaks = Activity | Timeout | Aggregation
	for _, step := range []struct {
		what string
		says State
		ms   int64
		mux  MuxState
		does [3]bool // agreed, collects, distributes
	}{
		{"nothing of us yet", speaks, 1_900, MuxWaiting, [3]bool{}},
		{"that it waits, too", speaks, 200, MuxAttached, [3]bool{true}},
		{"that it is in synchronization", speaks | Synchronization, 100, MuxCollecting, [3]bool{true, true}},
		{"no more", speaks | Synchronization, 1_000, MuxCollecting, [3]bool{true, true}},
		{"that it collects", speaks | Synchronization | Collecting, 100, MuxDistributing, [3]bool{true, true, true}},
		{"that it does all", 63, 100, MuxDistributing, [3]bool{true, true, true}},
		{"that it collects no longer", speaks | Synchronization, 100, MuxCollecting, [3]bool{true, true}},
		{"that it does again", 63, 100, MuxDistributing, [3]bool{true, true, true}},
		{"that it is out of synchronization", speaks, 100, MuxAttached, [3]bool{true}},
	} {
		for end := now + step.ms; now < end; now += 100 {
			m := PDU{Actor: Info{System: SystemID{1, [6]byte{2, 0, 0, 0, 0, 9}}, Key: 1, Port: 1, State: step.says}, Partner: p.actor}
			s.Receive(p, m.Append(nil), now)
			s.Tick(now, func(*Port, []byte) {})
		}
		if got := [3]bool{p.Agreed(), p.Collects(), p.Distributes()}; got != step.does || p.mux != step.mux {
			t.Errorf("the partner says %s: %s, %v, want %s, %v", step.what, p.mux, got, step.mux, step.does)
		}
	}
}

// A message a second at the fast rate, and one in 30 at the slow one: each end asks the
// other for its own.
func TestRates(t *testing.T) {
	slow := system(2)
	slow.Fast = false
	p := newPair(t, 1, system(1), slow)
	p.run(10_000)
	if got := p.states(0); got != [4]State{63, 61, 61, 63} {
		t.Errorf("states %v, want 63 and 61", got)
	}
	before := p.sent
	p.run(60_000)
	if fast, seldom := p.sent[1]-before[1], p.sent[0]-before[0]; fast != 60 || seldom != 2 {
		t.Errorf("in a minute the slow end sent %d and the fast one %d, want 60 and 2: each as the other asks", fast, seldom)
	}
	p.ends[0].Configure(func() Config { c := system(1); c.Fast = false; return c }())
	p.run(1_000)
	if got := p.states(0); got != [4]State{61, 61, 61, 61} {
		t.Errorf("states %v after a change of the rate, want 61", got)
	}
}

func TestCarrierLost(t *testing.T) {
	p := newPair(t, 2, system(1), system(2))
	p.run(5_000)
	p.links(0, false)
	p.run(100)
	p.want("at once", "-+")
	p.links(0, true)
	p.run(4_000)
	p.want("mended", "++")
}

func TestPartnerFallsSilent(t *testing.T) {
	p := newPair(t, 2, system(1), system(2))
	p.run(5_000)
	p.cables[0].silent = true
	p.run(2_000)
	p.want("before the timeout", "++")
	p.run(2_000)
	p.want("3 s after the last word", "-+")
	if s := p.ports[0][0].rx; s != RxExpired {
		t.Errorf("state %s, want EXPIRED", s)
	}
	p.run(3_000)
	if s := p.ports[0][0]; s.rx != RxDefaulted || s.actor.State&Defaulted == 0 || !s.View().Standby {
		t.Errorf("then %+v, want DEFAULTED and standby", s.View())
	}
	p.cables[0].silent = false
	p.run(5_000)
	p.want("heard again", "++")
}

// With nobody who speaks LACP, one link is used alone.
func TestNobodySpeaks(t *testing.T) {
	s := New(system(1))
	a, b := s.Add(1, 255, 0), s.Add(2, 255, 0)
	s.Link(a, true, 1000, true, 0)
	s.Link(b, true, 1000, true, 0)
	tick := func(from, to int64) {
		for now := from; now < to; now += 100 {
			s.Tick(now, func(*Port, []byte) {})
		}
	}
	tick(0, 3_000)
	if a.Distributes() || b.Distributes() {
		t.Error("a link is used before it is known that nobody speaks")
	}
	tick(3_000, 6_000)
	if !a.Distributes() || b.Distributes() || a.View().Heard {
		t.Errorf("links used: %v, %v; want the first alone", a.Distributes(), b.Distributes())
	}
	s.Link(a, false, 0, false, 6_000)
	tick(6_000, 12_000)
	if a.Distributes() || !b.Distributes() {
		t.Errorf("after its loss: %v, %v; want the second alone", a.Distributes(), b.Distributes())
	}
}

// Cables to two partners, or to ports of another key, do not share traffic; which of them
// does is the policy's choice.
func TestAggregators(t *testing.T) {
	type partner struct {
		mac  byte
		key  uint16
		mbps int
	}
	for _, tc := range []struct {
		name   string
		policy Select
		ports  []partner // in the order in which they come, seconds apart
		want   string
	}{
		{"one key", Stable, []partner{{2, 5, 1000}, {2, 5, 1000}}, "++"},
		{"another key", Stable, []partner{{2, 5, 1000}, {2, 6, 1000}}, "+-"},
		{"another partner", Stable, []partner{{2, 5, 1000}, {3, 5, 1000}}, "+-"},
		{"stable keeps the first", Stable, []partner{{2, 5, 1000}, {3, 5, 1000}, {3, 5, 1000}}, "+--"},
		{"count takes the greater", Count, []partner{{2, 5, 10000}, {3, 5, 1000}, {3, 5, 1000}}, "-++"},
		{"bandwidth takes the faster", Bandwidth, []partner{{2, 5, 10000}, {3, 5, 1000}, {3, 5, 1000}}, "+--"},
		{"bandwidth adds up", Bandwidth, []partner{{2, 5, 1000}, {3, 5, 1000}, {3, 5, 1000}}, "-++"},
		{"speeds do not mix", Stable, []partner{{2, 5, 1000}, {2, 5, 10000}}, "+-"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := system(1)
			c.Select = tc.policy
			s := New(c)
			var ports []*Port
			var said []Info
			now := int64(0)
			tick := func(ms int64) {
				for end := now + ms; now < end; now += 100 {
					for i, p := range ports {
						if now%1000 == 0 {
							m := PDU{Actor: said[i], Partner: p.actor}
							s.Receive(p, m.Append(nil), now)
						}
					}
					s.Tick(now, func(*Port, []byte) {})
				}
			}
			for i, want := range tc.ports {
				p := s.Add(uint16(i)+1, 255, now)
				s.Link(p, true, want.mbps, true, now)
				ports = append(ports, p)
				said = append(said, Info{System: SystemID{1, [6]byte{2, 0, 0, 0, 0, want.mac}}, Key: want.key, Port: uint16(i) + 10, State: 63})
				tick(5_000)
			}
			tick(5_000)
			got := ""
			for _, p := range ports {
				got += map[bool]string{true: "+", false: "-"}[p.Distributes()]
			}
			if got != tc.want {
				t.Errorf("%s are used, want %s", got, tc.want)
				for _, p := range ports {
					t.Logf("%+v", p.View())
				}
			}
		})
	}
}

// The partner of one port changes: it is detached, and waits with the others of its new
// aggregator.
func TestPartnerChanges(t *testing.T) {
	p := newPair(t, 2, system(1), system(2))
	p.run(5_000)
	p.ends[1].Configure(func() Config { c := system(2); c.Key = 9; return c }())
	p.run(500)
	if got := p.usable()[0]; got != "--" {
		t.Errorf("with a new key of the partner %s are used, want none for a while", got)
	}
	p.run(5_000)
	p.want("with the new key", "++")
}

func TestChurn(t *testing.T) {
	s := New(system(1))
	p := s.Add(1, 255, 0)
	s.Link(p, true, 1000, true, 0)
	// A partner that never is in synchronization.
	for now := int64(0); now < 70_000; now += 100 {
		if now%1000 == 0 {
			m := PDU{Actor: Info{System: SystemID{1, [6]byte{2, 0, 0, 0, 0, 9}}, Key: 1, Port: 1, State: Activity | Timeout | Aggregation}, Partner: p.actor}
			s.Receive(p, m.Append(nil), now)
		}
		s.Tick(now, func(*Port, []byte) {})
		if now == 50_000 && p.View().PartnerChurn != ChurnMonitor {
			t.Errorf("after 50 s: %s", p.View().PartnerChurn)
		}
	}
	if v := p.View(); v.PartnerChurn != Churned || v.ActorChurn != NoChurn || v.Mux != MuxAttached {
		t.Errorf("after 70 s actor %s, partner %s, mux %s; want the partner churned", v.ActorChurn, v.PartnerChurn, v.Mux)
	}
}

func TestMarker(t *testing.T) {
	s := New(system(1))
	p := s.Add(1, 255, 0)
	s.Link(p, true, 1000, true, 0)
	ask := message(t, "0201 0110 0001 020000000009 00000007 0000")
	answers := 0
	for range 15 {
		s.Receive(p, ask, 100)
	}
	s.Tick(100, func(_ *Port, m []byte) {
		if m[0] != subtypeMarker {
			return
		}
		answers++
		want := message(t, "0201 0210 0001 020000000009 00000007 0000")
		if string(m) != string(want) {
			t.Errorf("the answer is\n%x, want\n%x", m, want)
		}
	})
	if answers != replies {
		t.Errorf("%d answers to 15 markers at once, want %d", answers, replies)
	}
	s.Receive(p, message(t, "0201 0210 0001 020000000009 00000007 0000"), 200)
	s.Receive(p, message(t, "0201 0910 0001 020000000009 00000007 0000"), 200)
	if v := p.View().Stats; v.Markers != 15 || v.Illegal != 1 {
		t.Errorf("counted %+v, want 15 markers and one that is none", v)
	}
}

func TestOwnFrames(t *testing.T) {
	p := newPair(t, 1, system(1), system(1))
	p.run(10_000)
	if v := p.ports[0][0].View(); v.Heard || v.Stats.Loops == 0 {
		t.Errorf("a cable to ourselves is a partner: %+v", v)
	}
}

// The cable of a lost port is plugged into another one, as the same partner's port.
func TestPortMoved(t *testing.T) {
	s := New(system(1))
	a, b := s.Add(1, 255, 0), s.Add(2, 255, 0)
	s.Link(a, true, 1000, true, 0)
	m := PDU{Actor: Info{System: SystemID{1, [6]byte{2, 0, 0, 0, 0, 9}}, Key: 1, Port: 7, State: 63}}
	s.Receive(a, m.Append(nil), 0)
	s.Tick(0, func(*Port, []byte) {})
	s.Link(a, false, 0, false, 100)
	s.Link(b, true, 1000, true, 100)
	s.Receive(b, m.Append(nil), 100)
	s.Tick(100, func(*Port, []byte) {})
	if a.View().Heard || a.View().Partner.Port != 0 || !b.View().Heard {
		t.Errorf("the first port still believes in its partner: %+v", a.View())
	}
}

func TestHalfDuplexIsAlone(t *testing.T) {
	p := newPair(t, 2, system(1), system(2))
	for i := range p.ends {
		p.ends[i].Link(p.ports[i][1], true, 100, false, 0)
	}
	p.run(10_000)
	p.want("half duplex beside full", "+-")
}

func TestAtMostThreeInASecond(t *testing.T) {
	s := New(system(1))
	p := s.Add(1, 255, 0)
	s.Link(p, true, 1000, true, 0)
	sent := 0
	for now := int64(0); now < 10_000; now += 10 {
		m := PDU{Actor: Info{System: SystemID{1, [6]byte{2, 0, 0, 0, 0, 9}}, Key: uint16(now), Port: 1, State: 7}}
		s.Receive(p, m.Append(nil), now) // knows us wrong, always: an answer is due
		s.Tick(now, func(*Port, []byte) { sent++ })
	}
	if sent > 33 || sent < 20 {
		t.Errorf("%d messages in 10 s, want 3 each", sent)
	}
}

// TestModel: two systems behind cables that are cut, fall silent and come back at random
// agree, whatever happened, within the time of the timeouts once it is quiet: cables that
// work carry traffic on both ends, those that do not on neither.
func TestModel(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		cables := rapid.IntRange(1, 4).Draw(r, "cables")
		a, b := system(1), system(2)
		a.Fast, b.Fast = rapid.Bool().Draw(r, "fast"), rapid.Bool().Draw(r, "partner fast")
		p := newPair(t, cables, a, b)
		r.Repeat(map[string]func(*rapid.T){
			"time": func(r *rapid.T) { p.run(rapid.Int64Range(100, 20_000).Draw(r, "ms")) },
			"cut":  func(r *rapid.T) { p.links(rapid.IntRange(0, cables-1).Draw(r, "cable"), false); p.run(100) },
			"mend": func(r *rapid.T) {
				n := rapid.IntRange(0, cables-1).Draw(r, "cable")
				p.cables[n].silent = false
				p.links(n, true)
			},
			"silence": func(r *rapid.T) { p.cables[rapid.IntRange(0, cables-1).Draw(r, "cable")].silent = true },
			"one end sees it": func(r *rapid.T) {
				n := rapid.IntRange(0, cables-1).Draw(r, "cable")
				p.cables[n].silent = true
				p.ends[0].Link(p.ports[0][n], false, 0, false, p.now)
				p.run(100)
			},
			"": func(r *rapid.T) {
				for i := range p.ends {
					for _, port := range p.ports[i] {
						if port.Distributes() && !port.enabled {
							r.Fatalf("a port without a link is used")
						}
						if port.Distributes() != (port.actor.State&Distributing != 0) || port.Collects() != (port.actor.State&Collecting != 0) || port.Distributes() && !port.Collects() {
							r.Fatalf("a port says another thing than it does: %+v", port.View())
						}
					}
				}
			},
		})
		for n := range cables { // what is silent to one end is cut
			if p.cables[n].silent {
				p.links(n, false)
			}
		}
		p.run(longTimeout + shortTimeout + slowPeriod + 10_000)
		want := ""
		for n := range cables {
			want += map[bool]string{true: "-", false: "+"}[p.cables[n].cut]
		}
		if got := p.usable(); got != [2]string{want, want} {
			r.Fatalf("when it is quiet the ends use %q, want both %s", got, want)
		}
	})
}

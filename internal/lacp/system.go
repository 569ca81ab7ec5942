package lacp

import "errors"

// Select is how one of several aggregators is chosen: all traffic goes by one, as the
// bond is one port. Linux calls it ad_select.
type Select string

// The policies.
const (
	// Stable keeps an aggregator as long as it has a link whose partner speaks.
	Stable Select = "stable"
	// Bandwidth takes the one with most Mbit/s whenever something changes.
	Bandwidth Select = "bandwidth"
	// Count takes the one with most links whenever something changes.
	Count Select = "count"
)

// Config of a system.
type Config struct {
	System SystemID
	Key    uint16 // of the bond, 0 to 255: the upper half of its ports' keys
	Fast   bool   // asks the partner to speak every second, and misses it after 3 instead of 90
	Select Select
}

// System is the end of a bond's links that is here.
type System struct {
	config Config
	ports  []*Port
	active lag // in force; valid if there is one
	has    bool
	now    int64
}

// lag is what links of one aggregator have in common (6.3.6.1): the LAG ID. An individual
// port has its own number in it.
type lag struct {
	actorKey, partnerKey uint16
	partner              SystemID
	individual           uint16 // number of the port; 0: an aggregation
}

// New makes a system without ports.
func New(c Config) *System { return &System{config: c} }

// Add adds a port; number is from 1 and its own. Its link is down until [System.Link].
func (s *System) Add(number, priority uint16, now int64) *Port {
	p := &Port{system: s}
	p.actor = Info{System: s.config.System, PortPriority: priority, Port: number, State: s.actorDefault()}
	p.setKey()
	p.begin(now)
	s.ports = append(s.ports, p)
	return p
}

// Remove takes a port out. It says nothing to the partner, who misses it in time.
func (s *System) Remove(p *Port) {
	for i, o := range s.ports {
		if o == p {
			s.ports = append(s.ports[:i:i], s.ports[i+1:]...)
			return
		}
	}
}

// Configure puts other settings in force. A change of the system or the key begins the
// negotiation anew.
func (s *System) Configure(c Config) {
	old := s.config
	s.config = c
	for _, p := range s.ports {
		if c.Fast != old.Fast {
			p.actor.State ^= Timeout
			p.ntt = true
		}
		if c.System != old.System {
			p.actor.System = c.System
			p.unselect()
			p.ntt = true
		}
		p.setKey()
	}
}

// Link says whether a port's link is up, its speed in Mbit/s and whether it is full duplex.
func (s *System) Link(p *Port, up bool, mbps int, fullDuplex bool, now int64) {
	p.link(up, mbps, fullDuplex, now)
}

// Receive takes a frame of the slow protocols, behind the ethertype.
func (s *System) Receive(p *Port, message []byte, now int64) {
	if len(message) > 0 && message[0] == subtypeMarker {
		p.marker(message, now)
		return
	}
	m, err := ParsePDU(message)
	if err != nil {
		if !errors.Is(err, errSubtype) { // of another slow protocol, as OAM: not ours to judge
			p.stats.Illegal++
		}
		return
	}
	if m.Actor.System.MAC == s.config.System.MAC {
		p.stats.Loops++ // a cable between two ports of ours leads nowhere
		return
	}
	for _, o := range s.ports { // the partner's cable was moved to another of our ports
		if o != p && !o.enabled && o.partner.Port == m.Actor.Port && o.partner.System == m.Actor.System && m.Actor.Port != 0 {
			o.moved = true
		}
	}
	p.receive(&m, now)
}

// Tick moves all machines on; now never goes back. send is called for each message that
// is to leave, and owns it. It has to be called after events, and every 100 ms at least
// for the timers.
func (s *System) Tick(now int64, send func(p *Port, message []byte)) {
	s.now = now
	for _, p := range s.ports {
		p.tickRx(now)
		p.tickPeriodic(now)
	}
	s.selectAggregators()
	for _, p := range s.ports {
		p.tickMux(s.allReady, now)
		p.actorChurn.see(p.actor.State&Synchronization != 0, now)
		p.partnerChurn.see(p.partner.State&Synchronization != 0, now)
	}
	for _, p := range s.ports {
		p.tickTx(send, now)
	}
}

// lagOf returns the LAG ID of a port.
func (p *Port) lagOf() lag {
	l := lag{actorKey: p.actor.Key, partnerKey: p.partner.Key, partner: p.partner.System}
	if p.actor.State&Aggregation == 0 || p.partner.State&Aggregation == 0 {
		l.individual = p.actor.Port
	}
	return l
}

// heard reports whether there is a partner that speaks LACP.
func (p *Port) heard() bool { return p.actor.State&Defaulted == 0 }

// candidate is an aggregator that could be in force.
type candidate struct {
	lag          lag
	heard        bool
	ports, speed int
	number       uint16 // least of its ports
}

// selectAggregators is the selection logic (6.4.14): ports of one LAG ID belong to one
// aggregator, and the ports of all but one stand by.
func (s *System) selectAggregators() {
	best, ok := s.choose()
	s.active, s.has = best, ok
	for _, p := range s.ports {
		want := standby
		switch {
		case !p.enabled:
			want = unselected
		case ok && p.lagOf() == best:
			want = chosen
		}
		// A port that was unselected, because its partner changed, is detached before it
		// is selected again: the mux sees it in this tick if it is attached.
		if p.selection == unselected && want != unselected && p.mux != MuxDetached {
			p.detach()
		}
		p.selection = want
	}
}

// choose returns the aggregator that is to be in force.
func (s *System) choose() (lag, bool) {
	var all []candidate
	for _, p := range s.ports {
		if !p.enabled {
			continue
		}
		l := p.lagOf()
		i := 0
		for i < len(all) && all[i].lag != l {
			i++
		}
		if i == len(all) {
			all = append(all, candidate{lag: l, number: p.actor.Port})
		}
		c := &all[i]
		c.heard = c.heard || p.heard()
		c.ports++
		c.speed += p.speed
		c.number = min(c.number, p.actor.Port)
	}
	if len(all) == 0 {
		return lag{}, false
	}
	best := all[0]
	for _, c := range all[1:] {
		if s.better(&c, &best) {
			best = c
		}
	}
	return best.lag, true
}

// better compares two candidates. One whose partner speaks is better than any without;
// then a stable one stays; then size counts, then the least port number.
func (s *System) better(a, b *candidate) bool {
	if a.heard != b.heard {
		return a.heard
	}
	inForce := func(c *candidate) bool { return s.has && c.lag == s.active }
	if s.config.Select == Stable && inForce(a) != inForce(b) {
		return inForce(a)
	}
	x, y := a.speed, b.speed
	if s.config.Select == Count {
		x, y = a.ports, b.ports
	}
	switch {
	case x != y:
		return x > y
	case a.ports != b.ports:
		return a.ports > b.ports
	case inForce(a) != inForce(b):
		return inForce(a)
	}
	return a.number < b.number
}

// allReady reports whether no port of p's aggregator still waits for others to come.
func (s *System) allReady(p *Port) bool {
	l := p.lagOf()
	for _, o := range s.ports {
		if o.enabled && o.mux == MuxWaiting && o.selection == chosen && o.lagOf() == l && s.now < o.waitUntil {
			return false
		}
	}
	return true
}

// Collects reports whether what comes by the port is taken.
func (p *Port) Collects() bool { return p.mux >= MuxCollecting }

// Distributes reports whether the port sends: a port that does collects, too.
func (p *Port) Distributes() bool { return p.mux == MuxDistributing }

// Agreed reports whether the partner has been told that the port is of the aggregator in
// force, and speaks: it may send from then on, before its own word is here.
func (p *Port) Agreed() bool { return p.mux >= MuxAttached && p.selection == chosen && p.heard() }

// View is a port as it is, for who asks.
type View struct {
	Actor, Partner           Info
	Rx                       RxState
	Mux                      MuxState
	Standby                  bool // belongs to an aggregator that is not in force
	Heard                    bool // the partner speaks
	Aggregator               uint16
	ActorChurn, PartnerChurn Churn
	Stats                    Stats
}

// View returns the port as it is.
func (p *Port) View() View {
	return View{
		Actor: p.actor, Partner: p.partner, Rx: p.rx, Mux: p.mux, Standby: p.enabled && p.selection == standby, Heard: p.heard(),
		Aggregator: p.system.number(p), ActorChurn: p.actorChurn.found, PartnerChurn: p.partnerChurn.found, Stats: p.stats,
	}
}

// number names a port's aggregator: by the least number of its ports; 0 while it is in none.
func (s *System) number(p *Port) uint16 {
	if !p.enabled {
		return 0
	}
	least := p.actor.Port
	for _, o := range s.ports {
		if o.enabled && o.lagOf() == p.lagOf() {
			least = min(least, o.actor.Port)
		}
	}
	return least
}

// Active returns the number of the aggregator in force; 0: there is none.
func (s *System) Active() uint16 {
	for _, p := range s.ports {
		if p.enabled && s.has && p.lagOf() == s.active {
			return s.number(p)
		}
	}
	return 0
}

package lacp

// Times in milliseconds (6.4.4).
const (
	fastPeriod    = 1_000
	slowPeriod    = 30_000
	shortTimeout  = 3 * fastPeriod
	longTimeout   = 3 * slowPeriod
	churnTime     = 60_000
	aggregateWait = 2_000

	// burst is how many messages leave a port within fastPeriod (6.4.16).
	burst = 3
	// replies is how many Marker responses a port gives within fastPeriod: what all
	// slow protocols together may send (IEEE Std 802.3, 57A.3).
	replies = 10
)

// RxState is a state of the receive machine (figure 6-18). INITIALIZE lasts no time and
// LACP is never switched off, so there is no LACP_DISABLED.
type RxState uint8

// The states of the receive machine.
const (
	RxPortDisabled RxState = iota
	RxExpired
	RxDefaulted
	RxCurrent
)

var rxNames = [...]string{"PORT_DISABLED", "EXPIRED", "DEFAULTED", "CURRENT"}

// String returns the standard's name.
func (s RxState) String() string { return rxNames[s] }

// MuxState is a state of the mux machine with independent control (figure 6-21): a port
// distributes when the partner has said that it collects. With coupled control, where both
// begin at once, what is sent is lost until the partner has heard of it, and looked: Linux
// does every 100 ms.
type MuxState uint8

// The states of the mux machine.
const (
	MuxDetached MuxState = iota
	MuxWaiting
	MuxAttached
	MuxCollecting
	MuxDistributing
)

var muxNames = [...]string{"DETACHED", "WAITING", "ATTACHED", "COLLECTING", "DISTRIBUTING"}

// String returns the standard's name.
func (s MuxState) String() string { return muxNames[s] }

// Churn is what a churn machine (6.4.17) found: whether the port's end of the link comes to
// agree with the other's within a minute.
type Churn uint8

// What churn detection finds.
const (
	ChurnMonitor Churn = iota // watching since less than a minute
	NoChurn                   // in synchronization
	Churned                   // a minute went by without it
)

var churnNames = [...]string{"monitoring", "none", "churned"}

// String returns Linux's word (/proc/net/bonding).
func (c Churn) String() string { return churnNames[c] }

// churn is a churn machine.
type churn struct {
	found Churn
	since int64
}

func (c *churn) begin(now int64) { *c = churn{ChurnMonitor, now} }

func (c *churn) see(inSync bool, now int64) {
	switch {
	case inSync:
		c.found = NoChurn
	case c.found == NoChurn:
		c.begin(now)
	case c.found == ChurnMonitor && now-c.since >= churnTime:
		c.found = Churned
	}
}

// selected is what the selection logic says of a port (6.4.14).
type selected uint8

const (
	unselected selected = iota
	standby             // belongs to an aggregator that is not the one in force
	chosen
)

// Port is one link of a system.
type Port struct {
	system  *System
	enabled bool
	speed   int // Mbit/s
	duplex  bool

	actor   Info // operational
	partner Info

	rx        RxState
	rxUntil   int64 // current_while_timer
	mux       MuxState
	waitUntil int64 // wait_while_timer
	ready     bool  // Ready_N
	selection selected
	moved     bool // port_moved

	periodic   bool // not NO_PERIODIC
	slow       bool // SLOW_PERIODIC
	nextTx     int64
	ntt        bool // need to transmit
	sent       int  // messages in the window
	sentSince  int64
	replied    int // Marker responses in the window
	replySince int64
	pending    [][]byte // Marker responses

	actorChurn, partnerChurn churn

	stats Stats
}

// Stats counts what a port sent and received.
type Stats struct {
	Rx, Tx           uint64 // LACP messages
	Markers, Replies uint64
	Illegal          uint64 // not understood
	Loops            uint64 // came from this system itself
}

// actorDefault is the state of a port that has begun.
func (s *System) actorDefault() State {
	state := Activity | Aggregation
	if s.config.Fast {
		state |= Timeout
	}
	return state
}

// partnerAdmin is what is assumed of a partner that says nothing: that it is no
// aggregating system, on a link that can be used alone. It is spoken to every second, so
// that it is found soon when it comes.
func partnerAdmin() Info {
	return Info{State: Timeout | Synchronization | Collecting | Distributing}
}

// begin is INITIALIZE.
func (p *Port) begin(now int64) {
	p.unselect()
	p.recordDefault()
	p.actor.State &^= Expired
	p.moved = false
	p.rx = RxPortDisabled
	p.actorChurn.begin(now)
	p.partnerChurn.begin(now)
}

func (p *Port) unselect() { p.selection = unselected }

// recordDefault takes what is assumed for the partner.
func (p *Port) recordDefault() {
	p.partner = partnerAdmin()
	p.actor.State |= Defaulted
}

// updateDefaultSelected unselects a port whose partner was another than is assumed.
func (p *Port) updateDefaultSelected() {
	admin := partnerAdmin()
	if !sameLink(&p.partner, &admin) {
		p.unselect()
	}
}

// sameLink compares what the selection depends on.
func sameLink(a, b *Info) bool {
	return a.Port == b.Port && a.PortPriority == b.PortPriority && a.System == b.System && a.Key == b.Key &&
		a.State&Aggregation == b.State&Aggregation
}

// link is told whether the port's link is up, how fast and how.
func (p *Port) link(up bool, speed int, duplex bool, now int64) {
	if up && (speed != p.speed || duplex != p.duplex) {
		p.speed, p.duplex = speed, duplex
		p.setKey()
	}
	if up == p.enabled {
		return
	}
	p.enabled = up
	if !up { // PORT_DISABLED
		p.rx = RxPortDisabled
		p.partner.State &^= Synchronization
		return
	}
	p.actorChurn.begin(now)
	p.partnerChurn.begin(now)
	p.expire(now)
}

// setKey makes the port's key: of speed and duplex, for only equal links share traffic.
// A half duplex link is an individual (6.1.3.1).
func (p *Port) setKey() {
	key := p.system.config.Key<<8 | speedClass(p.speed)<<1
	state := p.actor.State &^ Aggregation
	if p.duplex {
		key |= 1
		state |= Aggregation
	}
	if key == p.actor.Key && state == p.actor.State {
		return
	}
	p.actor.Key, p.actor.State = key, state
	p.unselect()
	p.ntt = true
}

// speedClass numbers the speeds, so that they fit into a key: the bits that the number
// of Mbit/s has, and the one below its first.
func speedClass(mbps int) uint16 {
	bits := uint16(0)
	for v := mbps; v > 1; v >>= 1 {
		bits++
	}
	second := uint16(0)
	if bits > 0 {
		second = uint16(mbps>>(bits-1)) & 1
	}
	return bits<<1 | second
}

// expire is EXPIRED.
func (p *Port) expire(now int64) {
	p.rx = RxExpired
	p.partner.State &^= Synchronization
	p.partner.State |= Timeout // short: speak quickly, that it answers
	p.rxUntil = now + shortTimeout
	p.actor.State |= Expired
}

// receive is the receive machine with a message (CURRENT).
func (p *Port) receive(m *PDU, now int64) {
	if !p.enabled {
		return
	}
	p.stats.Rx++
	if !sameLink(&m.Actor, &p.partner) { // update_Selected
		p.unselect()
	}
	p.updateNTT(m)
	p.recordPDU(m)
	wait := int64(longTimeout)
	if p.actor.State&Timeout != 0 {
		wait = shortTimeout
	}
	p.rxUntil = now + wait
	p.actor.State &^= Expired
	p.rx = RxCurrent
}

// updateNTT answers a partner that believes something else of us than is true.
func (p *Port) updateNTT(m *PDU) {
	const told = Activity | Timeout | Synchronization | Aggregation
	if !sameLink(&m.Partner, &p.actor) || (m.Partner.State^p.actor.State)&told != 0 {
		p.ntt = true
	}
}

// recordPDU takes what the partner says of itself. It is in synchronization if it says
// so, knows us as we are or is an individual, and the protocol keeps watch over the link.
func (p *Port) recordPDU(m *PDU) {
	p.partner = m.Actor
	p.actor.State &^= Defaulted
	active := m.Actor.State&Activity != 0 || p.actor.State&Activity != 0 && m.Partner.State&Activity != 0
	agrees := sameLink(&m.Partner, &p.actor) || m.Actor.State&Aggregation == 0
	if !active || !agrees {
		p.partner.State &^= Synchronization
	}
}

// tickRx is the receive machine's timer.
func (p *Port) tickRx(now int64) {
	if p.moved {
		p.begin(now)
	}
	if !p.enabled || now < p.rxUntil {
		return
	}
	switch p.rx {
	case RxCurrent:
		p.expire(now)
	case RxExpired: // DEFAULTED
		p.rx = RxDefaulted
		p.updateDefaultSelected()
		p.recordDefault()
		p.actor.State &^= Expired
	case RxPortDisabled, RxDefaulted: // wait for a LACPDU, not for a timer
	}
}

// tickPeriodic is the periodic transmission machine (figure 6-20).
func (p *Port) tickPeriodic(now int64) {
	if !p.enabled || p.actor.State&Activity == 0 && p.partner.State&Activity == 0 {
		p.periodic = false
		return
	}
	slow := p.partner.State&Timeout == 0
	switch {
	case !p.periodic: // FAST_PERIODIC
		p.periodic, p.slow = true, false
		p.nextTx = now + fastPeriod
	case !p.slow && slow:
		p.slow = true
		p.nextTx = now + slowPeriod
	case p.slow && !slow, now >= p.nextTx: // PERIODIC_TX
		p.ntt = true
		p.slow = slow
		p.nextTx = now + fastPeriod
		if slow {
			p.nextTx = now + slowPeriod
		}
	}
}

// tickMux is the mux machine; allReady says of the aggregator that none of its ports
// still waits for others.
func (p *Port) tickMux(allReady func(*Port) bool, now int64) {
	for range 5 { // each state is left at most once
		before := p.mux
		switch p.mux {
		case MuxDetached:
			if p.enabled && p.selection != unselected {
				p.mux, p.waitUntil, p.ready = MuxWaiting, now+aggregateWait, false
			}
		case MuxWaiting:
			p.ready = now >= p.waitUntil
			switch {
			case !p.enabled || p.selection == unselected:
				p.detach()
			case p.selection == chosen && p.ready && allReady(p):
				p.mux = MuxAttached
				p.actor.State |= Synchronization
				p.ntt = true
			}
		case MuxAttached:
			switch {
			case !p.enabled || p.selection != chosen:
				p.detach()
			case p.partner.State&Synchronization != 0:
				p.mux = MuxCollecting
				p.actor.State |= Collecting
				p.ntt = true
			}
		case MuxCollecting:
			switch {
			case !p.enabled || p.selection != chosen || p.partner.State&Synchronization == 0:
				p.mux = MuxAttached
				p.actor.State &^= Collecting
				p.ntt = true
			case p.partner.State&Collecting != 0:
				p.mux = MuxDistributing
				p.actor.State |= Distributing
				p.ntt = true
			}
		case MuxDistributing:
			if !p.enabled || p.selection != chosen || p.partner.State&Synchronization == 0 || p.partner.State&Collecting == 0 {
				p.mux = MuxCollecting
				p.actor.State &^= Distributing
				p.ntt = true
			}
		}
		if p.mux == before {
			return
		}
	}
}

func (p *Port) detach() {
	p.mux, p.ready = MuxDetached, false
	p.actor.State &^= Synchronization | Collecting | Distributing
	p.ntt = true
}

// tickTx is the transmit machine (6.4.16): at most burst messages in fastPeriod.
func (p *Port) tickTx(send func(p *Port, message []byte), now int64) {
	if !p.enabled {
		p.pending = nil
		return
	}
	for _, r := range p.pending {
		send(p, r)
	}
	p.pending = nil
	if !p.ntt || !p.periodic {
		p.ntt = p.ntt && p.enabled
		return
	}
	if now-p.sentSince >= fastPeriod {
		p.sent, p.sentSince = 0, now
	}
	if p.sent == burst {
		return // NTT stays: it goes as soon as it may
	}
	p.sent++
	p.ntt = false
	m := PDU{Actor: p.actor, Partner: p.partner}
	send(p, m.Append(nil))
	p.stats.Tx++
}

// marker keeps a response for the next tick.
func (p *Port) marker(b []byte, now int64) {
	r, ok := markerReply(b)
	if !ok {
		if len(b) <= markerAt || b[markerAt] != tlvMarkerReply { // we ask nothing, so nobody answers us
			p.stats.Illegal++
		}
		return
	}
	p.stats.Markers++
	if now-p.replySince >= fastPeriod {
		p.replied, p.replySince = 0, now
	}
	if p.enabled && p.replied < replies {
		p.replied++
		p.stats.Replies++
		p.pending = append(p.pending, r)
	}
}

package bond

import (
	"slices"

	"weir/internal/lacp"
)

// Settings of a bond. Times are in milliseconds.
type Settings struct {
	Mode    Mode
	Policy  Policy
	Primary int // member that is used whenever its link is up, in ActiveBackup; -1: none
	// UpDelay and DownDelay: how long a link has to be up before it is used, and down
	// before it is given up. UpDelay counts only while another link is used.
	UpDelay, DownDelay int64
	LACP               lacp.Config
}

// Control decides which members carry traffic. It has no clock: now, in milliseconds,
// is passed in and never goes back.
type Control struct {
	settings Settings
	members  []*link
	active   int          // ActiveBackup: the member in use; -1: none
	system   *lacp.System // nil: another mode
	table    *Table       // as it was told last
}

// link is what is known of a member.
type link struct {
	attached bool // belongs to the bond now
	carrier  bool // as seen
	since    int64
	up       bool // as it counts, after the delays
	mbps     int
	duplex   bool
	port     *lacp.Port // nil: another mode
	failures uint64
	received int64 // when it was last one of those that receive
}

// NewControl makes the control of a bond with so many members, all of them attached and
// without a link yet.
func NewControl(s Settings, members int, now int64) *Control {
	c := &Control{active: -1, table: &Table{}}
	for range members {
		c.members = append(c.members, &link{attached: true, since: now, received: now - DrainTime})
	}
	c.Configure(s, now)
	return c
}

// Configure puts settings in force.
func (c *Control) Configure(s Settings, now int64) {
	c.settings = s
	switch {
	case s.Mode != LACP:
		c.system = nil
		for _, m := range c.members {
			m.port = nil
		}
	case c.system == nil:
		c.system = lacp.New(s.LACP)
		for i, m := range c.members {
			if m.attached {
				c.join(i, m, now)
			}
		}
	default:
		c.system.Configure(s.LACP)
	}
}

// portPriority is that of all our ports: a member is not better than another.
const portPriority = 255

func (c *Control) join(i int, m *link, now int64) {
	m.port = c.system.Add(uint16(i)+1, portPriority, now)
	c.system.Link(m.port, m.up, m.mbps, m.duplex, now)
}

// Attach takes a member into the bond, or out of it.
func (c *Control) Attach(i int, in bool, now int64) {
	m := c.members[i]
	if m.attached == in {
		return
	}
	m.attached = in
	if c.system == nil {
		return
	}
	if in {
		c.join(i, m, now)
		return
	}
	c.system.Remove(m.port)
	m.port = nil
}

// Link says what was seen of a member's link.
func (c *Control) Link(i int, carrier bool, mbps int, fullDuplex bool, now int64) {
	m := c.members[i]
	if carrier != m.carrier {
		m.carrier, m.since = carrier, now
	}
	if carrier {
		m.mbps, m.duplex = mbps, fullDuplex
	}
}

// Receive takes a message of LACP that came on a member.
func (c *Control) Receive(i int, message []byte, now int64) {
	if m := c.members[i]; m.port != nil {
		c.system.Receive(m.port, message, now)
	}
}

// Tick moves on. send is called for each message of LACP that is to leave on a member. A
// table is returned if another has to be published; moved says that in ActiveBackup
// traffic has another member now, of which the network is to be told.
func (c *Control) Tick(now int64, send func(i int, message []byte)) (t *Table, moved bool) {
	c.monitor(now)
	if c.system != nil {
		c.system.Tick(now, func(p *lacp.Port, message []byte) {
			for i, m := range c.members {
				if m.port == p {
					send(i, message)
				}
			}
		})
	}
	for i, m := range c.members {
		if c.table.Rx&(1<<i) != 0 {
			m.received = now
		}
	}
	before := c.active
	c.choose()
	next := c.compile(now)
	if next.equal(c.table) {
		return nil, false
	}
	c.table = next
	return next, c.settings.Mode == ActiveBackup && c.active >= 0 && c.active != before
}

// monitor applies the delays to what was seen of the links.
func (c *Control) monitor(now int64) {
	for _, m := range c.members {
		wait := c.settings.DownDelay
		if m.carrier {
			wait = c.settings.UpDelay
			if !c.anyUp() {
				wait = 0 // better an unsteady link than none
			}
		}
		if m.up != m.carrier && now-m.since >= wait {
			m.up = m.carrier
			if !m.up {
				m.failures++
			}
		}
		if m.port != nil {
			c.system.Link(m.port, m.up, m.mbps, m.duplex, now)
		}
	}
}

func (c *Control) anyUp() bool {
	for _, m := range c.members {
		if m.attached && m.up {
			return true
		}
	}
	return false
}

// choose finds the member of ActiveBackup: the primary if it is up, else the one in use,
// else the first that is up.
func (c *Control) choose() {
	if c.settings.Mode != ActiveBackup {
		c.active = -1
		return
	}
	usable := func(i int) bool { return i >= 0 && i < len(c.members) && c.members[i].attached && c.members[i].up }
	switch {
	case usable(c.settings.Primary):
		c.active = c.settings.Primary
	case usable(c.active):
	default:
		c.active = -1
		for i := range c.members {
			if usable(i) {
				c.active = i
				break
			}
		}
	}
}

func (c *Control) compile(now int64) *Table {
	t := &Table{Mode: c.settings.Mode, Policy: c.settings.Policy}
	for i, m := range c.members {
		sends := m.attached && m.up
		receives, ours := sends, false
		switch c.settings.Mode {
		case ActiveBackup:
			sends = i == c.active
			receives = sends
			ours = m.attached && now-m.received < DrainTime
		case LACP:
			sends = sends && m.port.Distributes()
			ours = receives && m.port.Agreed()
			receives = receives && m.port.Collects()
		case RoundRobin, XOR, Broadcast: // every member, both ways
		}
		if sends {
			t.Tx = append(t.Tx, uint8(i))
		}
		switch {
		case receives:
			t.Rx |= 1 << i
		case ours:
			t.RxOne |= 1 << i
		}
	}
	return t
}

func (t *Table) equal(o *Table) bool {
	return t.Mode == o.Mode && t.Policy == o.Policy && t.Rx == o.Rx && t.RxOne == o.RxOne && slices.Equal(t.Tx, o.Tx)
}

// Sends reports whether a member may send.
func (t *Table) Sends(i int) bool { return slices.Contains(t.Tx, uint8(i)) }

// MemberView is a member as it is, for who asks.
type MemberView struct {
	Attached bool
	Up       bool // its link, after the delays
	Active   bool // carries traffic
	Mbps     int
	Duplex   bool
	Failures uint64     // times that its link was lost
	LACP     *lacp.View // nil: another mode
}

// View returns the members in order, and in mode LACP the aggregator in force: it is
// called by the least number of its ports, 0 if there is none.
func (c *Control) View() (members []MemberView, aggregator uint16) {
	for i, m := range c.members {
		v := MemberView{Attached: m.attached, Up: m.up, Active: c.table.Sends(i), Mbps: m.mbps, Duplex: m.duplex, Failures: m.failures}
		if m.port != nil {
			p := m.port.View()
			v.LACP = &p
		}
		members = append(members, v)
	}
	if c.system != nil {
		aggregator = c.system.Active()
	}
	return members, aggregator
}

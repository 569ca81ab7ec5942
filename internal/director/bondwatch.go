package director

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"weir/internal/lacp"
	"weir/internal/port"
	"weir/internal/port/bond"
	"weir/internal/spec"
	"weir/internal/worker"
)

// keepEvery is how often the bonds are looked after: their links, if it is time, and LACP.
const keepEvery = 10 * time.Millisecond

// speedEvery is how often links are asked for their speed, in milliseconds.
const speedEvery = 1000

// sendWait is how long a worker may take to send messages of LACP. Which are lost then
// come again with the next ones.
const sendWait = 200 * time.Millisecond

// runBonds looks after the bonds until ctx ends.
func (d *Director) runBonds(ctx context.Context) {
	tick := time.NewTicker(keepEvery)
	defer tick.Stop()
	for {
		d.KeepBonds(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// KeepBonds looks once after each bond: at its links and at what LACP has to say. A bed that
// is breathed by hand does it by hand.
func (d *Director) KeepBonds(ctx context.Context) {
	now := d.millis()
	for _, b := range d.bonds {
		out, moved := b.keep(d, now)
		b.send(ctx, d, out)
		switch {
		case !moved:
		case d.byHand():
			d.announceBond(b)
		default:
			// A change may hold the lock for long, and LACP does not wait.
			d.done.Go(func() { d.announceBond(b) })
		}
	}
}

// outgoing is a frame of LACP on its way to a member.
type outgoing struct {
	member int
	frame  []byte
}

// keep moves a bond's control on. moved says that its addresses are to be announced.
func (b *openBond) keep(d *Director, now int64) (out []outgoing, moved bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if now >= b.look {
		b.look = now + int64(b.wanted.MonitorInterval)
		b.lookAtLinks(now)
	}
	for _, q := range b.queues {
		q.Slow(func(s *bond.Slow) { b.control.Receive(int(s.Member), s.Message(), now) })
	}
	before := b.bond.Table()
	next, moved := b.control.Tick(now, func(i int, message []byte) {
		out = append(out, outgoing{i, lacpFrame(b.members[i], message)})
	})
	if next == nil {
		return out, false
	}
	b.bond.Publish(next)
	b.tellOfMembers(d, before, next)
	b.carries = len(next.Tx) > 0
	return out, moved || len(before.Tx) == 0 && b.carries
}

// lookAtLinks tells the control what is seen of the members' links.
func (b *openBond) lookAtLinks(now int64) {
	speeds := now >= b.speeds
	if speeds {
		b.speeds = now + speedEvery
	}
	for i, m := range b.members {
		if m.bed != nil {
			b.control.Link(i, m.bed.Carrier == nil || m.bed.Carrier(), 0, true, now)
			continue
		}
		up := b.carrier.Up(m.link.Name)
		if up && (!b.up[i] || speeds) {
			m.speed, m.duplex = b.carrier.Speed(m.link.Name)
		}
		b.up[i] = up
		b.control.Link(i, up, m.speed, m.duplex, now)
	}
}

// tellOfMembers logs which members carry traffic since now, and which no longer.
func (b *openBond) tellOfMembers(d *Director, before, next *bond.Table) {
	name := b.port.facts.Name
	members, _ := b.control.View()
	for i, m := range b.members {
		was, is := before.Sends(i), next.Sends(i)
		switch {
		case is && !was:
			d.log.Log(context.Background(), Notice, fmt.Sprintf("bond %s: %s carries traffic", name, m.facts.Name))
		case was && !is:
			why := "another one does"
			switch v := &members[i]; {
			case !v.Attached:
				why = "it was taken out"
			case !v.Up:
				why = "its link is down"
			case v.LACP != nil && v.LACP.Rx != lacp.RxCurrent:
				why = "nothing is heard of the partner"
			case v.LACP != nil:
				why = "the partner does not want it"
			}
			d.log.Warn(fmt.Sprintf("bond %s: %s carries no traffic any more: %s", name, m.facts.Name, why))
		}
	}
	if len(next.Tx) == 0 {
		d.log.Warn(fmt.Sprintf("bond %s: none of its members carries traffic: %s", name, "dpip link show "+name+" status"))
	}
}

// lacpFrame makes a frame of a message. Its source is the member's own address.
func lacpFrame(m *openPort, message []byte) []byte {
	f := make([]byte, 0, 14+len(message))
	f = append(f, lacp.Group[:]...)
	f = append(f, m.ownMAC[:]...)
	f = append(f, lacp.EtherType>>8, lacp.EtherType&0xff)
	return append(f, message...)
}

// send has a worker send frames of LACP.
func (b *openBond) send(ctx context.Context, d *Director, out []outgoing) {
	if len(out) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, sendWait)
	defer cancel()
	q := b.queues[b.lead]
	err := d.do(ctx, d.workers[b.lead], func(*worker.Worker) {
		for _, o := range out {
			q.Send(o.member, o.frame) // without memory it is lost, and said again in time
		}
	})
	if err != nil && ctx.Err() == nil {
		d.log.Debug("frames of LACP were not sent", "err", err)
	}
}

// millis is the time of the bonds' controls.
func (d *Director) millis() int64 {
	if d.bed != nil && d.bed.Clock != nil {
		return int64(d.bed.Clock() / 1e6)
	}
	return time.Since(d.started).Milliseconds()
}

// BondView is a bond as it is.
type BondView struct {
	spec.Bond
	// Changed are the settings that are not those of dpvs.conf, as items and values of
	// `dpip link set`, and members that were taken out.
	Changed    [][2]string
	MAC        port.MAC
	Members    []BondMember
	Aggregator uint16 // in force, by the least number of its ports; 0: none, or another mode
	Carries    bool
	Mbps       int // of all members that carry traffic
}

// BondMember is a member as it is.
type BondMember struct {
	Name string
	MAC  port.MAC // its own
	bond.MemberView
}

// viewBond says how a bond is.
func (b *openBond) view(booted *spec.Bond) *BondView {
	b.mu.Lock()
	defer b.mu.Unlock()
	v := &BondView{Bond: b.wanted, MAC: b.port.facts.MAC, Carries: b.carries, Changed: changes(booted, &b.wanted)}
	var members []bond.MemberView
	members, v.Aggregator = b.control.View()
	for i, m := range members {
		v.Members = append(v.Members, BondMember{b.members[i].facts.Name, b.members[i].ownMAC, m})
		if m.Active {
			v.Mbps += m.Mbps
		}
	}
	return v
}

// changes lists what was set at run time.
func changes(booted, now *spec.Bond) (out [][2]string) {
	add := func(differs bool, item, value string) {
		if differs {
			out = append(out, [2]string{item, value})
		}
	}
	add(booted.Mode != now.Mode, "bond-mode", fmt.Sprint(now.Mode))
	primary := now.Primary
	if primary == "" {
		primary = "none"
	}
	add(booted.Primary != now.Primary, "bond-primary", primary)
	add(booted.XmitPolicy != now.XmitPolicy, "bond-xmit-policy", now.XmitPolicy)
	add(booted.MonitorInterval != now.MonitorInterval, "bond-monitor-interval", fmt.Sprint(now.MonitorInterval))
	add(booted.UpDelay != now.UpDelay, "bond-link-up-prop", fmt.Sprint(now.UpDelay))
	add(booted.DownDelay != now.DownDelay, "bond-link-down-prop", fmt.Sprint(now.DownDelay))
	for _, m := range now.Out {
		add(true, "bond-slave-del", m)
	}
	return out
}

// bondOf returns how a port's bond is; nil: it is none.
func (d *Director) viewOf(p *openPort) *BondView {
	if p.bond == nil {
		return nil
	}
	i := slices.IndexFunc(d.boot.Bonds, func(b spec.Bond) bool { return strings.EqualFold(b.Name, p.facts.Name) })
	return p.bond.view(&d.boot.Bonds[i])
}

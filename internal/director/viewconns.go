package director

import (
	"net/netip"
	"sync/atomic"
	"time"

	"weir/internal/clock"
	"weir/internal/flow"
	"weir/internal/lb/proto"
	"weir/internal/lb/service"
	"weir/internal/spec"
)

// ConnView is a connection.
type ConnView struct {
	Worker                       int
	Proto                        spec.Proto
	State                        string
	Timeout, Remaining           time.Duration
	Client, Virtual, Local, Real netip.AddrPort
}

// Conns calls f for every connection until it returns false. Connections come
// and go meanwhile; each is seen whole or not at all.
func (d *Director) Conns(f func(*ConnView) bool) {
	d.reading.RLock()
	defer d.reading.RUnlock()
	if d.closed {
		return
	}
	t := d.shared.Flows
	now := d.now()
	for i := range t.Used() {
		if v, ok := d.connView(t, i, now); ok && !f(&v) {
			return
		}
	}
}

// FindConn looks one connection up by what its client's packets bear.
func (d *Director) FindConn(p spec.Proto, client, virtual netip.AddrPort) (v ConnView, ok bool) {
	d.reading.RLock()
	defer d.reading.RUnlock()
	if d.closed || !client.IsValid() || !virtual.IsValid() || client.Addr().Is4() != virtual.Addr().Is4() {
		return v, false
	}
	t := d.shared.Flows
	f := flow.TupleOf(flow.AddrOf(client.Addr()), flow.AddrOf(virtual.Addr()), service.WirePort(client.Port()), service.WirePort(virtual.Port()), uint8(p))
	h, key1 := t.FindFlow(&f)
	if h == nil || key1&flow.FlagReply != 0 {
		return v, false
	}
	i := h.Load().Conn
	if !h.Same(key1) || uint64(i) >= uint64(t.Conns()) {
		return v, false
	}
	// The index may have another connection by now.
	v, ok = d.connView(t, i, d.now())
	return v, ok && v.Proto == p && v.Client == client && v.Virtual == virtual
}

func (d *Director) connView(t *flow.Table, i uint32, now clock.Tick) (v ConnView, ok bool) {
	c := t.Conn(i)
	slot := atomic.LoadUint32(&c.In)
	state := atomic.LoadUint32(&c.State)
	if !t.Has(slot) || state&flow.ConnDying != 0 {
		return v, false
	}
	h := t.Half(slot)
	key1 := atomic.LoadUint64(&h.Key1)
	src, dst := t.Key(h)
	from, to := t.Gets(h, key1)
	ports, owner := atomic.LoadUint32(&h.NewPorts), h.Conn
	if key1&flow.FlagValid == 0 || owner != i || !h.Same(key1) {
		return v, false
	}
	dest := d.shared.Dests[h.Dest].Load()
	if to == (flow.Addr{}) && dest != nil {
		from, to = dst, dest.Wire // IPv4 into an IPv6 tunnel
	} else if dest != nil && to == dst && state&flow.ConnOneWay != 0 {
		to = dest.Wire // DR: the packet keeps the VIP
	}
	v = ConnView{
		Worker: int(c.Owner), Proto: spec.Proto(key1 >> 32), State: proto.Name(proto.State(state & flow.ConnStateMask)),
		Timeout: clock.Duration(atomic.LoadUint32(&c.Timeout)),
		Client:  addrPort(src, uint16(key1)), Virtual: addrPort(dst, uint16(key1>>16)),
		Local: addrPort(from, uint16(ports)), Real: addrPort(to, uint16(ports>>16)),
	}
	if v.Proto == spec.ICMP {
		v.State = "ICMP_NORMAL"
	}
	if key1&flow.FlagReply != 0 { // of a one-packet service: the way of the answer is all there is
		v.Client, v.Virtual, v.Local, v.Real = v.Real, v.Local, v.Virtual, v.Client
	}
	if idle := clock.Duration(now.Since(t.LastSeen(c))); idle < v.Timeout {
		v.Remaining = v.Timeout - idle
	}
	return v, true
}

func addrPort(ip flow.Addr, p uint16) netip.AddrPort {
	return netip.AddrPortFrom(ip.IP(), service.WirePort(p))
}

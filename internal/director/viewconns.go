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
		if v, ok := connView(t, i, now); ok && !f(&v) {
			return
		}
	}
}

// FindConn looks one connection up by what its client's packets bear.
func (d *Director) FindConn(p spec.Proto, client, virtual netip.AddrPort) (v ConnView, ok bool) {
	d.reading.RLock()
	defer d.reading.RUnlock()
	if d.closed || !client.Addr().Is4() || !virtual.Addr().Is4() {
		return v, false
	}
	t := d.shared.Flows
	k0, k1 := flow.Tuple(service.Wire(client.Addr()), service.Wire(virtual.Addr()), service.WirePort(client.Port()), service.WirePort(virtual.Port()), uint8(p))
	h, key1 := t.Find(k0, k1, t.Hash(k0, k1))
	if h == nil || key1&flow.FlagReply != 0 {
		return v, false
	}
	i := h.Load().Conn
	if !h.Same(key1) || uint64(i) >= uint64(t.Conns()) {
		return v, false
	}
	// The index may have another connection by now.
	v, ok = connView(t, i, d.now())
	return v, ok && v.Proto == p && v.Client == client && v.Virtual == virtual
}

func connView(t *flow.Table, i uint32, now clock.Tick) (v ConnView, ok bool) {
	c := t.Conn(i)
	slot := atomic.LoadUint32(&c.In)
	state := atomic.LoadUint32(&c.State)
	if slot == flow.None || uint64(slot) >= uint64(t.Slots()) || state&flow.ConnDying != 0 {
		return v, false
	}
	h := t.Half(slot)
	key1 := atomic.LoadUint64(&h.Key1)
	k0, addrs, ports, owner := atomic.LoadUint64(&h.Key0), atomic.LoadUint64(&h.NewAddrs), atomic.LoadUint32(&h.NewPorts), h.Conn
	if key1&flow.FlagValid == 0 || owner != i || !h.Same(key1) {
		return v, false
	}
	v = ConnView{
		Worker: int(c.Owner), Proto: spec.Proto(key1 >> 32), State: proto.Name(proto.State(state & flow.ConnStateMask)),
		Timeout: clock.Duration(atomic.LoadUint32(&c.Timeout)),
		Client:  addrPort(uint32(k0), uint16(key1)), Virtual: addrPort(uint32(k0>>32), uint16(key1>>16)),
		Local: addrPort(uint32(addrs), uint16(ports)), Real: addrPort(uint32(addrs>>32), uint16(ports>>16)),
	}
	if v.Proto == spec.ICMP {
		v.State = "ICMP_NORMAL"
	}
	if key1&flow.FlagReply != 0 { // of a one-packet service: the way of the answer is all there is
		v.Client, v.Virtual = addrPort(uint32(addrs>>32), uint16(ports>>16)), addrPort(uint32(addrs), uint16(ports))
		v.Local, v.Real = addrPort(uint32(k0>>32), uint16(key1>>16)), addrPort(uint32(k0), uint16(key1))
	}
	if idle := clock.Duration(now.Since(t.LastSeen(c))); idle < v.Timeout {
		v.Remaining = v.Timeout - idle
	}
	return v, true
}

func addrPort(ip uint32, p uint16) netip.AddrPort {
	return netip.AddrPortFrom(service.Addr(ip), service.WirePort(p))
}

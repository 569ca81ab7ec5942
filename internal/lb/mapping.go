package lb

import (
	"weir/internal/lb/laddr"
	"weir/internal/lb/mapping"
	"weir/internal/lb/service"
	"weir/internal/packet"
)

// Endpoint-independent mappings (RFC 4787, REQ-1): an inside end, address and port,
// goes out with one WAN address and port, whoever it talks to, while any of its
// connections lives. Each connection holds the mapping; the last one gives the port
// back. Who may answer is another matter: those alone that were talked to.

// borrowMapped is borrow for a service whose mappings are endpoint-independent: the
// connection gets what its inside end has, or else the first one's mapping is made.
func (b *Balancer) borrowMapped(p *packet.Packet, o *opening, svc *service.Service) (*service.Dest, packet.Reason) {
	store := b.sh.Mappings.Load()
	k := mapping.Key{
		Address: [2]uint64{o.ends.Client.Hi, o.ends.Client.Lo}, Port: o.ends.ClientPort,
		Proto: p.Proto, Service: svc.State.Index,
	}
	pool := laddr.MappedPool(p.Proto)
	if ref, m := store.Find(&k); ref != mapping.None {
		if dest := b.sh.Dests[m.Dest].Load(); svc.IndexOf(dest) >= 0 {
			b.holdMapping(o, ref, pool, m)
			return dest, packet.NoReason
		}
		// Its WAN address was taken from the service: who is connected goes on.
		store.Retire(ref)
		b.unmap(ref, pool, 0)
	}
	dest, _ := schedule(p, svc)
	if dest == nil {
		return nil, packet.LBNoDest
	}
	o.conn.Pool = pool
	if why := b.takeWAN(o, dest); why != packet.NoReason {
		return nil, why
	}
	want := mapping.Mapping{Dest: uint16(dest.Index), Local: uint16(o.local.Index), Port: o.lent.Port}
	if o.lent.Recent {
		want.Reused = b.Second
	}
	ref, m, made := store.Add(&k, want)
	if made {
		o.conn.Template = ref
		return dest, packet.NoReason
	}
	// Another worker met the same end at the same time; or there is no room.
	o.local.Give(pool, o.lent.Port, b.Second, o.lent.Seen)
	if ref == mapping.None {
		return nil, packet.LBMappingsFull
	}
	b.holdMapping(o, ref, pool, m)
	return b.sh.Dests[m.Dest].Load(), packet.NoReason
}

// holdMapping gives a connection a mapping that it holds.
func (b *Balancer) holdMapping(o *opening, ref uint32, pool uint8, m mapping.Mapping) {
	o.local = b.sh.Locals.At(uint32(m.Local))
	o.lent = laddr.Lent{Port: m.Port, Recent: m.Reused != 0 && b.Second-m.Reused < laddr.TimeWait}
	o.conn.Template, o.conn.Pool = ref, pool
}

// unmap gives a connection's hold back, and with the last one the port. seen is what
// the other end expected next on it.
func (b *Balancer) unmap(ref uint32, pool uint8, seen uint32) {
	if m, last := b.sh.Mappings.Load().Release(ref); last {
		b.sh.Locals.At(uint32(m.Local)).Give(pool, m.Port, b.Second, seen)
	}
}

package lb

import (
	"weir/internal/lb/service"
	"weir/internal/lb/template"
	"weir/internal/packet"
	"weir/internal/spec"
)

// Persistence: a client, or all clients of a network, keep their real server. Which
// one that is says a template, shared by all workers; connections hold it while they
// live, and it lives the service's timeout longer.

// choose finds a real server for the first packet of a connection, by the client's
// template or by the scheduler. held is the template that the connection holds.
func (b *Balancer) choose(p *packet.Packet, svc *service.Service) (d *service.Dest, mode spec.Forward, held uint32) {
	if svc.Persistent == 0 {
		d, mode = schedule(p, svc)
		return d, mode, template.None
	}
	k := template.Key{Service: uint64(svc.Key.Proto)<<16 | uint64(svc.Key.Virtual.Port())}
	src, dst := ends(p)
	k.Client, k.Virtual = [2]uint64{src.Hi & svc.Mask.Hi, src.Lo & svc.Mask.Lo}, [2]uint64{dst.Hi, dst.Lo}
	ref, named := b.sh.Templates.Find(&k, svc.Persistent, b.Now)
	if ref != template.None {
		if i := svc.IndexOf(b.sh.Dests[named].Load()); i >= 0 && b.keeps(svc, i) {
			return svc.Dests[i], svc.Modes[i], ref
		}
	}
	if d, mode = schedule(p, svc); d == nil {
		b.letGo(ref)
		return nil, mode, template.None
	}
	var agreed uint32
	if ref != template.None {
		agreed = b.moveTemplate(ref, named, d)
	} else {
		ref, agreed = b.addTemplate(&k, d, svc.Persistent)
	}
	// Another worker may have met the client at the same time.
	if agreed != d.Index {
		if i := svc.IndexOf(b.sh.Dests[agreed].Load()); i >= 0 {
			d, mode = svc.Dests[i], svc.Modes[i]
		}
	}
	return d, mode, ref
}

// keeps reports whether a template's real server gets another connection by it. One
// that is overloaded does, as in LVS: its client has its state there.
func (b *Balancer) keeps(svc *service.Service, i int) bool {
	c := &svc.Candidates[i]
	if c.Load.Inhibited.Load() {
		return false
	}
	return c.Weight != 0 || !b.Tables.QuiescentTemplates && !svc.Quiescent
}

// moveTemplate gives a client whose real server is unavailable to another.
func (b *Balancer) moveTemplate(ref, from uint32, to *service.Dest) (agreed uint32) {
	agreed, moved := b.sh.Templates.Move(ref, from, to.Index)
	if moved {
		b.templates(from, -1)
		b.templates(to.Index, 1)
		b.stats.TemplatesMoved++
	}
	return agreed
}

// addTemplate makes a template for a client that had none. At the bound another goes
// for it, or the connection is made without.
func (b *Balancer) addTemplate(k *template.Key, d *service.Dest, timeout uint32) (ref, agreed uint32) {
	// Counted first, so that the real server is not forgotten meanwhile.
	d.Load.Templates.Add(1)
	a := b.sh.Templates.Add(k, d.Index, timeout, b.Now)
	if a.Gone != template.None {
		b.templates(a.Gone, -1)
	}
	if a.Evicted {
		b.stats.TemplatesEvicted++
	}
	if a.Made {
		b.stats.TemplatesMade++
		return a.Ref, a.Dest
	}
	d.Load.Templates.Add(-1)
	if a.Ref == template.None {
		b.stats.TemplatesFull++
		return a.Ref, d.Index
	}
	return a.Ref, a.Dest
}

// templates counts a real server's templates.
func (b *Balancer) templates(dest uint32, n int32) {
	if d := b.sh.Dests[dest].Load(); d != nil {
		d.Load.Templates.Add(n)
	}
}

// letGo gives a template back.
func (b *Balancer) letGo(ref uint32) {
	if ref != template.None {
		b.sh.Templates.Release(ref, b.Now)
	}
}

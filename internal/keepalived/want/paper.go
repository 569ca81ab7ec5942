package want

import (
	"errors"
	"net/netip"

	"weir/internal/config/block"
	"weir/internal/config/keepalivedconf"
	"weir/internal/spec"
)

// The director of paper: a Spec that nobody serves. What its edits refuse, the real one
// would, and here it has a line.

func (p *planner) refuse(at block.Pos, format string, args ...any) {
	p.errors = append(p.errors, at.Errorf(format, args...))
}

// joined is errors.Join, but for more than anybody reads.
func joined(all []error) error {
	const most = 20
	if len(all) > most {
		all = append(all[:most:most], errors.New("and more"))
	}
	return errors.Join(all...)
}

// service puts a service on paper, and returns it as the director would have it.
func (p *planner) service(vs *keepalivedconf.VirtualServer, s Service, deny, allow []netip.Addr) Service {
	at, key := p.at.Server(vs), s.Spec.ServiceKey
	if err := p.paper.AddService(s.Spec); err != nil {
		p.refuse(at, "virtual_server: %v", err)
		return s
	}
	if key.IsMatch() && (len(deny) > 0 || len(allow) > 0) {
		p.refuse(at, "virtual_server match %s: daddr_group_name and waddr_group_name are not for a match yet: let the match itself leave clients out", vs.Label)
	}
	for _, l := range s.Spec.Locals {
		if _, err := p.paper.AddLocal(key, l); err != nil {
			p.refuse(at, "laddr_group_name %s: %v", vs.LocalGroup, err)
			break
		}
	}
	for _, list := range []struct {
		kind  spec.ListKind
		addrs []netip.Addr
	}{{spec.Blacklist, s.Spec.Blacklist}, {spec.Whitelist, s.Spec.Whitelist}} {
		if len(list.addrs) == 0 {
			continue
		}
		if err := p.paper.AddListed(key, list.kind, list.addrs...); err != nil {
			p.refuse(at, "virtual_server: %v", err)
		}
	}
	for i := range vs.Reals {
		rs := &vs.Reals[i]
		d := spec.Dest{Addr: rs.Addr, Forward: rs.Method.Forward, Weight: rs.Weight, UThreshold: rs.UThreshold, LThreshold: rs.LThreshold}
		s.Dests = append(s.Dests, p.dest(p.at.Real(vs, rs.Addr), "real_server", key, d))
	}
	if vs.Sorry.Addr.IsValid() {
		d := spec.Dest{Addr: vs.Sorry.Addr, Forward: vs.Sorry.Method.Forward, Weight: SorryWeight}
		if svc := p.paper.Find(key); svc != nil && contains(svc.Dests, d.Addr) {
			s.Sorry = d // a real server as well: it is there once
		} else {
			s.Sorry = p.dest(at, "sorry_server", key, d)
		}
	}
	return s
}

func contains(dests []spec.Dest, a netip.AddrPort) bool {
	for _, d := range dests {
		if d.Addr == a {
			return true
		}
	}
	return false
}

// dest puts a real server on paper. The addresses of SNAT are there by then; who puts them
// there is not for the file to say.
func (p *planner) dest(at block.Pos, word string, key spec.ServiceKey, d spec.Dest) spec.Dest {
	if ip := d.Addr.Addr(); d.Forward == spec.SNAT && p.paper.FindAddress(ip) == nil {
		port := key.Match.Out
		if port == "" && len(p.paper.Ports) > 0 {
			port = p.paper.Ports[0]
		} else if port == "" {
			p.paper.Ports = append(p.paper.Ports, "port")
			port = "port"
		}
		wan := spec.Address{Port: port, Prefix: netip.PrefixFrom(ip, ip.BitLen()), SAPool: true}
		if err := p.paper.AddAddress(wan, false); err != nil {
			p.refuse(at, "%s: %v", word, err)
			return d
		}
	}
	if err := p.paper.AddDest(key, d); err != nil {
		p.refuse(at, "%s: %v", word, err)
		return d
	}
	dests := p.paper.Find(key).Dests
	return dests[len(dests)-1]
}

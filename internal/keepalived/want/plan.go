package want

import (
	"fmt"
	"net/netip"
	"slices"

	"weir/internal/config/keepalivedconf"
	"weir/internal/health"
	"weir/internal/spec"
)

// maxGroup bounds the addresses of one group of the file, and the services of one
// virtual server, that ranges stand for.
const maxGroup = 1 << 16

// Plan is what a file makes of the director, whatever becomes of the real servers.
type Plan struct {
	Tunnels  []spec.TunnelDevice // in the order of the file
	Virtuals []Virtual           // in the order of the file
}

// Virtual is a virtual_server: one service, or for a group several, that share real
// servers, their health and their quorum.
type Virtual struct {
	Conf     *keepalivedconf.VirtualServer
	Services []Service
}

// Service is one service of a virtual server. Dests and Sorry are as configured.
type Service struct {
	Spec  spec.Service // without real servers
	Dests []spec.Dest  // in the order of Conf.Reals
	Sorry spec.Dest    // of Conf.Sorry, if it has one
}

// With returns the service as it shall be when its real servers weigh so much, or are
// health.Absent.
func (s *Service) With(weights []int, sorry int) spec.Service {
	out := s.Spec
	out.Dests = nil
	for i, d := range s.Dests {
		if weights[i] != health.Absent {
			d.Weight = uint32(min(weights[i], maxWeight))
			out.Dests = append(out.Dests, d)
		}
	}
	if sorry != health.Absent && s.Sorry.Addr.IsValid() {
		i := slices.IndexFunc(out.Dests, func(d spec.Dest) bool { return d.Addr == s.Sorry.Addr })
		if i < 0 {
			d := s.Sorry
			d.Weight = uint32(sorry)
			out.Dests = append(out.Dests, d)
		}
	}
	return out
}

// maxWeight is the greatest that the director takes; a MISC_CHECK adds to what the file
// says.
const maxWeight = 65535

// SorryWeight is what a sorry server weighs while it serves, as in stock keepalived.
const SorryWeight = 1

// planner makes a Plan, and tries it on a director of paper.
type planner struct {
	conf   *keepalivedconf.Config
	at     *keepalivedconf.Places
	paper  *spec.Spec
	errors []error
}

// Compile makes the plan of a file. The error joins all that can't be, each with its
// file and line.
func Compile(conf *keepalivedconf.Config, at *keepalivedconf.Places) (*Plan, error) {
	p := &planner{conf: conf, at: at, paper: &spec.Spec{Ports: ports(conf)}}
	plan := &Plan{Tunnels: p.tunnels()}
	for i := range conf.Servers {
		plan.Virtuals = append(plan.Virtuals, p.virtual(&conf.Servers[i]))
	}
	return plan, joined(p.errors)
}

// ports are the names of ports that a file says, without the tunnels that it makes.
func ports(conf *keepalivedconf.Config) []string {
	var all []string
	tunnels := tunnelNames(conf)
	add := func(name string) {
		if name != "" && !slices.Contains(all, name) && !slices.Contains(tunnels, name) {
			all = append(all, name)
		}
	}
	for _, g := range conf.Locals {
		for _, r := range g.Ranges {
			add(r.Port)
		}
	}
	for _, in := range conf.Instances {
		add(in.Port)
	}
	for i := range conf.Tunnels {
		for _, e := range conf.Tunnels[i].Tunnels {
			add(e.Port)
		}
	}
	for i := range conf.Servers {
		add(conf.Servers[i].Match.In)
		add(conf.Servers[i].Match.Out)
	}
	return all
}

// virtual plans one virtual server.
func (p *planner) virtual(vs *keepalivedconf.VirtualServer) Virtual {
	v := Virtual{Conf: vs}
	at := p.at.Server(vs)
	p.unserved(vs)
	keys, err := p.keys(vs)
	if err != nil {
		p.refuse(at, "virtual_server: %v", err)
	}
	locals, err := p.locals(vs)
	if err != nil {
		p.refuse(at, "laddr_group_name %s: %v", vs.LocalGroup, err)
	}
	deny, err := p.list(p.conf.Deny, vs.DenyGroup)
	if err != nil {
		p.refuse(at, "daddr_group_name %s: %v", vs.DenyGroup, err)
	}
	allow, err := p.list(p.conf.Allow, vs.AllowGroup)
	if err != nil {
		p.refuse(at, "waddr_group_name %s: %v", vs.AllowGroup, err)
	}
	for _, key := range keys {
		s := Service{Spec: options(vs)}
		s.Spec.ServiceKey = key
		if !key.IsMatch() {
			is4 := key.Virtual.Addr().Is4()
			ours := func(a netip.Addr) bool { return a.Is4() == is4 }
			s.Spec.Locals = locals
			s.Spec.Blacklist, s.Spec.Whitelist = only(deny, ours), only(allow, ours)
		}
		v.Services = append(v.Services, p.service(vs, s, deny, allow))
	}
	return v
}

// only returns the addresses that f keeps, or nil.
func only(all []netip.Addr, f func(netip.Addr) bool) (kept []netip.Addr) {
	for _, a := range all {
		if f(a) {
			kept = append(kept, a)
		}
	}
	return kept
}

// unserved refuses what a file may say and no service of Weir is.
func (p *planner) unserved(vs *keepalivedconf.VirtualServer) {
	at := p.at.Server(vs)
	if len(vs.Flags) > 0 {
		p.refuse(at, "virtual_server: flag %s of the scheduler is not supported: leave it out", vs.Flags[0])
	}
	methods := []keepalivedconf.Method{vs.Method, vs.Sorry.Method}
	for i := range vs.Reals {
		methods = append(methods, vs.Reals[i].Method)
	}
	for _, m := range methods {
		if m.Tunnel != "" || m.Checksum != "" {
			p.refuse(at, "virtual_server: lb_kind TUN type %s is not supported: tunnels of services are IP in IP, write TUN alone", m.Tunnel)
			break
		}
	}
}

// keys are the services that a virtual server stands for.
func (p *planner) keys(vs *keepalivedconf.VirtualServer) ([]spec.ServiceKey, error) {
	switch {
	case vs.Mark != 0:
		return nil, fmt.Errorf("fwmark %d: packets have no mark before they come to a service: write an address and a port, or a match", vs.Mark)
	case vs.Group == "":
		return []spec.ServiceKey{{Proto: vs.Proto, Virtual: vs.Virtual, Match: vs.Match}}, nil
	}
	i := slices.IndexFunc(p.conf.Groups, func(g keepalivedconf.ServerGroup) bool { return g.Name == vs.Group })
	if i < 0 {
		return nil, fmt.Errorf("there is no virtual_server_group %s", vs.Group)
	}
	var keys []spec.ServiceKey
	for _, m := range p.conf.Groups[i].Members {
		if m.Mark != 0 {
			return nil, fmt.Errorf("group %s: fwmark %d: packets have no mark before they come to a service: write addresses and ports", vs.Group, m.Mark)
		}
		addrs, err := span(m.Range, maxGroup-len(keys))
		if err != nil {
			return nil, fmt.Errorf("group %s: %w", vs.Group, err)
		}
		for _, a := range addrs {
			keys = append(keys, spec.ServiceKey{Proto: vs.Proto, Virtual: netip.AddrPortFrom(a, m.Port)})
		}
	}
	return keys, nil
}

// span lists the addresses of a range.
func span(r keepalivedconf.Range, most int) ([]netip.Addr, error) {
	var all []netip.Addr
	for a := r.First; a.IsValid() && !r.Last.Less(a); a = a.Next() {
		if len(all) == most {
			return nil, fmt.Errorf("%s-%s: a group has at most %d addresses", r.First, r.Last, maxGroup)
		}
		all = append(all, a)
	}
	return all, nil
}

func (p *planner) locals(vs *keepalivedconf.VirtualServer) ([]spec.LocalAddress, error) {
	if vs.LocalGroup == "" || vs.Method.Forward == spec.SNAT {
		return nil, nil
	}
	var all []spec.LocalAddress
	i := slices.IndexFunc(p.conf.Locals, func(g keepalivedconf.LocalGroup) bool { return g.Name == vs.LocalGroup })
	for _, r := range p.conf.Locals[i].Ranges {
		addrs, err := span(r.Range, maxGroup-len(all))
		if err != nil {
			return nil, err
		}
		for _, a := range addrs {
			l := spec.LocalAddress{Addr: a, Port: r.Port}
			if !slices.ContainsFunc(all, func(o spec.LocalAddress) bool { return o.Addr == a }) {
				all = append(all, l)
			}
		}
	}
	return all, nil
}

func (p *planner) list(groups []keepalivedconf.ListGroup, name string) ([]netip.Addr, error) {
	if name == "" {
		return nil, nil
	}
	i := slices.IndexFunc(groups, func(g keepalivedconf.ListGroup) bool { return g.Name == name })
	if len(groups[i].Sets) > 0 {
		return nil, fmt.Errorf("ipset:%s: sets of the kernel are not looked into: write the addresses", groups[i].Sets[0])
	}
	seen := make(map[netip.Addr]bool)
	var all []netip.Addr
	for _, r := range groups[i].Ranges {
		addrs, err := span(r, maxGroup-len(all))
		if err != nil {
			return nil, err
		}
		for _, a := range addrs {
			if !seen[a] {
				seen[a] = true
				all = append(all, a)
			}
		}
	}
	return all, nil
}

// options are a service's settings.
func options(vs *keepalivedconf.VirtualServer) spec.Service {
	return spec.Service{
		Scheduler: vs.Scheduler, Persistent: vs.Persistent, PersistentMask: vs.PersistentMask, OnePacket: vs.OnePacket,
		PE: vs.PE, SynProxy: vs.SynProxy, HashTarget: vs.HashTarget, ExpireQuiescent: vs.ExpireQuiescent, QUIC: vs.QUIC,
		ConnTimeout: vs.ConnTimeout, ProxyProtocol: vs.ProxyProtocol, UOA: vs.UOA,
	}
}

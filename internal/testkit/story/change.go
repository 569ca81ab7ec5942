package story

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"weir/internal/spec"
	"weir/internal/testkit/words"
)

// change edits the wanted state: all lines at once, or with an error none.
//
//	vlan wan.100 wan 100 [proto=802.1ad]
//	addr wan 10.0.0.1/24 [sapool]
//	route 0.0.0.0/0 wan [via=10.0.0.254] [mtu=1400]
//	neigh wan 10.0.0.9 STATION
//	service tcp 10.0.0.100:80 [wrr] [timeout=60] [hash=sip|qid] [quic=on]
//	        [mapping=endpoint-independent]
//	        [persistent=360] [mask=255.255.255.0] [ops=on] [quiescent=on] [check=default]
//	dest tcp 10.0.0.100:80 192.168.1.2:80 [weight=1] [max=0] [low=0]
//	laddr tcp 10.0.0.100:80 192.168.1.200 lan
//	black tcp 10.0.0.100:80 1.2.3.4
//	white tcp 10.0.0.100:80 1.2.3.4
//	forwarding on, forwarding6 on, defence_tcp on, defence_udp on, quiescent_templates on
//	no ... takes away
func (s *Story) change(lines []string) error {
	tunables := s.tunables
	err := s.d.Change(func(sp *spec.Spec) error {
		for _, l := range lines {
			w := strings.Fields(l)
			if len(w) == 0 || s.switchOf(&tunables, w[0]) != nil {
				continue
			}
			e := edit{s: s, spec: sp, no: w[0] == "no"}
			if e.no {
				w = w[1:]
			}
			if err := e.line(w); err != nil {
				return err
			}
		}
		return nil
	})
	for _, l := range lines {
		if w := strings.Fields(l); len(w) == 2 {
			if on := s.switchOf(&tunables, w[0]); on != nil {
				*on = w[1] == "on"
			}
		}
	}
	if err != nil || tunables == s.tunables {
		return err
	}
	s.tunables = tunables
	return s.d.Reload(tunables)
}

// switchOf is the setting of dpvs.conf with a name, or nil.
func (s *Story) switchOf(t *spec.Tunables, name string) *bool {
	return map[string]*bool{
		"forwarding": &t.Forwarding, "forwarding6": &t.Forwarding6, "defence_tcp": &t.DefenceTCP, "defence_udp": &t.DefenceUDP,
		"quiescent_templates": &t.QuiescentTemplates,
	}[name]
}

// edit is one line on its way into a spec.
type edit struct {
	s     *Story
	spec  *spec.Spec
	no    bool
	named map[string]string
}

func (e *edit) line(w []string) error {
	e.named = map[string]string{}
	var plain []string
	for _, x := range w[1:] {
		if k, v, ok := strings.Cut(x, "="); ok {
			e.named[k] = v
		} else {
			plain = append(plain, x)
		}
	}
	need := map[string]int{"vlan": 3, "addr": 2, "route": 2, "neigh": 2, "service": 2, "dest": 3, "laddr": 4, "black": 3, "white": 3}
	if n, ok := need[w[0]]; !ok || len(plain) < n {
		return fmt.Errorf("%q says nothing, or too little", strings.Join(w, " "))
	}
	switch w[0] {
	case "vlan":
		return e.vlan(plain)
	case "addr":
		return e.addr(plain)
	case "route":
		return e.route(plain)
	case "neigh":
		return e.neigh(plain)
	case "service":
		return e.service(plain)
	case "dest":
		return e.dest(plain)
	case "black":
		return e.listed(spec.Blacklist, plain)
	case "white":
		return e.listed(spec.Whitelist, plain)
	}
	return e.laddr(plain)
}

func (e *edit) number(k string, otherwise int) int {
	if v, ok := e.named[k]; ok {
		otherwise, _ = strconv.Atoi(v)
	}
	return otherwise
}

func (e *edit) vlan(w []string) error {
	id, err := strconv.ParseUint(w[2], 10, 16)
	if err != nil {
		return err
	}
	v := spec.VLAN{Name: w[0], Link: w[1], ID: uint16(id)}
	if e.named["proto"] == "802.1ad" {
		v.Proto = spec.Proto8021AD
	}
	if e.no {
		return e.spec.DeleteVLAN(v)
	}
	return e.spec.AddVLAN(v)
}

func (e *edit) addr(w []string) error {
	prefix, err := netip.ParsePrefix(w[1])
	if err != nil {
		return err
	}
	if e.no {
		return e.spec.DeleteAddress(prefix, w[0])
	}
	return e.spec.AddAddress(spec.Address{Port: w[0], Prefix: prefix, SAPool: len(w) > 2 && w[2] == "sapool"}, false)
}

func (e *edit) route(w []string) error {
	prefix, err := netip.ParsePrefix(w[0])
	if err != nil {
		return err
	}
	r := spec.Route{Prefix: prefix, Port: w[1], MTU: e.number("mtu", 0)}
	if v, ok := e.named["via"]; ok {
		if r.Via, err = netip.ParseAddr(v); err != nil {
			return err
		}
	}
	if len(w) > 2 && w[2] == "kni_host" {
		r.Scope = spec.ScopeKNIHost
	}
	if e.no {
		return e.spec.DeleteRoute(r)
	}
	return e.spec.AddRoute(r)
}

func (e *edit) neigh(w []string) error {
	ip, err := netip.ParseAddr(w[1])
	if err != nil {
		return err
	}
	if e.no {
		_, err := e.spec.DeleteNeighbour(ip, w[0])
		return err
	}
	if len(w) < 3 {
		return fmt.Errorf("neigh %s: at which station?", ip)
	}
	var mac words.MAC
	if mac, err = e.s.stations.MAC(w[2]); err != nil {
		return err
	}
	return e.spec.AddNeighbour(spec.Neighbour{Addr: ip, Port: w[0], MAC: mac})
}

// match reads "from-to" or "from-to:out" of a match service: inside addresses, of
// IPv6 in brackets, in which nothing is any, and the port that packets leave by.
func match(text string) (m spec.Match, err error) {
	m.Family = 4
	if inside, ok := strings.CutPrefix(text, "["); ok {
		m.Family = 6
		text, m.Out, _ = strings.Cut(inside, "]")
		m.Out = strings.TrimPrefix(m.Out, ":")
		if text == "" {
			return m, nil // any: af=ipv6
		}
	} else {
		text, m.Out, _ = strings.Cut(text, ":")
	}
	first, last, _ := strings.Cut(text, "-")
	if m.Src.First, err = netip.ParseAddr(first); err != nil {
		return m, err
	}
	m.Src.Last, err = netip.ParseAddr(last)
	return m, err
}

func key(w []string) (k spec.ServiceKey, err error) {
	k.Proto = map[string]spec.Proto{"tcp": spec.TCP, "udp": spec.UDP, "sctp": spec.SCTP, "icmp": spec.ICMP, "icmpv6": spec.ICMPv6}[w[0]]
	if m, ok := strings.CutPrefix(w[1], "match:"); ok {
		k.Match, err = match(m)
		return k, err
	}
	k.Virtual, err = netip.ParseAddrPort(w[1])
	return k, err
}

func (e *edit) service(w []string) error {
	k, err := key(w)
	if err != nil {
		return err
	}
	if e.no {
		return e.spec.DeleteService(k)
	}
	svc := spec.Service{ServiceKey: k, Scheduler: "rr", ConnTimeout: uint32(e.number("timeout", 0))}
	svc.HashTarget, svc.QUIC = e.named["hash"], e.named["quic"] == "on"
	svc.NoTOA, svc.UOA, svc.ProxyProtocol = e.named["toa"] == "off", e.named["uoa"], e.named["proxy"]
	svc.Persistent, svc.OnePacket, svc.ExpireQuiescent = uint32(e.number("persistent", 0)), e.named["ops"] == "on", e.named["quiescent"] == "on"
	svc.EndpointIndependent = e.named["mapping"] == "endpoint-independent"
	if v, ok := e.named["mask"]; ok {
		if svc.PersistentMask, err = netip.ParseAddr(v); err != nil {
			return err
		}
	}
	if v, ok := e.named["check"]; ok {
		svc.DestCheck = []string{v}
	}
	if len(w) > 2 {
		svc.Scheduler = w[2]
	}
	if e.spec.Find(k) != nil {
		return e.spec.EditService(svc)
	}
	return e.spec.AddService(svc)
}

func (e *edit) dest(w []string) error {
	k, err := key(w)
	if err != nil {
		return err
	}
	addr, err := netip.ParseAddrPort(w[2])
	if err != nil {
		return err
	}
	if e.no {
		return e.spec.DeleteDest(k, addr)
	}
	d := spec.Dest{Addr: addr, Forward: spec.FullNAT, Weight: uint32(e.number("weight", 1)), UThreshold: uint32(e.number("max", 0)), LThreshold: uint32(e.number("low", 0))}
	if mode, ok := e.named["mode"]; ok {
		if d.Forward, ok = map[string]spec.Forward{"dr": spec.DirectRoute, "tunnel": spec.Tunnel, "nat": spec.Masq, "snat": spec.SNAT}[mode]; !ok {
			return fmt.Errorf("no forwarding mode is called %s", mode)
		}
	}
	if svc := e.spec.Find(k); svc != nil {
		for _, old := range svc.Dests {
			if old.Addr == addr {
				return e.spec.EditDest(k, d)
			}
		}
	}
	return e.spec.AddDest(k, d)
}

func (e *edit) listed(kind spec.ListKind, w []string) error {
	k, err := key(w)
	if err != nil {
		return err
	}
	client, err := netip.ParseAddr(w[2])
	if err != nil {
		return err
	}
	if e.no {
		return e.spec.DeleteListed(k, kind, client)
	}
	return e.spec.AddListed(k, kind, client)
}

func (e *edit) laddr(w []string) error {
	k, err := key(w)
	if err != nil {
		return err
	}
	ip, err := netip.ParseAddr(w[2])
	if err != nil {
		return err
	}
	l := spec.LocalAddress{Addr: ip, Port: w[3]}
	if e.no {
		return e.spec.DeleteLocal(k, l)
	}
	_, err = e.spec.AddLocal(k, l)
	return err
}

package spec

import (
	"net/netip"
	"slices"
)

// Real servers of services, and the WAN addresses of match services.

// AddDest adds a real server.
func (s *Spec) AddDest(k ServiceKey, d Dest) error {
	svc, err := s.find(k)
	if err != nil {
		return err
	}
	if err := s.checkDest(svc, &d); err != nil {
		return err
	}
	// Asked of a new one alone: routes may change under one that is there, whose weight can
	// be edited all the same.
	if t := s.routedInto(d.Addr.Addr()); d.Forward == DirectRoute && t != nil {
		return refuse(Invalid, "dest", "%s: with %s a frame takes the real server's MAC address, and the route to it leaves by the tunnel %s, whose packets have none: use -i, -b or -m", d.Addr.Addr(), d.Forward, t.Name)
	}
	if svc.dest(d.Addr) >= 0 {
		return refuse(Exists, "dest", "destination already exists: %s of service %s; -e edits it", d.Addr, k)
	}
	svc.Dests = append(svc.Dests, d)
	return nil
}

func (svc *Service) dest(a netip.AddrPort) int {
	return slices.IndexFunc(svc.Dests, func(d Dest) bool { return d.Addr == a })
}

func (s *Spec) checkDest(svc *Service, d *Dest) error {
	ip := d.Addr.Addr()
	if err := routable("dest", "a real server", ip); err != nil {
		return err
	}
	if svc.IsMatch() || d.Forward == SNAT {
		return s.checkWAN(svc, d)
	}
	switch d.Forward {
	case FullNAT:
		if vip := svc.Virtual.Addr(); svc.Proto == SCTP && !sameFamily(vip, ip) {
			return refuse(NotSupported, "dest", "%s: SCTP does not become another family's: the VIP, %s, and a full-NAT real server must both be IPv4 or both IPv6", ip, vip)
		}
	case Masq, DirectRoute, Tunnel:
		if svc.ProxyProtocol != "" || svc.UOA != "" {
			return refuse(Invalid, "dest", "a service that tells the client's address by %s needs full-NAT (-b): with %s the real server sees the client anyway", telling(svc), d.Forward)
		}
		if vip := svc.Virtual.Addr(); d.Forward != Tunnel && !sameFamily(vip, ip) {
			return refuse(Invalid, "dest", "%s: with %s the real server takes packets for the VIP, %s, so both must be of one family; full-NAT (-b) and tunnel (-i) go from %s to %s", ip, d.Forward, vip, family(vip), family(ip))
		}
	default:
		return refuse(NotSupported, "dest", "forwarding mode %s is not supported yet: use -b, -g, -i or -m", d.Forward)
	}
	if s.FindAddress(ip) != nil {
		return refuse(Invalid, "dest", "%s is an address of this box: a real server is another machine", ip)
	}
	if vport := svc.Virtual.Port(); d.Forward == DirectRoute || d.Forward == Tunnel {
		if d.Addr.Port() != 0 && d.Addr.Port() != vport {
			return refuse(Invalid, "dest", "%s: with %s the real server is asked at the service's own port, %d: leave the port out", d.Addr, d.Forward, vport)
		}
		d.Addr = netip.AddrPortFrom(ip, vport)
	}
	switch all := svc.Virtual.Port() == 0; {
	case all && d.Addr.Port() != 0:
		return refuse(Invalid, "dest", "%s: the service is for all ports, and the real server is asked at the client's: leave the port out", d.Addr)
	case !all && d.Addr.Port() == 0:
		return refuse(Invalid, "dest", "%s: a %s real server needs a port", ip, d.Forward)
	}
	return d.checkLoad()
}

// checkWAN refuses what can't be an address that inside hosts go out with.
func (s *Spec) checkWAN(svc *Service, d *Dest) error {
	ip := d.Addr.Addr()
	switch {
	case !svc.IsMatch():
		return refuse(Invalid, "dest", "SNAT (-J) is for match services: add the service with -H MATCH instead of -t or -u")
	case d.Forward != SNAT:
		return refuse(Invalid, "dest", "a match service has WAN addresses for SNAT (-J), not %s real servers", d.Forward)
	case d.Addr.Port() != 0:
		return refuse(Invalid, "dest", "%s: the ports of a WAN address are chosen for each connection: give %s", d.Addr, netip.AddrPortFrom(ip, 0))
	case ip.Is4() != (svc.Match.Family == 4):
		return refuse(Invalid, "dest", "%s: a match service of IPv%d goes out with addresses of IPv%d", ip, svc.Match.Family, svc.Match.Family)
	}
	if a := s.FindAddress(ip); a == nil {
		return refuse(Invalid, "dest", "%s is no address of this box: dpip addr add %s/LEN dev PORT sapool", ip, ip)
	} else if !a.SAPool {
		return refuse(Invalid, "dest", "%s has no ports to give: dpip addr set %s dev %s sapool", ip, a.Prefix, a.Port)
	}
	if err := s.checkMapping(svc, ip); err != nil {
		return err
	}
	return d.checkLoad()
}

// checkMapping refuses a WAN address of which connections of one protocol would take
// ports in two ways: one toward each remote end, and one toward all. They could meet.
func (s *Spec) checkMapping(svc *Service, wan netip.Addr) error {
	if !svc.IsMatch() {
		return nil
	}
	for i := range s.Services {
		o := &s.Services[i]
		if o.Proto != svc.Proto || o.ServiceKey == svc.ServiceKey {
			continue
		}
		switch {
		case o.IsMatch() && o.EndpointIndependent != svc.EndpointIndependent && o.dest(netip.AddrPortFrom(wan, 0)) >= 0:
			return refuse(Invalid, "dest", "%s is a WAN address of %s too, and both must have the same --mapping: give one of them another address", wan, o.ServiceKey)
		case svc.EndpointIndependent && slices.ContainsFunc(o.Locals, func(l LocalAddress) bool { return l.Addr == wan }):
			return refuse(Invalid, "dest", "%s is a local address of %s: endpoint-independent mappings need a WAN address of their own", wan, o.ServiceKey)
		}
	}
	return nil
}

// mappedOn returns a service of a protocol whose endpoint-independent mappings are on
// an address, or nil.
func (s *Spec) mappedOn(proto Proto, wan netip.Addr) *Service {
	for i := range s.Services {
		o := &s.Services[i]
		if o.EndpointIndependent && o.Proto == proto && o.dest(netip.AddrPortFrom(wan, 0)) >= 0 {
			return o
		}
	}
	return nil
}

// checkLoad refuses weights and thresholds that are none.
func (d *Dest) checkLoad() error {
	if d.Weight > 65535 {
		return refuse(Invalid, "dest", "weight %d: must be 0 to 65535", d.Weight)
	}
	if d.UThreshold != 0 && d.LThreshold > d.UThreshold {
		return refuse(Invalid, "dest", "l-threshold %d is above u-threshold %d", d.LThreshold, d.UThreshold)
	}
	return nil
}

// EditDest changes a real server's weight, mode and thresholds.
func (s *Spec) EditDest(k ServiceKey, d Dest) error {
	svc, err := s.find(k)
	if err != nil {
		return err
	}
	if err := s.checkDest(svc, &d); err != nil {
		return err
	}
	i := svc.dest(d.Addr)
	if i < 0 {
		return refuse(NotExists, "dest", "no such destination: %s of service %s", d.Addr, k)
	}
	svc.Dests[i] = d
	return nil
}

// DeleteDest removes a real server; connections it has go on until they end.
func (s *Spec) DeleteDest(k ServiceKey, a netip.AddrPort) error {
	svc, err := s.find(k)
	if err != nil {
		return err
	}
	i := svc.dest(a)
	if i < 0 {
		return refuse(NotExists, "dest", "no such destination: %s of service %s", a, k)
	}
	svc.Dests = slices.Delete(svc.Dests, i, i+1)
	return nil
}

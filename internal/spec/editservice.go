package spec

import (
	"net/netip"
	"slices"
	"strings"
)

// Edits of services, real servers and local addresses. Each works on a Clone
// and returns a *Refusal, after which the Clone is thrown away.

// schedulers are the words of Service.Scheduler, hashTargets those of
// Service.HashTarget, beside "" for none.
var (
	schedulers  = []string{"rr", "wrr", "wlc", "lc", "sed", "nq", "fo", "sh", "dh", "mh", "conhash"}
	hashTargets = []string{"sip", "qid"}
)

// proxyProtocols are the words of Service.ProxyProtocol, uoaCarriers those of
// Service.UOA, beside "" for none.
var (
	proxyProtocols = []string{"v1", "v2", "v1-insecure", "v2-insecure"}
	uoaCarriers    = []string{"ipo", "opp"}
)

// Find returns a service, or nil. It begins with the one that was added last, which
// a file that is restored goes on about.
func (s *Spec) Find(k ServiceKey) *Service {
	for i := len(s.Services) - 1; i >= 0; i-- {
		if s.Services[i].ServiceKey == k {
			return &s.Services[i]
		}
	}
	return nil
}

func (s *Spec) find(k ServiceKey) (*Service, error) {
	if svc := s.Find(k); svc != nil {
		return svc, nil
	}
	return nil, refuse(NotExists, "service", "no such service: %s", k)
}

// AddService adds a service without real servers.
func (s *Spec) AddService(svc Service) error {
	if err := svc.check(); err != nil {
		return err
	}
	for _, port := range [2]string{svc.Match.In, svc.Match.Out} {
		if port == "" {
			continue
		}
		if err := s.device(port); err != nil {
			return err
		}
	}
	if s.Find(svc.ServiceKey) != nil {
		return refuse(Exists, "service", "service already exists: %s; -E edits it", svc.ServiceKey)
	}
	svc.Dests, svc.Locals, svc.Blacklist, svc.Whitelist = nil, nil, nil, nil
	s.Services = append(s.Services, svc)
	return nil
}

// EditService changes a service's options; real servers, local addresses and lists
// stay.
func (s *Spec) EditService(svc Service) error {
	if err := svc.check(); err != nil {
		return err
	}
	old, err := s.find(svc.ServiceKey)
	if err != nil {
		return err
	}
	svc.Dests, svc.Locals, svc.Blacklist, svc.Whitelist = old.Dests, old.Locals, old.Blacklist, old.Whitelist
	for i := range svc.Dests {
		if d := svc.Dests[i]; d.Forward != FullNAT && (svc.ProxyProtocol != "" || svc.UOA != "") {
			return refuse(Invalid, "service", "%s needs full-NAT real servers (-b), and %s is a %s one", telling(&svc), d.Addr, d.Forward)
		}
	}
	for _, d := range svc.Dests {
		if err := s.checkMapping(&svc, d.Addr.Addr()); err != nil {
			return err
		}
	}
	*old = svc
	return nil
}

// check refuses what a service can't be, and what it can't be yet.
func (svc *Service) check() error {
	if err := svc.ServiceKey.check(); err != nil {
		return err
	}
	switch {
	case svc.IsMatch():
		if svc.Persistent != 0 || svc.OnePacket || len(svc.DestCheck) != 0 || svc.QUIC {
			return refuse(Invalid, "service", "a match service (SNAT) has WAN addresses, not real servers: leave out -p, -o, --quic and --dest-check")
		}
	case svc.EndpointIndependent:
		return refuse(Invalid, "service", "endpoint-independent mapping is for match services (SNAT): leave out --mapping")
	case svc.Virtual.Port() == 0 && svc.Persistent == 0:
		return refuse(Invalid, "service", "zero port specified for a service that is not persistent: give %s, or -p for all ports", strings.TrimSuffix(svc.Virtual.String(), "0")+"PORT")
	}
	if !slices.Contains(schedulers, svc.Scheduler) {
		return refuse(NotExists, "scheduler", "scheduler %q is not known: use %s", svc.Scheduler, strings.Join(schedulers, ", "))
	}
	for _, later := range []struct {
		set  bool
		what string
	}{
		{svc.PE != "", "a persistence engine (--pe)"},
		{svc.SynProxy, "the SYN proxy (-j)"},
	} {
		if later.set {
			return refuse(NotSupported, "service", "%s is not supported yet: leave it out", later.what)
		}
	}
	if svc.ConnTimeout > 31535999 {
		return refuse(Invalid, "service", "conn-timeout %d: must be 1 to 31535999 seconds", svc.ConnTimeout)
	}
	if err := svc.checkHash(); err != nil {
		return err
	}
	if err := svc.checkPersistence(); err != nil {
		return err
	}
	if err := svc.checkTelling(); err != nil {
		return err
	}
	if _, err := svc.PassiveCheck(); err != nil {
		return err
	}
	return svc.checkOnePacket()
}

// check refuses a service that can't be addressed so.
func (k ServiceKey) check() error {
	if k.IsMatch() {
		switch {
		case k.Proto != TCP && k.Proto != UDP && k.Proto != SCTP && k.Proto != ICMP && k.Proto != ICMPv6:
			return refuse(NotSupported, "service", "%s match services are not supported yet: use proto=tcp, udp, sctp, icmp or icmpv6", k.Proto)
		case k.Proto == ICMP && k.Match.Family == 6:
			return refuse(Invalid, "service", "ICMP is of IPv4: for IPv6 use proto=icmpv6")
		case k.Proto == ICMPv6 && k.Match.Family == 4:
			return refuse(Invalid, "service", "ICMPv6 is of IPv6: for IPv4 use proto=icmp")
		}
		return k.Match.check()
	}
	vip := k.Virtual.Addr()
	if err := routable("service", "a virtual address", vip); err != nil {
		return err
	}
	if k.Proto != TCP && k.Proto != UDP && k.Proto != SCTP {
		return refuse(NotSupported, "service", "%s services are not supported yet: use TCP (-t), UDP (-u) or SCTP (--sctp-service)", k.Proto)
	}
	return nil
}

// checkHash refuses a hash target where nothing is hashed by it, and QUIC where
// there is none.
func (svc *Service) checkHash() error {
	switch target := svc.HashTarget; {
	case svc.QUIC && svc.Proto != UDP:
		return refuse(Invalid, "service", "QUIC is for UDP services alone: leave --quic out")
	case target == "":
	case !slices.Contains(hashTargets, target):
		return refuse(Invalid, "service", "hash target %q is not known: use %s", target, strings.Join(hashTargets, ", "))
	case svc.Scheduler != "conhash":
		return refuse(Invalid, "service", "a hash target is for the scheduler conhash alone: leave out --hash-target %s", target)
	case target == "qid" && svc.Proto != UDP:
		return refuse(Invalid, "service", "hash target qid is a QUIC connection id, which is for UDP services alone: use sip")
	}
	return nil
}

// checkTelling refuses ways to tell the client's address that are none, that the
// protocol can't carry, or that would tell it twice.
func (svc *Service) checkTelling() error {
	pp := svc.ProxyProtocol
	if svc.IsMatch() && (pp != "" || svc.UOA != "" || svc.NoTOA) {
		return refuse(Invalid, "service", "a match service tells nobody of clients: leave out --proxy-protocol, --uoa and --toa")
	}
	if pp != "" && !slices.Contains(proxyProtocols, pp) {
		return refuse(Invalid, "service", "PROXY protocol %q is not known: use %s", pp, strings.Join(proxyProtocols, ", "))
	}
	if svc.UOA != "" && !slices.Contains(uoaCarriers, svc.UOA) {
		return refuse(Invalid, "service", "UOA %q is not known: use %s", svc.UOA, strings.Join(uoaCarriers, ", "))
	}
	switch {
	case svc.Proto == SCTP && (pp != "" || svc.UOA != "" || svc.NoTOA):
		return refuse(Invalid, "service", "SCTP has no way to tell the client's address: leave out --proxy-protocol, --uoa and --toa, and use NAT (-m), DR (-g) or tunnel (-i) where the real server must see it")
	case svc.Proto == UDP && strings.HasPrefix(pp, "v1"):
		return refuse(Invalid, "service", "PROXY protocol %s can't carry UDP: use v2%s", pp, strings.TrimPrefix(pp, "v1"))
	case svc.Proto == UDP && svc.NoTOA:
		return refuse(Invalid, "service", "TOA is for TCP services alone: leave --toa out (UDP has --uoa)")
	case svc.Proto == TCP && svc.UOA != "":
		return refuse(Invalid, "service", "UOA is for UDP services alone: leave --uoa out (TCP has TOA, without being asked)")
	case pp != "" && svc.UOA != "":
		return refuse(Invalid, "service", "UOA and the PROXY protocol would both tell the client's address: leave out --uoa %s or --proxy-protocol %s", svc.UOA, pp)
	}
	return nil
}

// telling is the option by which a service tells the client's address.
func telling(svc *Service) string {
	if svc.ProxyProtocol != "" {
		return "--proxy-protocol " + svc.ProxyProtocol
	}
	return "--uoa " + svc.UOA
}

// DeleteService removes a service; connections it has go on until they end.
func (s *Spec) DeleteService(k ServiceKey) error {
	svc, err := s.find(k)
	if err != nil {
		return err
	}
	locals := svc.Locals
	s.Services = slices.DeleteFunc(s.Services, func(o Service) bool { return o.ServiceKey == k })
	for _, l := range locals {
		s.releaseLocal(l)
	}
	return nil
}

// FlushServices removes all services.
func (s *Spec) FlushServices() {
	var locals []LocalAddress
	for _, svc := range s.Services {
		locals = append(locals, svc.Locals...)
	}
	s.Services = nil
	for _, l := range locals {
		s.releaseLocal(l)
	}
}

// AddLocal puts an address on its device as a local address, unless it is
// there, and binds it to a service. existed: it was on the device before. It is for
// real servers of its family, and a service may have some of each.
func (s *Spec) AddLocal(k ServiceKey, l LocalAddress) (existed bool, err error) {
	svc, err := s.find(k)
	if err != nil {
		return false, err
	}
	if slices.ContainsFunc(svc.Locals, func(o LocalAddress) bool { return o.Addr == l.Addr }) {
		return true, refuse(Exists, "laddr", "local address already exists: %s of service %s", l.Addr, k)
	}
	if svc.IsMatch() {
		return false, refuse(Invalid, "laddr", "a match service has no local addresses: its WAN addresses are its real servers (-a -H ... -r WAN:0 -J)")
	}
	if o := s.mappedOn(svc.Proto, l.Addr); o != nil {
		return false, refuse(Invalid, "laddr", "%s is a WAN address of %s, whose mappings are endpoint-independent: it has no ports for others of %s", l.Addr, o.ServiceKey, svc.Proto)
	}
	if err := s.device(l.Port); err != nil {
		return false, err
	}
	if err := routable("laddr", "a local address", l.Addr); err != nil {
		return false, err
	}
	if a := s.FindAddress(l.Addr); a != nil {
		if a.Port != l.Port {
			return true, refuse(Exists, "laddr", "already exist: %s is an address of %s, not of %s", l.Addr, a.Port, l.Port)
		}
		a.SAPool, existed = true, true
	} else if err := s.AddAddress(Address{Port: l.Port, Prefix: netip.PrefixFrom(l.Addr, l.Addr.BitLen()), SAPool: true}, false); err != nil {
		return false, err
	}
	svc.Locals = append(svc.Locals, l)
	return existed, nil
}

// DeleteLocal unbinds a local address, and takes it off its device when no
// other service uses it.
func (s *Spec) DeleteLocal(k ServiceKey, l LocalAddress) error {
	svc, err := s.find(k)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(svc.Locals, func(o LocalAddress) bool { return o.Addr == l.Addr })
	if i < 0 {
		return refuse(NotExists, "laddr", "no such local address: %s of service %s", l.Addr, k)
	}
	if svc.Locals[i].Port != l.Port {
		return refuse(NotExists, "laddr", "no such local address: %s of service %s is on %s, not on %s", l.Addr, k, svc.Locals[i].Port, l.Port)
	}
	svc.Locals = slices.Delete(svc.Locals, i, i+1)
	s.releaseLocal(l)
	return nil
}

// releaseLocal takes a local address off its device if no service uses it any
// more and it came with --add-laddr: it is then a sapool address of length 32 or 128.
func (s *Spec) releaseLocal(l LocalAddress) {
	a := s.FindAddress(l.Addr)
	if a == nil || !a.SAPool || !a.Prefix.IsSingleIP() || s.localOf(l.Addr) != nil {
		return
	}
	if a.Held.Holders > 0 {
		if a.Held.Only {
			a.SAPool = a.Held.SAPool
		}
		return
	}
	gone := *a
	s.Addresses = slices.DeleteFunc(s.Addresses, func(o Address) bool { return o == gone })
}

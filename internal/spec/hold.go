package spec

import (
	"net/netip"
	"slices"
)

// Addresses that somebody holds: there for as long as he does, and no longer.

// MaxHeld bounds the addresses of one holder.
const MaxHeld = 4096

// Hold wants addresses for one more holder. One that was added by hand, or that
// others hold, stays as it is, and is his as well; a holder who needs its ports
// (SAPool) gets them.
func (s *Spec) Hold(addresses []Address) error {
	if len(addresses) > MaxHeld {
		return refuse(NoResource, "address", "%d addresses are more than the %d that one holder may have", len(addresses), MaxHeld)
	}
	for _, a := range addresses {
		a.Held = Held{Holders: 1, Only: true, Prefix: a.Prefix, SAPool: a.SAPool}
		old := s.findOn(a.Prefix.Addr(), a.Port)
		if old == nil || old.Port != a.Port {
			if err := s.AddAddress(a, false); err != nil {
				return err
			}
			continue
		}
		if a.SAPool && onLinkOnly(a.Prefix.Addr()) {
			return refuse(Invalid, "address", "%s can't be sapool: what has a link-local source does not leave the link, give a global address", a.Prefix.Addr())
		}
		if old.Held.Holders == 0 {
			old.Held = Held{Prefix: a.Prefix}
		}
		old.Held.Holders++
		old.Held.SAPool = old.Held.SAPool || a.SAPool
		old.SAPool = old.SAPool || a.SAPool
	}
	return nil
}

// Release is the end of a holder of addresses. Those that nobody else holds or added
// by hand leave, and take with them what can't be without them: that they are
// local addresses of services, and WAN addresses of match services.
func (s *Spec) Release(addresses []Address) {
	for _, a := range addresses {
		ip := a.Prefix.Addr()
		i := slices.IndexFunc(s.Addresses, func(o Address) bool {
			return o.Prefix.Addr() == ip && o.Port == a.Port && o.Held.Holders > 0
		})
		if i < 0 {
			continue
		}
		held := &s.Addresses[i].Held
		held.Holders--
		switch {
		case held.Holders > 0:
		case held.Only:
			s.forsake(ip)
			s.Addresses = slices.Delete(s.Addresses, i, i+1)
		default:
			*held = Held{}
		}
	}
}

// forsake takes an address from all services that send from it.
func (s *Spec) forsake(ip netip.Addr) {
	for i := range s.Services {
		svc := &s.Services[i]
		svc.Locals = slices.DeleteFunc(svc.Locals, func(l LocalAddress) bool { return l.Addr == ip })
		if svc.IsMatch() {
			svc.Dests = slices.DeleteFunc(svc.Dests, func(d Dest) bool { return d.Addr.Addr() == ip })
		}
	}
}

// addToHeld makes an address that is only held one that was added by hand too.
func (s *Spec) addToHeld(old *Address, a Address) {
	a.Held, a.SAPool = old.Held, a.SAPool || old.SAPool
	a.Held.Only = false
	*old = a
}

// leaveToHolders takes back what was added by hand.
func (s *Spec) leaveToHolders(a *Address) {
	ip := a.Prefix.Addr()
	held := a.Held
	held.Only = true
	*a = Address{Port: a.Port, Prefix: held.Prefix, SAPool: held.SAPool || s.localOf(ip) != nil, Held: held}
}

package spec

import (
	"net/netip"
	"slices"
)

// Edits of black- and whitelists. The slices are never changed in place: clones of
// a Spec share them, and that they are the same ones says that nothing changed.

// ListKind is one of the two lists of a service.
type ListKind uint8

// The lists. A client on the blacklist is denied; then, if anybody is on the
// whitelist, so is everybody who is not.
const (
	Blacklist ListKind = 1 + iota
	Whitelist
)

// String returns the list's name.
func (k ListKind) String() string {
	switch k {
	case Blacklist:
		return "blacklist"
	case Whitelist:
		return "whitelist"
	}
	return "unknown"
}

// MaxListed bounds the entries of a list.
const MaxListed = 1 << 16

// List returns one of the lists; it is not to be changed.
func (svc *Service) List(kind ListKind) []netip.Addr { return *svc.list(kind) }

func (svc *Service) list(kind ListKind) *[]netip.Addr {
	if kind == Whitelist {
		return &svc.Whitelist
	}
	return &svc.Blacklist
}

// AddListed puts clients on a list of a service.
func (s *Spec) AddListed(k ServiceKey, kind ListKind, clients ...netip.Addr) error {
	svc, err := s.find(k)
	if err != nil {
		return err
	}
	if k.IsMatch() {
		return refuse(NotSupported, kind.String(), "a %s of a match service is not supported yet: let the match itself leave clients out", kind)
	}
	list := svc.list(kind)
	there := make(map[netip.Addr]bool, len(*list)+len(clients))
	for _, a := range *list {
		there[a] = true
	}
	for _, a := range clients {
		if err := unicast(kind.String(), "a client", a); err != nil {
			return err
		}
		if !sameFamily(a, k.Virtual.Addr()) {
			return refuse(Invalid, kind.String(), "%s is never a client of service %s: give an %s address", a, k, family(k.Virtual.Addr()))
		}
		if there[a] {
			return refuse(Exists, kind.String(), "%s address already exists: %s of service %s", kind, a, k)
		}
		there[a] = true
	}
	if len(there) > MaxListed {
		return refuse(NoResource, kind.String(), "the %s of service %s can't have more than %d addresses", kind, k, MaxListed)
	}
	*list = append(slices.Clip(*list), clients...)
	return nil
}

// DeleteListed takes clients off a list of a service.
func (s *Spec) DeleteListed(k ServiceKey, kind ListKind, clients ...netip.Addr) error {
	svc, err := s.find(k)
	if err != nil {
		return err
	}
	list := svc.list(kind)
	gone := make(map[netip.Addr]bool, len(clients))
	for _, a := range clients {
		if gone[a] || !slices.Contains(*list, a) {
			return refuse(NotExists, kind.String(), "no such %s address: %s of service %s", kind, a, k)
		}
		gone[a] = true
	}
	*list = slices.DeleteFunc(slices.Clone(*list), func(a netip.Addr) bool { return gone[a] })
	return nil
}

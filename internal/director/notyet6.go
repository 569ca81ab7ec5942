package director

import (
	"slices"

	"weir/internal/spec"
)

// notYetIPv6 refuses what the balancer can't carry yet: services with anything of IPv6,
// and IPv6 addresses whose ports would be a pool.
func notYetIPv6(s *spec.Spec) error {
	pool := func(a spec.Address) bool { return a.SAPool && a.Prefix.Addr().Is6() }
	service := func(s spec.Service) bool {
		return s.Virtual.Addr().Is6() || s.Match.Family == 6 ||
			slices.ContainsFunc(s.Dests, func(d spec.Dest) bool { return d.Addr.Addr().Is6() })
	}
	if slices.ContainsFunc(s.Addresses, pool) || slices.ContainsFunc(s.Services, service) {
		return &spec.Refusal{Code: spec.NotSupported, Object: "service", Why: "IPv6 services: not in this build"}
	}
	return nil
}

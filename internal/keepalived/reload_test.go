package keepalived

import (
	"net/netip"

	"weir/internal/spec"
)

// spec4 wants addresses with ports to give on dpdk1.
func spec4(prefixes ...string) func(*spec.Spec) error {
	return func(s *spec.Spec) error {
		for _, p := range prefixes {
			if err := s.AddAddress(spec.Address{Port: "dpdk1", Prefix: netip.MustParsePrefix(p), SAPool: true}, false); err != nil {
				return err
			}
		}
		return nil
	}
}

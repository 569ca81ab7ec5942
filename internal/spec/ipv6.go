package spec

// The ways in which a port gets its link-local IPv6 address
// (ipv6_defs { addr_gen_mode }).
const (
	AddrGenEUI64         = "eui64"          // of the MAC address (RFC 4291, appendix A); dpvs.conf's default
	AddrGenNone          = "none"           // none, unless one is added by hand
	AddrGenStablePrivacy = "stable-privacy" // of the interface's name and a secret (RFC 7217)
	AddrGenRandom        = "random"         // another one at each start
)

// IPv6 is what dpvs.conf says of IPv6 that is fixed at the start (ipv6_defs).
type IPv6 struct {
	Disable      bool     // no address, route or packet of IPv6
	AddrGenMode  string   // AddrGenEUI64 …; empty: AddrGenNone
	StableSecret [16]byte // for AddrGenStablePrivacy (stable_secret)
}

package spec

import "net/netip"

// What addresses may be. IPv4 and IPv6 differ in words alone.

// Family is one of the two address families, or both.
type Family uint8

// The families. A filter of Both lets all through.
const (
	Both   Family = 0
	OnlyV4 Family = 4
	OnlyV6 Family = 6
)

// Has reports whether an address is of the family.
func (f Family) Has(a netip.Addr) bool {
	return f == Both || a.Is4() == (f == OnlyV4)
}

// station reports whether an address may be that of one machine on a link.
func station(a netip.Addr) bool {
	return a.IsValid() && !a.IsUnspecified() && !a.IsMulticast() && !a.IsLoopback() && a != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

// unicast refuses an address that can't be that of a machine; role is what it
// would be: "a real server".
func unicast(object, role string, a netip.Addr) error {
	switch {
	case a.Zone() != "":
		return refuse(Invalid, object, "%s: leave %%%s out, the device is given by itself", a, a.Zone())
	case a.Is4In6():
		return refuse(Invalid, object, "%s is an IPv4-mapped address: write %s", a, a.Unmap())
	case !station(a):
		return refuse(Invalid, object, "%s can't be %s: give a unicast address", a, role)
	}
	return nil
}

// routable is unicast for an address that others have to reach from beyond its
// link, which link-local ones of IPv6 are not (RFC 4291, section 2.5.6).
func routable(object, role string, a netip.Addr) error {
	if err := unicast(object, role, a); err != nil {
		return err
	}
	if onLinkOnly(a) {
		return refuse(Invalid, object, "%s can't be %s: a link-local address means nothing beyond its link, give a global one", a, role)
	}
	return nil
}

// onLinkOnly reports whether an address is one of IPv6 that several links may have,
// each for another machine. Those of IPv4 (169.254/16) count as any other.
func onLinkOnly(a netip.Addr) bool { return a.Is6() && a.IsLinkLocalUnicast() }

// family is the word for an address's family.
func family(a netip.Addr) string {
	if a.Is4() {
		return "IPv4"
	}
	return "IPv6"
}

// sameFamily reports whether two addresses are of one family.
func sameFamily(a, b netip.Addr) bool { return a.Is4() == b.Is4() }

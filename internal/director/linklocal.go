package director

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"net/netip"

	"weir/internal/port"
	"weir/internal/spec"
)

// linkLocal makes a port's link-local address in the way that dpvs.conf wants;
// zero: none is wanted. try is how many were made before and found to be
// another's: an address that follows from the MAC stays the same.
func linkLocal(c *spec.IPv6, f *port.Facts, try uint8) (netip.Addr, error) {
	if c.Disable {
		return netip.Addr{}, nil
	}
	switch c.AddrGenMode {
	case spec.AddrGenEUI64:
		return withID(eui64(f.MAC)), nil
	case spec.AddrGenStablePrivacy:
		return withID(stableID(f.IfName, try, c.StableSecret)), nil
	case spec.AddrGenRandom:
		for {
			var b [8]byte
			if _, err := rand.Read(b[:]); err != nil {
				return netip.Addr{}, err
			}
			if id := binary.BigEndian.Uint64(b[:]); !reserved(id) {
				return withID(id), nil
			}
		}
	}
	return netip.Addr{}, nil
}

// withID is the link-local address with an interface identifier (RFC 4291, 2.5.6).
func withID(id uint64) netip.Addr {
	a := [16]byte{0: 0xfe, 1: 0x80}
	binary.BigEndian.PutUint64(a[8:], id)
	return netip.AddrFrom16(a)
}

// eui64 makes an interface identifier of a MAC (RFC 4291, appendix A).
func eui64(m port.MAC) uint64 {
	return binary.BigEndian.Uint64([]byte{m[0] ^ 2, m[1], m[2], 0xff, 0xfe, m[3], m[4], m[5]})
}

// stableID makes an interface identifier that is the same at each start and says
// nothing of the MAC (RFC 7217, 5): of prefix, interface, try and secret, by
// SHA-256. There is no Network_ID: the director stays on its links.
func stableID(ifName string, try uint8, secret [16]byte) uint64 {
	for dad := uint64(try); ; dad += 256 {
		h := sha256.New()
		h.Write([]byte{0xfe, 0x80, 0, 0, 0, 0, 0, 0})
		h.Write([]byte(ifName))
		h.Write(binary.BigEndian.AppendUint64([]byte{0}, dad))
		h.Write(secret[:])
		sum := h.Sum(nil)
		if id := binary.BigEndian.Uint64(sum[len(sum)-8:]); !reserved(id) {
			return id
		}
	}
}

// reserved are the interface identifiers that nobody may choose (RFC 5453): of
// the routers' anycast address, of what IANA assigns, and of anycast.
func reserved(id uint64) bool {
	return id == 0 || id>>24 == 0x02005efffe || id>>7 == 0xfdffffffffffff80>>7
}

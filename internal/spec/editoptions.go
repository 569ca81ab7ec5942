package spec

import (
	"math/bits"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// MaxPersistent is the longest persistence timeout in seconds: 25 days, which the
// director's clock can measure.
const MaxPersistent = 25 * 24 * 3600

// checkPersistence refuses persistence that can't be, and what does not go with it.
func (svc *Service) checkPersistence() error {
	mask := svc.PersistentMask
	switch {
	case svc.Persistent > MaxPersistent:
		return refuse(Invalid, "service", "persistence timeout %d: must be 1 to %d seconds", svc.Persistent, MaxPersistent)
	case mask.IsValid() && svc.Persistent == 0:
		return refuse(Invalid, "service", "a persistence mask is for persistent services: give -p, or leave -M out")
	case mask.IsValid() && !sameFamily(mask, svc.Virtual.Addr()):
		return refuse(Invalid, "service", "persistence mask %s: that of an %s service is %s", mask, family(svc.Virtual.Addr()), maskForm(svc.Virtual.Addr()))
	case mask.Is4() && !contiguous(mask):
		return refuse(Invalid, "service", "persistence mask %s: its ones must come before its zeros, as in 255.255.255.0", mask)
	case mask.Is6() && MaskBits(mask) < 1:
		return refuse(Invalid, "service", "persistence mask %s: give the length of a prefix, 1 to 128", mask)
	case svc.Persistent != 0 && svc.OnePacket:
		return refuse(Invalid, "service", "one-packet scheduling chooses a real server for every datagram, persistence keeps it: leave out --ops or -p")
	case svc.Persistent != 0 && svc.QUIC:
		return refuse(Invalid, "service", "QUIC connection ids and persistence would both choose the real server: leave out --quic or -p")
	}
	return nil
}

// contiguous reports whether a mask is that of a prefix.
func contiguous(mask netip.Addr) bool { return MaskBits(mask) >= 0 }

// Mask returns the mask of a prefix's length, in the family of a: 0 to 32, or to 128.
func Mask(a netip.Addr, length int) netip.Addr {
	ones := netip.AddrFrom4([4]byte{255, 255, 255, 255})
	if !a.Is4() {
		var b [16]byte
		for i := range b {
			b[i] = 255
		}
		ones = netip.AddrFrom16(b)
	}
	p, err := ones.Prefix(length)
	if err != nil {
		return netip.Addr{}
	}
	return p.Addr()
}

// MaskBits is the inverse of Mask: how many ones a mask begins with, -1 if there are
// others behind its zeros.
func MaskBits(mask netip.Addr) int {
	n := 0
	bytes := mask.AsSlice()
	for i, b := range bytes {
		ones := bits.LeadingZeros8(^b)
		n += ones
		if ones < 8 {
			if b<<ones != 0 || slices.ContainsFunc(bytes[i+1:], func(b byte) bool { return b != 0 }) {
				return -1
			}
			break
		}
	}
	return n
}

// maskForm is how a persistence mask is written for services of a family.
func maskForm(a netip.Addr) string {
	if a.Is4() {
		return "one like 255.255.255.0"
	}
	return "the length of a prefix, 1 to 128"
}

// checkOnePacket refuses one-packet scheduling where it can't be.
func (svc *Service) checkOnePacket() error {
	switch {
	case !svc.OnePacket:
	case svc.Proto != UDP:
		return refuse(Invalid, "service", "one-packet scheduling is for UDP services alone: leave --ops out")
	case svc.UOA != "" || svc.ProxyProtocol != "":
		return refuse(NotSupported, "service", "one-packet scheduling does not tell the client's address yet: leave out --ops or %s", telling(svc))
	}
	return nil
}

// DestCheck is how a service watches its real servers by what becomes of their
// connections. Times are seconds. The zero value: it does not.
type DestCheck struct {
	Down, Up       uint8
	Wait, Min, Max uint32
}

// defaultDestCheck is DPVS's.
var defaultDestCheck = DestCheck{Down: 1, Up: 1, Wait: 3, Min: 5, Max: 3600}

// maxCheckTime bounds the times of a check: a day.
const maxCheckTime = 86400

// PassiveCheck returns what the words of --dest-check ask for. Those that ask for an
// active checker are refused: there is none yet.
func (svc *Service) PassiveCheck() (c DestCheck, err error) {
	for _, word := range svc.DestCheck {
		if c != (DestCheck{}) {
			return c, refuse(Invalid, "service", "dest-check %s: there is one passive check already, give one", word)
		}
		switch word {
		case "tcp", "udp", "sctp", "ping":
			return c, refuse(NotSupported, "service", "dest-check %s needs a health checker, which weir does not have yet: use default, or DOWN,UP,WAITs,MIN-MAXs", word)
		case "default":
			c = defaultDestCheck
		default:
			if c, err = parseDestCheck(word); err != nil {
				return c, err
			}
		}
	}
	return c, nil
}

// parseDestCheck reads "DOWN,UP,WAITs,MIN-MAXs", or "DOWN,WAITs" with the rest as by
// default.
func parseDestCheck(word string) (DestCheck, error) {
	c := defaultDestCheck
	bad := refuse(Invalid, "service", "dest-check %q: want default, or DOWN,UP,WAITs,MIN-MAXs like 1,1,3s,5-3600s: counts 1 to 255, seconds 1 to %d, MIN not above MAX", word, maxCheckTime)
	count := func(s string, to *uint8) bool {
		n, err := strconv.ParseUint(s, 10, 8)
		*to = uint8(n)
		return err == nil && n > 0
	}
	seconds := func(s string, to *uint32) bool {
		n, err := strconv.ParseUint(s, 10, 32)
		*to = uint32(n)
		return err == nil && n > 0 && n <= maxCheckTime
	}
	unit := func(s string) string {
		digits, ok := strings.CutSuffix(s, "s")
		if !ok {
			return ""
		}
		return digits
	}
	f := strings.Split(word, ",")
	ok := false
	switch len(f) {
	case 2:
		ok = count(f[0], &c.Down) && seconds(unit(f[1]), &c.Wait)
	case 4:
		from, to, _ := strings.Cut(unit(f[3]), "-")
		ok = count(f[0], &c.Down) && count(f[1], &c.Up) && seconds(unit(f[2]), &c.Wait) && seconds(from, &c.Min) && seconds(to, &c.Max) && c.Min <= c.Max
	}
	if !ok {
		return DestCheck{}, bad
	}
	return c, nil
}

package keepalivedconf

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// one returns the value of a keyword that takes exactly one.
func (r *reader) one(n *node) (string, bool) {
	switch {
	case n.isBlock():
		r.errorf(n.pos, "%s takes a value, not a block", n.keyword)
	case len(n.args) == 0:
		r.errorf(n.pos, "%s needs a value", n.keyword)
	case len(n.args) > 1:
		r.errorf(n.pos, "%s takes one value, not %d: put each keyword on a line of its own", n.keyword, len(n.args))
	default:
		return n.args[0], true
	}
	return "", false
}

// text reads any word.
func (r *reader) text(dst *string) rule {
	return func(n *node) {
		if v, ok := r.one(n); ok {
			*dst = v
		}
	}
}

// number reads a whole number from lo to hi.
func (r *reader) number(lo, hi uint64, take func(v uint64)) rule {
	return func(n *node) {
		v, ok := r.one(n)
		if !ok {
			return
		}
		i, err := strconv.ParseUint(v, 10, 64)
		if err != nil || i < lo || i > hi {
			r.errorf(n.pos, "%s %s is not a number from %d to %d", n.keyword, shown(v), lo, hi)
			return
		}
		take(i)
	}
}

const maxUint32 = 1<<32 - 1

func (r *reader) uint32(dst *uint32, lo, hi uint64) rule {
	return r.number(lo, hi, func(v uint64) { *dst = uint32(v) })
}

// maxTimer is stock's greatest time: microseconds in 32 bits.
const maxTimer = maxUint32 * time.Microsecond

// timer reads seconds with a fraction. least is 0 or a microsecond.
func (r *reader) timer(dst **time.Duration, least time.Duration) rule {
	return func(n *node) {
		if v, ok := r.one(n); ok {
			if d, ok := r.seconds(n, v, least); ok {
				*dst = &d
			}
		}
	}
}

// seconds reads one time of a keyword's values.
func (r *reader) seconds(n *node, v string, least time.Duration) (time.Duration, bool) {
	d, ok := decimal(v)
	if !ok || d < least || d > maxTimer {
		r.errorf(n.pos, "%s %s is not a number of seconds from %v to 4294.967295", n.keyword, shown(v), least.Seconds())
		return 0, false
	}
	return d, true
}

// decimal reads "3" or "0.25": floating point would round.
func decimal(v string) (time.Duration, bool) {
	whole, fraction, _ := strings.Cut(v, ".")
	s, err := strconv.ParseUint("0"+whole, 10, 32)
	if err != nil || whole+fraction == "" || len(fraction) > 6 {
		return 0, false
	}
	us, err := strconv.ParseUint((fraction + "000000")[:6], 10, 32)
	return time.Duration(s)*time.Second + time.Duration(us)*time.Microsecond, err == nil
}

// flag reads a switch: the bare keyword means on.
func (r *reader) flag(dst *bool) rule {
	return func(n *node) {
		if len(n.args) == 0 && !n.isBlock() {
			*dst = true
			return
		}
		v, ok := r.one(n)
		if !ok {
			return
		}
		switch v {
		case "on", "true", "yes":
			*dst = true
		case "off", "false", "no":
			*dst = false
		default:
			r.errorf(n.pos, "%s %s is none of on, off, true, false, yes, no", n.keyword, shown(v))
		}
	}
}

// choice reads one of a few words, in any case of letters.
func (r *reader) choice(dst *string, words ...string) rule {
	return func(n *node) {
		v, ok := r.one(n)
		if !ok {
			return
		}
		i := slices.IndexFunc(words, func(w string) bool { return strings.EqualFold(w, v) })
		if i < 0 {
			r.errorf(n.pos, "%s %s is not one of %s", n.keyword, shown(v), strings.Join(words, ", "))
			return
		}
		*dst = words[i]
	}
}

// script reads a command, and perhaps the user and group it runs as.
func (r *reader) script(dst *Script) rule {
	return func(n *node) {
		switch {
		case n.isBlock():
			r.errorf(n.pos, "%s takes a command, not a block", n.keyword)
		case len(n.args) == 0 || strings.TrimSpace(n.args[0]) == "":
			r.errorf(n.pos, "%s needs a command", n.keyword)
		case len(n.args) > 3:
			r.errorf(n.pos, "%s takes a command, a user and a group: put a command with arguments in quotes", n.keyword)
		default:
			*dst = Script{Command: n.args[0]}
			if len(n.args) > 1 {
				dst.User = n.args[1]
			}
			if len(n.args) > 2 {
				dst.Group = n.args[2]
			}
		}
	}
}

// addr reads one address.
func (r *reader) addr(take func(a netip.Addr)) rule {
	return func(n *node) {
		if v, ok := r.one(n); ok {
			if a, ok := r.address(n, v); ok {
				take(a)
			}
		}
	}
}

// address reads one address of a keyword's values.
func (r *reader) address(n *node, v string) (netip.Addr, bool) {
	a, err := netip.ParseAddr(v)
	if err != nil || a.Is4In6() {
		r.errorf(n.pos, "%s: %s is not an IP address", shown(n.keyword), shown(v))
		return netip.Addr{}, false
	}
	return a, true
}

// endpoint reads "IP [PORT]" of a keyword's values; without one the port is 0.
func (r *reader) endpoint(n *node, args []string) (netip.AddrPort, bool) {
	if len(args) != 1 && len(args) != 2 {
		r.errorf(n.pos, "%s needs an address and a port", n.keyword)
		return netip.AddrPort{}, false
	}
	a, ok := r.address(n, args[0])
	if !ok || len(args) == 1 {
		return netip.AddrPortFrom(a, 0), ok
	}
	port, ok := r.portOf(n, args[1], 0)
	return netip.AddrPortFrom(a, port), ok
}

// portOf reads a port number of at least least.
func (r *reader) portOf(n *node, v string, least uint64) (uint16, bool) {
	p, err := strconv.ParseUint(v, 10, 16)
	if err != nil || p < least {
		r.errorf(n.pos, "%s: %s is not a port from %d to 65535", shown(n.keyword), shown(v), least)
		return 0, false
	}
	return uint16(p), true
}

// span reads "IP", "IP-LAST" with the last octet (IPv6: the last 16 bits in
// hexadecimal digits) or the last address, or "IP/LENGTH".
func (r *reader) span(n *node, v string) (Range, bool) {
	fail := func() (Range, bool) {
		r.errorf(n.pos, "%s is not an IP address, or a range IP-LAST or IP/LENGTH", shown(v))
		return Range{}, false
	}
	if strings.Contains(v, "/") {
		p, err := netip.ParsePrefix(v)
		if err != nil || p.Addr().Is4In6() {
			return fail()
		}
		return Range{p.Masked().Addr(), lastOf(p)}, true
	}
	from, to, ranged := strings.Cut(v, "-")
	first, err := netip.ParseAddr(from)
	if err != nil || first.Is4In6() || first.Zone() != "" {
		return fail()
	}
	last := first
	if ranged {
		if last, err = netip.ParseAddr(to); err != nil {
			var ok bool
			if last, ok = withEnd(first, to); !ok {
				return fail()
			}
		}
	}
	if last.Is4() != first.Is4() || last.Zone() != "" || last.Is4In6() {
		return fail()
	}
	if last.Less(first) {
		r.errorf(n.pos, "range %s ends before it begins", shown(v))
		return Range{}, false
	}
	return Range{first, last}, true
}

// withEnd returns a with another last octet, or last 16 bits.
func withEnd(a netip.Addr, end string) (netip.Addr, bool) {
	if a.Is4() {
		// DPVS and stock refuse 255: the broadcast address is none of a service.
		v, err := strconv.ParseUint(end, 10, 8)
		b := a.As4()
		b[3] = byte(v)
		return netip.AddrFrom4(b), err == nil && v < 255
	}
	v, err := strconv.ParseUint(end, 16, 16)
	b := a.As16()
	b[14], b[15] = byte(v>>8), byte(v)
	return netip.AddrFrom16(b), err == nil
}

// lastOf returns the greatest address of a prefix.
func lastOf(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b) // of the length of an address
	return a
}

// ignored accepts a keyword that changes nothing and says why.
func (r *reader) ignored(why string) rule {
	return func(n *node) { r.warnf(n.pos, "%s is ignored: %s", n.keyword, why) }
}

// refused tells of a keyword without which the file would mean something else.
func (r *reader) refused(why string) rule {
	return func(n *node) { r.errorf(n.pos, "%s is not supported: %s", n.keyword, why) }
}

package rsagent

import (
	"encoding/binary"
	"net/netip"
)

// The model: what the programs of bpf/rs shall do to a packet, written to be read.
// The fuzz targets and the random runs compare.

// station is whether an address can be a client's.
func station(a netip.Addr) bool {
	if a.Is4() {
		b := a.As4()
		return b[0] != 0 && !a.IsLoopback() && !a.IsMulticast() && a != netip.AddrFrom4([4]byte{255, 255, 255, 255})
	}
	return !a.IsUnspecified() && !a.IsLoopback() && !a.IsMulticast() && !a.Is4In6()
}

// verdict of a walk over options.
type verdict string

const (
	nothing   verdict = "nothing"
	found     verdict = "client"
	malformed verdict = "malformed"
)

// modelFind looks for the first option of a kind. In an IPv6 header it is the long one,
// with ::ffff:a.b.c.d for an IPv4 client.
func modelFind(options []byte, kind byte, in6 bool) (netip.AddrPort, verdict) {
	for len(options) > 0 {
		switch options[0] {
		case 0:
			return netip.AddrPort{}, nothing
		case 1:
			options = options[1:]
			continue
		}
		if len(options) < 2 || options[1] < 2 || int(options[1]) > len(options) {
			return netip.AddrPort{}, malformed
		}
		body := options[2:options[1]]
		if options[0] != kind {
			options = options[options[1]:]
			continue
		}
		if len(body) != 18 && (in6 || len(body) != 6) {
			return netip.AddrPort{}, malformed
		}
		a, _ := netip.AddrFromSlice(body[2:])
		if in6 {
			a = a.Unmap()
		}
		client := netip.AddrPortFrom(a, binary.BigEndian.Uint16(body))
		if client.Port() == 0 || !station(a) {
			return netip.AddrPort{}, malformed
		}
		return client, found
	}
	return netip.AddrPort{}, nothing
}

// saved is an entry that a packet makes.
type saved struct {
	peer, local, client netip.AddrPort
}

// families is the counter of what is not IPv4 on both sides; "" for that and for nothing.
func (s saved) families() string {
	switch {
	case !s.client.IsValid() || s.peer.Addr().Is4() && s.client.Addr().Is4():
		return ""
	case s.peer.Addr().Is4():
		return "uoa_nat64"
	case s.client.Addr().Is4():
		return "uoa_nat46"
	}
	return "uoa_ipv6"
}

// modelUOA says what the program at a socket does with an IP packet: the counter that
// goes up, or "", and what it enters.
func modelUOA(p []byte, trusted func(netip.Addr) bool) (count string, s saved) {
	var src, dst netip.Addr
	var at int
	var client netip.AddrPort
	v := nothing
	switch {
	case len(p) >= 20 && p[0]>>4 == 4:
		if p[9] != 17 {
			return "", s
		}
		src, dst = netip.AddrFrom4([4]byte(p[12:])), netip.AddrFrom4([4]byte(p[16:]))
		at = int(p[0]&15) * 4
		switch {
		case at == 20:
		case at < 20 || at > len(p) || binary.BigEndian.Uint16(p[6:])&0x3fff != 0:
			v = malformed
		default:
			client, v = modelFind(p[20:at], 31, false)
		}
	case len(p) >= 40 && p[0]>>4 == 6:
		src, dst = netip.AddrFrom16([16]byte(p[8:])), netip.AddrFrom16([16]byte(p[24:]))
		switch {
		case p[6] == 17:
			at = 40
		case p[6] == 60 && len(p) >= 64 && p[40] == 17 && p[41] == 2 && p[42] == 0x1e && p[43] == 20:
			at = 64
			client, v = modelFind(p[44:at], 31, true)
		default:
			return "", s
		}
	default:
		return "", s
	}
	switch {
	case v == nothing:
		return "uoa_none", s
	case v == malformed || len(p) < at+8:
		return "uoa_malformed", s
	case !trusted(src):
		return "uoa_untrusted", s
	}
	return "uoa_saved", saved{
		peer:   netip.AddrPortFrom(src, binary.BigEndian.Uint16(p[at:])),
		local:  netip.AddrPortFrom(dst, binary.BigEndian.Uint16(p[at+2:])),
		client: client,
	}
}

// modelOPP says what the translator does with an IP packet: the counter that goes
// up, or "", and the packet as it goes on, if its header's checksum was right.
func modelOPP(p []byte, trusted func(netip.Addr) bool) (count string, out []byte) {
	switch {
	case len(p) >= 20 && p[9] == 248 && p[0]>>4 == 4:
		return modelOPP4(p, trusted)
	case len(p) >= 40 && p[6] == 248 && p[0]>>4 == 6:
		return modelOPP6(p, trusted)
	}
	return "", p
}

// soundOPP says whether an OPP header with an option, and a UDP header, is in b.
func soundOPP(b []byte) (length int, ok bool) {
	if len(b) < 12 {
		return 0, false
	}
	length = int(binary.BigEndian.Uint16(b[2:]))
	option := int(b[5])
	version := b[0] >> 4
	return length, (version == 1 || version == 2) && b[1] == 17 && b[4] == 31 &&
		(option == 8 || option == 20) && length == 4+option && len(b) >= length+8
}

func modelOPP4(p []byte, trusted func(netip.Addr) bool) (string, []byte) {
	if binary.BigEndian.Uint16(p[6:])&0x3fff != 0 {
		return "opp_fragment", p
	}
	header, total := int(p[0]&15)*4, int(binary.BigEndian.Uint16(p[2:]))
	if header < 20 || total < header || len(p) < header {
		return "opp_malformed", p
	}
	// A total length beyond the packet is for the stack to find; the header and its
	// option have to be there.
	rest := append([]byte{}, p[header:]...)
	if total > len(p) {
		rest = append(rest, make([]byte, total-len(p))...)
	}
	rest = rest[:total-header]
	length, ok := soundOPP(rest)
	if !ok || header+length > 60 || len(p) < header+length {
		return "opp_malformed", p
	}
	if !trusted(netip.AddrFrom4([4]byte(p[12:]))) {
		return "opp_untrusted", p
	}
	out := append([]byte{}, p...)
	out[0] += byte(length / 4)
	out[9] = 17
	copy(out[header:], []byte{1, 1, 1, 1})
	out[10], out[11] = 0, 0
	binary.BigEndian.PutUint16(out[10:], checksum(sum16(0, out[:header+length])))
	return "opp_ipv4", out
}

func modelOPP6(p []byte, trusted func(netip.Addr) bool) (string, []byte) {
	rest := p[40:]
	total := int(binary.BigEndian.Uint16(p[4:]))
	if len(rest) < 24 || total < 24+8 {
		return "opp_malformed", p
	}
	if length, ok := soundOPP(append(append([]byte{}, rest[:24]...), make([]byte, 8)...)); !ok || length != 24 {
		return "opp_malformed", p
	}
	if !trusted(netip.AddrFrom16([16]byte(p[8:]))) {
		return "opp_untrusted", p
	}
	out := append([]byte{}, p...)
	out[6] = 60
	copy(out[40:], []byte{17, 2, 0x1e, 20})
	return "opp_ipv6", out
}

package control

import (
	"net/netip"
	"strconv"

	"weir/api/weirv1"
	"weir/internal/spec"
)

// API messages and spec values are different things; this file converts. What a
// message can say and a spec can't is refused with a sentence.

func toPrefix(object, s string) (netip.Prefix, error) {
	if p, err := netip.ParsePrefix(s); err == nil {
		return p, nil
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Prefix{}, invalid(object, "%q is no address: want ADDRESS or ADDRESS/LENGTH", s)
	}
	if a.Zone() != "" {
		return netip.Prefix{}, invalid(object, "%s: leave %%%s out, the device is given by itself", a, a.Zone())
	}
	return netip.PrefixFrom(a, a.BitLen()), nil
}

// toAddr parses an address; "" is none.
func toAddr(object, s string) (netip.Addr, error) {
	if s == "" {
		return netip.Addr{}, nil
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		return a, invalid(object, "%q is no address", s)
	}
	return a, nil
}

func needAddr(object, s string) (netip.Addr, error) {
	if s == "" {
		return netip.Addr{}, invalid(object, "an address is missing")
	}
	return toAddr(object, s)
}

func addrString(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// toFamily reads which family a request is about.
func toFamily(f uint32) (spec.Family, error) {
	switch f {
	case 0, 4, 6:
		return spec.Family(f), nil
	}
	return 0, invalid("address", "address family %d: must be 4, 6, or 0 for both", f)
}

func toScope(s weirv1.Scope) (spec.Scope, error) {
	switch s {
	case weirv1.Scope_SCOPE_GLOBAL:
		return spec.ScopeGlobal, nil
	case weirv1.Scope_SCOPE_LINK:
		return spec.ScopeLink, nil
	case weirv1.Scope_SCOPE_HOST:
		return spec.ScopeHost, nil
	case weirv1.Scope_SCOPE_KNI_HOST:
		return spec.ScopeKNIHost, nil
	case weirv1.Scope_SCOPE_SITE:
		return spec.ScopeSite, nil
	}
	return 0, invalid("address", "unknown scope %d", s)
}

func fromScope(s spec.Scope) weirv1.Scope { return weirv1.Scope(s) }

func toAddress(m *weirv1.Address) (a spec.Address, err error) {
	if m == nil {
		return a, invalid("address", "an address is missing")
	}
	a = spec.Address{Port: m.Device, SAPool: m.Sapool, ValidLft: m.ValidLft, PreferredLft: m.PreferredLft}
	if a.Prefix, err = toPrefix("address", m.Prefix); err != nil {
		return a, err
	}
	if a.Broadcast, err = toAddr("address", m.Broadcast); err != nil {
		return a, err
	}
	if a.ValidLft != 0 || a.PreferredLft != 0 {
		return a, &spec.Refusal{Code: spec.NotSupported, Object: "address", Why: "limited lifetimes of addresses are not supported yet: leave valid_lft and preferred_lft out, or say forever"}
	}
	a.Scope, err = toScope(m.Scope)
	return a, err
}

func fromAddress(a *spec.Address) *weirv1.Address {
	return &weirv1.Address{
		Prefix: a.Prefix.String(), Device: a.Port, Broadcast: addrString(a.Broadcast), Scope: fromScope(a.Scope),
		ValidLft: a.ValidLft, PreferredLft: a.PreferredLft, Sapool: a.SAPool, Holders: a.Held.Holders, HeldOnly: a.Held.Only,
	}
}

func toRoute(m *weirv1.Route) (r spec.Route, err error) {
	if m == nil {
		return r, invalid("route", "a route is missing")
	}
	r = spec.Route{Port: m.Device, MTU: int(m.Mtu), Metric: m.Metric}
	if r.Prefix, err = toPrefix("route", m.Prefix); err != nil {
		return r, err
	}
	if r.Via, err = toAddr("route", m.Via); err != nil {
		return r, err
	}
	if r.Src, err = toAddr("route", m.Src); err != nil {
		return r, err
	}
	if r.Via.IsValid() && r.Via.IsUnspecified() {
		r.Via = netip.Addr{}
	}
	if r.Src.IsValid() && r.Src.IsUnspecified() {
		r.Src = netip.Addr{}
	}
	r.Scope, err = toScope(m.Scope)
	return r, err
}

func toProto(p weirv1.Protocol) (spec.Proto, error) {
	switch p {
	case weirv1.Protocol_PROTOCOL_TCP, weirv1.Protocol_PROTOCOL_UDP, weirv1.Protocol_PROTOCOL_SCTP,
		weirv1.Protocol_PROTOCOL_ICMP, weirv1.Protocol_PROTOCOL_ICMPV6:
		return spec.Proto(p), nil
	default:
		return 0, invalid("service", "protocol %d is none of a service's", p)
	}
}

func toKey(m *weirv1.ServiceKey) (k spec.ServiceKey, err error) {
	if m == nil {
		return k, invalid("service", "a service is missing")
	}
	if k.Proto, err = toProto(m.Protocol); err != nil {
		return k, err
	}
	if m.Match != nil {
		if m.Address != "" || m.Port != 0 {
			return k, invalid("service", "a service has either an address or a match")
		}
		k.Match, err = toMatch(m.Match)
		return k, err
	}
	a, err := needAddr("service", m.Address)
	if err != nil {
		return k, err
	}
	p, err := toPort("service", m.Port)
	k.Virtual = netip.AddrPortFrom(a, p)
	return k, err
}

func toPort(object string, p uint32) (uint16, error) {
	if p > 65535 {
		return 0, invalid(object, "port %d: must be 0 to 65535", p)
	}
	return uint16(p), nil
}

func toMatch(m *weirv1.Match) (k spec.Match, err error) {
	if m.Family != 4 && m.Family != 6 {
		return k, invalid("service", "address family %d: must be 4 or 6", m.Family)
	}
	k = spec.Match{Family: uint8(m.Family), In: m.Iif, Out: m.Oif}
	if k.Src, err = toRange(m.Src); err == nil {
		k.Dst, err = toRange(m.Dst)
	}
	return k, err
}

func toRange(m *weirv1.AddressRange) (r spec.Range, err error) {
	if m == nil {
		return r, nil
	}
	if r.First, err = needAddr("service", m.First); err != nil {
		return r, err
	}
	if r.Last, err = needAddr("service", m.Last); err != nil {
		return r, err
	}
	if r.FirstPort, err = toPort("service", m.FirstPort); err != nil {
		return r, err
	}
	r.LastPort, err = toPort("service", m.LastPort)
	return r, err
}

func fromRange(r spec.Range) *weirv1.AddressRange {
	if !r.First.IsValid() {
		return nil
	}
	return &weirv1.AddressRange{First: r.First.String(), Last: r.Last.String(), FirstPort: uint32(r.FirstPort), LastPort: uint32(r.LastPort)}
}

func fromKey(k spec.ServiceKey) *weirv1.ServiceKey {
	if k.IsMatch() {
		return &weirv1.ServiceKey{Protocol: weirv1.Protocol(k.Proto), Match: &weirv1.Match{
			Family: uint32(k.Match.Family), Src: fromRange(k.Match.Src), Dst: fromRange(k.Match.Dst), Iif: k.Match.In, Oif: k.Match.Out,
		}}
	}
	return &weirv1.ServiceKey{Protocol: weirv1.Protocol(k.Proto), Address: k.Virtual.Addr().String(), Port: uint32(k.Virtual.Port())}
}

func toService(m *weirv1.Service) (s spec.Service, err error) {
	if m == nil {
		return s, invalid("service", "a service is missing")
	}
	s = spec.Service{
		Scheduler: m.Scheduler, Persistent: m.Persistent, OnePacket: m.OnePacket, PE: m.Pe, SynProxy: m.SynProxy,
		HashTarget: m.HashTarget, ExpireQuiescent: m.ExpireQuiescent, QUIC: m.Quic, ConnTimeout: m.ConnTimeout,
		ProxyProtocol: m.ProxyProtocol, NoTOA: m.NoToa, UOA: m.Uoa, DestCheck: m.DestCheck,
		EndpointIndependent: m.EndpointIndependent,
	}
	if s.ServiceKey, err = toKey(m.Key); err != nil {
		return s, err
	}
	s.PersistentMask, err = toMask(s.Virtual.Addr(), m.PersistentMask)
	return s, err
}

// toMask parses a persistence mask: an address, or the length of a prefix of IPv6;
// "" is none.
func toMask(vip netip.Addr, s string) (netip.Addr, error) {
	n, err := strconv.ParseUint(s, 10, 8)
	if err != nil {
		return toAddr("service", s)
	}
	mask := netip.Addr{}
	if vip.Is6() {
		mask = spec.Mask(vip, int(n))
	}
	if !mask.IsValid() {
		return mask, invalid("service", "persistence mask %s: give one like 255.255.255.0 for IPv4, and the length of a prefix, 1 to 128, for IPv6", s)
	}
	return mask, nil
}

func fromMask(mask netip.Addr) string {
	if mask.Is6() {
		return strconv.Itoa(spec.MaskBits(mask))
	}
	return addrString(mask)
}

func fromService(s *spec.Service) *weirv1.Service {
	return &weirv1.Service{
		Key: fromKey(s.ServiceKey), Scheduler: s.Scheduler, Persistent: s.Persistent, PersistentMask: fromMask(s.PersistentMask),
		OnePacket: s.OnePacket, Pe: s.PE, SynProxy: s.SynProxy, HashTarget: s.HashTarget, ExpireQuiescent: s.ExpireQuiescent,
		Quic: s.QUIC, ConnTimeout: s.ConnTimeout, ProxyProtocol: s.ProxyProtocol, NoToa: s.NoTOA, Uoa: s.UOA, DestCheck: s.DestCheck,
		EndpointIndependent: s.EndpointIndependent,
	}
}

func toDest(m *weirv1.Dest) (d spec.Dest, err error) {
	if m == nil {
		return d, invalid("dest", "a real server is missing")
	}
	forward, err := toForward(m.Forward)
	if err != nil {
		return d, err
	}
	d = spec.Dest{Forward: forward, Weight: m.Weight, UThreshold: m.UThreshold, LThreshold: m.LThreshold}
	a, err := needAddr("dest", m.Address)
	if err != nil {
		return d, err
	}
	p, err := toPort("dest", m.Port)
	d.Addr = netip.AddrPortFrom(a, p)
	return d, err
}

func toForward(f weirv1.Forward) (spec.Forward, error) {
	if f < weirv1.Forward_FORWARD_MASQ || f > weirv1.Forward_FORWARD_SNAT {
		return 0, invalid("dest", "forwarding mode %d is unknown", f)
	}
	return spec.Forward(f), nil
}

func toLocal(m *weirv1.LocalAddress) (l spec.LocalAddress, err error) {
	if m == nil {
		return l, invalid("laddr", "a local address is missing")
	}
	l.Port = m.Device
	l.Addr, err = needAddr("laddr", m.Address)
	return l, err
}

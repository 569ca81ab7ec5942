package want

import (
	"net/netip"
	"strconv"

	"weir/api/weirv1"
	"weir/internal/spec"
)

// Messages of the API are not spec values; this file converts.

func fromKey(k spec.ServiceKey) *weirv1.ServiceKey {
	if !k.IsMatch() {
		return &weirv1.ServiceKey{Protocol: weirv1.Protocol(k.Proto), Address: k.Virtual.Addr().String(), Port: uint32(k.Virtual.Port())}
	}
	return &weirv1.ServiceKey{Protocol: weirv1.Protocol(k.Proto), Match: &weirv1.Match{
		Family: uint32(k.Match.Family), Src: fromRange(k.Match.Src), Dst: fromRange(k.Match.Dst), Iif: k.Match.In, Oif: k.Match.Out,
	}}
}

func fromRange(r spec.Range) *weirv1.AddressRange {
	if !r.First.IsValid() {
		return nil
	}
	return &weirv1.AddressRange{First: r.First.String(), Last: r.Last.String(), FirstPort: uint32(r.FirstPort), LastPort: uint32(r.LastPort)}
}

func fromService(s *spec.Service) *weirv1.Service {
	return &weirv1.Service{
		Key: fromKey(s.ServiceKey), Scheduler: s.Scheduler, Persistent: s.Persistent, PersistentMask: fromMask(s.PersistentMask),
		OnePacket: s.OnePacket, Pe: s.PE, SynProxy: s.SynProxy, HashTarget: s.HashTarget, ExpireQuiescent: s.ExpireQuiescent,
		Quic: s.QUIC, ConnTimeout: s.ConnTimeout, ProxyProtocol: s.ProxyProtocol, NoToa: s.NoTOA, Uoa: s.UOA, DestCheck: s.DestCheck,
		EndpointIndependent: s.EndpointIndependent,
	}
}

func fromMask(mask netip.Addr) string {
	switch {
	case !mask.IsValid():
		return ""
	case mask.Is6():
		return strconv.Itoa(spec.MaskBits(mask))
	}
	return mask.String()
}

func fromDest(d spec.Dest) *weirv1.Dest {
	return &weirv1.Dest{
		Address: d.Addr.Addr().String(), Port: uint32(d.Addr.Port()), Forward: weirv1.Forward(d.Forward),
		Weight: d.Weight, UThreshold: d.UThreshold, LThreshold: d.LThreshold,
	}
}

func fromLocal(l spec.LocalAddress) *weirv1.LocalAddress {
	return &weirv1.LocalAddress{Address: l.Addr.String(), Device: l.Port}
}

func toKey(m *weirv1.ServiceKey) (spec.ServiceKey, error) {
	k := spec.ServiceKey{Proto: spec.Proto(m.GetProtocol())}
	if m.GetMatch() == nil {
		a, err := netip.ParseAddr(m.GetAddress())
		k.Virtual = netip.AddrPortFrom(a, uint16(m.GetPort()))
		return k, err
	}
	k.Match = spec.Match{Family: uint8(m.Match.Family), In: m.Match.Iif, Out: m.Match.Oif}
	var err error
	if k.Match.Src, err = toRange(m.Match.Src); err == nil {
		k.Match.Dst, err = toRange(m.Match.Dst)
	}
	return k, err
}

func toRange(m *weirv1.AddressRange) (r spec.Range, err error) {
	if m == nil {
		return r, nil
	}
	if r.First, err = netip.ParseAddr(m.First); err == nil {
		r.Last, err = netip.ParseAddr(m.Last)
	}
	r.FirstPort, r.LastPort = uint16(m.FirstPort), uint16(m.LastPort)
	return r, err
}

func toService(m *weirv1.Service) (s spec.Service, err error) {
	s = spec.Service{
		Scheduler: m.Scheduler, Persistent: m.Persistent, OnePacket: m.OnePacket, PE: m.Pe, SynProxy: m.SynProxy,
		HashTarget: m.HashTarget, ExpireQuiescent: m.ExpireQuiescent, QUIC: m.Quic, ConnTimeout: m.ConnTimeout,
		ProxyProtocol: m.ProxyProtocol, NoTOA: m.NoToa, UOA: m.Uoa, DestCheck: m.DestCheck, EndpointIndependent: m.EndpointIndependent,
	}
	if s.ServiceKey, err = toKey(m.Key); err != nil {
		return s, err
	}
	if bits, failed := strconv.Atoi(m.PersistentMask); failed == nil {
		s.PersistentMask = spec.Mask(s.Virtual.Addr(), bits)
	} else if m.PersistentMask != "" {
		if s.PersistentMask, err = netip.ParseAddr(m.PersistentMask); err != nil {
			return s, err
		}
	}
	for _, d := range m.Dests {
		a, err := netip.ParseAddr(d.Address)
		if err != nil {
			return s, err
		}
		s.Dests = append(s.Dests, spec.Dest{
			Addr: netip.AddrPortFrom(a, uint16(d.Port)), Forward: spec.Forward(d.Forward),
			Weight: d.Weight, UThreshold: d.UThreshold, LThreshold: d.LThreshold,
		})
	}
	for _, l := range m.Locals {
		a, err := netip.ParseAddr(l.Address)
		if err != nil {
			return s, err
		}
		s.Locals = append(s.Locals, spec.LocalAddress{Addr: a, Port: l.Device})
	}
	return s, nil
}

// Services reads what the director lists.
func Services(services []*weirv1.Service, lists []*weirv1.AccessList) (map[spec.ServiceKey]spec.Service, error) {
	all := make(map[spec.ServiceKey]spec.Service, len(services))
	for _, m := range services {
		s, err := toService(m)
		if err != nil {
			return nil, err
		}
		all[s.ServiceKey] = s
	}
	for _, m := range lists {
		k, err := toKey(m.Key)
		if err != nil {
			return nil, err
		}
		s, there := all[k]
		if !there {
			continue // made since the services were listed
		}
		for _, e := range m.Entries {
			a, err := netip.ParseAddr(e)
			if err != nil {
				return nil, err
			}
			if m.Kind == weirv1.AccessKind_ACCESS_KIND_WHITELIST {
				s.Whitelist = append(s.Whitelist, a)
			} else {
				s.Blacklist = append(s.Blacklist, a)
			}
		}
		all[k] = s
	}
	return all, nil
}

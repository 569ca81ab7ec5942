package control

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"connectrpc.com/connect"

	"weir/api/weirv1"
	"weir/internal/route"
	"weir/internal/spec"
)

// Addresses, routes, neighbours.

// known refuses a device name that is not "" and none of ours.
func (s *Server) known(device string) error {
	names := s.director.Spec().Ports
	if device == "" || slices.Contains(names, device) {
		return nil
	}
	return failure(&spec.Refusal{Code: spec.NoDevice, Object: "link", Why: fmt.Sprintf("no such device: %s; the devices are %s", device, strings.Join(names, ", "))})
}

// ListAddresses answers rpc ListAddresses.
func (s *Server) ListAddresses(_ context.Context, r *connect.Request[weirv1.ListAddressesRequest]) (*connect.Response[weirv1.ListAddressesResponse], error) {
	if err := s.known(r.Msg.Device); err != nil {
		return nil, err
	}
	out := &weirv1.ListAddressesResponse{}
	wanted := s.director.Spec()
	for _, a := range automatic(wanted, s.director.Routes()) {
		if r.Msg.Device == "" || r.Msg.Device == a.Port {
			m := fromAddress(&a)
			m.Automatic = true
			out.Addresses = append(out.Addresses, m)
		}
	}
	for _, a := range wanted.Addresses {
		if r.Msg.Device != "" && r.Msg.Device != a.Port {
			continue
		}
		m := fromAddress(&a)
		if a.SAPool {
			m.SaUsed, m.SaFree, m.SaMiss, _ = s.director.LocalCounts(a.Prefix.Addr())
		}
		out.Addresses = append(out.Addresses, m)
	}
	if r.Msg.Kni {
		out.Addresses = append(out.Addresses, s.ofLinux(r.Msg.Device)...)
	}
	return connect.NewResponse(out), nil
}

// ofLinux lists what addresses Linux has on the twins, or on that of one device.
func (s *Server) ofLinux(device string) (out []*weirv1.Address) {
	for _, t := range s.director.Twins() {
		if device != "" && device != t.Port {
			continue
		}
		for _, p := range t.Addresses {
			a := spec.Address{Port: t.Port, Prefix: p}
			if p.Addr().IsLinkLocalUnicast() {
				a.Scope = spec.ScopeLink
			}
			m := fromAddress(&a)
			m.Kni = t.Name
			out = append(out, m)
		}
	}
	return out
}

// automatic returns the link-local addresses that ports have without being told: what
// is routed here, and nobody asked for. In the order of the ports.
func automatic(wanted *spec.Spec, routes []route.Listed) (out []spec.Address) {
	for _, l := range routes {
		a := l.Prefix.Addr()
		if l.Scope != spec.ScopeHost || !a.Is6() || !a.IsLinkLocalUnicast() {
			continue
		}
		told := slices.ContainsFunc(wanted.Addresses, func(o spec.Address) bool { return o.Prefix.Addr() == a && o.Port == l.Dev }) ||
			slices.ContainsFunc(wanted.Routes, func(o spec.Route) bool { return o.Prefix == l.Prefix && o.Port == l.Dev })
		if !told {
			out = append(out, spec.Address{Port: l.Dev, Prefix: netip.PrefixFrom(a, 64), Scope: spec.ScopeLink})
		}
	}
	slices.SortStableFunc(out, func(a, b spec.Address) int {
		return cmp.Compare(slices.Index(wanted.Ports, a.Port), slices.Index(wanted.Ports, b.Port))
	})
	return out
}

// AddAddress answers rpc AddAddress.
func (s *Server) AddAddress(_ context.Context, r *connect.Request[weirv1.AddAddressRequest]) (*connect.Response[weirv1.AddAddressResponse], error) {
	a, err := toAddress(r.Msg.Address)
	if err != nil {
		return nil, failure(err)
	}
	return change[weirv1.AddAddressResponse](s, func(c *spec.Spec) error { return c.AddAddress(a, r.Msg.Replace) })
}

// DeleteAddress answers rpc DeleteAddress. Without a length the address goes whatever its length.
func (s *Server) DeleteAddress(_ context.Context, r *connect.Request[weirv1.DeleteAddressRequest]) (*connect.Response[weirv1.DeleteAddressResponse], error) {
	p, err := toPrefix("address", r.Msg.Prefix)
	if err != nil {
		return nil, failure(err)
	}
	if !strings.Contains(r.Msg.Prefix, "/") {
		p = netip.PrefixFrom(p.Addr(), -1)
	}
	return change[weirv1.DeleteAddressResponse](s, func(c *spec.Spec) error { return c.DeleteAddress(p, r.Msg.Device) })
}

// FlushAddresses answers rpc FlushAddresses.
func (s *Server) FlushAddresses(_ context.Context, r *connect.Request[weirv1.FlushAddressesRequest]) (*connect.Response[weirv1.FlushAddressesResponse], error) {
	f, err := toFamily(r.Msg.Family)
	if err != nil {
		return nil, failure(err)
	}
	return change[weirv1.FlushAddressesResponse](s, func(c *spec.Spec) error { return c.FlushAddressesOf(r.Msg.Device, f) })
}

// ListRoutes answers rpc ListRoutes.
func (s *Server) ListRoutes(_ context.Context, r *connect.Request[weirv1.ListRoutesRequest]) (*connect.Response[weirv1.ListRoutesResponse], error) {
	if err := s.known(r.Msg.Device); err != nil {
		return nil, err
	}
	out := &weirv1.ListRoutesResponse{}
	for _, l := range s.director.Routes() {
		if r.Msg.Device != "" && r.Msg.Device != l.Dev {
			continue
		}
		out.Routes = append(out.Routes, &weirv1.Route{
			Prefix: l.Prefix.String(), Via: addrString(l.Gateway), Src: addrString(l.Src), Device: l.Dev, Mtu: uint32(l.MTU),
			Scope: fromScope(l.Scope), Metric: l.Metric, Proto: "auto", Derived: l.Derived,
		})
	}
	return connect.NewResponse(out), nil
}

// AddRoute answers rpc AddRoute.
func (s *Server) AddRoute(_ context.Context, r *connect.Request[weirv1.AddRouteRequest]) (*connect.Response[weirv1.AddRouteResponse], error) {
	rt, err := toRoute(r.Msg.Route)
	if err != nil {
		return nil, failure(err)
	}
	return change[weirv1.AddRouteResponse](s, func(c *spec.Spec) error { return c.AddRoute(rt) })
}

// DeleteRoute answers rpc DeleteRoute.
func (s *Server) DeleteRoute(_ context.Context, r *connect.Request[weirv1.DeleteRouteRequest]) (*connect.Response[weirv1.DeleteRouteResponse], error) {
	rt, err := toRoute(r.Msg.Route)
	if err != nil {
		return nil, failure(err)
	}
	return change[weirv1.DeleteRouteResponse](s, func(c *spec.Spec) error { return c.DeleteRoute(rt) })
}

// FlushRoutes answers rpc FlushRoutes.
func (s *Server) FlushRoutes(_ context.Context, r *connect.Request[weirv1.FlushRoutesRequest]) (*connect.Response[weirv1.FlushRoutesResponse], error) {
	f, err := toFamily(r.Msg.Family)
	if err != nil {
		return nil, failure(err)
	}
	return change[weirv1.FlushRoutesResponse](s, func(c *spec.Spec) error { return c.FlushRoutesOf(r.Msg.Device, f) })
}

// ListMulticast answers rpc ListMulticast.
func (s *Server) ListMulticast(_ context.Context, r *connect.Request[weirv1.ListMulticastRequest]) (*connect.Response[weirv1.ListMulticastResponse], error) {
	if err := s.known(r.Msg.Device); err != nil {
		return nil, err
	}
	out := &weirv1.ListMulticastResponse{}
	for _, g := range s.director.Multicast() {
		if r.Msg.Device == "" || r.Msg.Device == g.Port {
			out.Groups = append(out.Groups, &weirv1.MulticastGroup{Device: g.Port, Lladdr: net.HardwareAddr(g.MAC[:]).String(), Address: addrString(g.Addr), Kni: g.Linux})
		}
	}
	return connect.NewResponse(out), nil
}

// ListNeighbours answers rpc ListNeighbours.
func (s *Server) ListNeighbours(_ context.Context, r *connect.Request[weirv1.ListNeighboursRequest]) (*connect.Response[weirv1.ListNeighboursResponse], error) {
	if err := s.known(r.Msg.Device); err != nil {
		return nil, err
	}
	all, err := s.director.Neighbours()
	if err != nil {
		return nil, failure(err)
	}
	out := &weirv1.ListNeighboursResponse{}
	for _, e := range all {
		if r.Msg.Device != "" && r.Msg.Device != e.Device {
			continue
		}
		m := &weirv1.Neighbour{Address: e.Addr.String(), State: e.State, Device: e.Device, Static: e.Static, Queued: uint32(e.Queued)}
		if e.Resolved {
			m.Lladdr = net.HardwareAddr(e.MAC[:]).String()
		}
		out.Neighbours = append(out.Neighbours, m)
	}
	return connect.NewResponse(out), nil
}

// AddNeighbour answers rpc AddNeighbour.
func (s *Server) AddNeighbour(_ context.Context, r *connect.Request[weirv1.AddNeighbourRequest]) (*connect.Response[weirv1.AddNeighbourResponse], error) {
	m := r.Msg.Neighbour
	if m == nil {
		return nil, failure(invalid("neighbour", "a neighbour is missing"))
	}
	n := spec.Neighbour{Port: m.Device}
	var err error
	if n.Addr, err = needAddr("neighbour", m.Address); err != nil {
		return nil, failure(err)
	}
	mac, err := net.ParseMAC(m.Lladdr)
	if err != nil || len(mac) != len(n.MAC) {
		return nil, failure(invalid("neighbour", "%q is no MAC address: want aa:bb:cc:dd:ee:ff", m.Lladdr))
	}
	copy(n.MAC[:], mac)
	return change[weirv1.AddNeighbourResponse](s, func(c *spec.Spec) error { return c.AddNeighbour(n) })
}

// DeleteNeighbour answers rpc DeleteNeighbour.
func (s *Server) DeleteNeighbour(_ context.Context, r *connect.Request[weirv1.DeleteNeighbourRequest]) (*connect.Response[weirv1.DeleteNeighbourResponse], error) {
	a, err := needAddr("neighbour", r.Msg.Address)
	if err != nil {
		return nil, failure(err)
	}
	return change[weirv1.DeleteNeighbourResponse](s, func(c *spec.Spec) error { return s.deleteNeighbour(c, a, r.Msg.Device) })
}

// deleteNeighbour removes a static neighbour, or forgets a learnt one.
func (s *Server) deleteNeighbour(c *spec.Spec, a netip.Addr, device string) error {
	static, err := c.DeleteNeighbour(a, device)
	if err != nil || static {
		return err
	}
	if !s.director.ForgetNeighbour(device, a) {
		return &spec.Refusal{Code: spec.NotExists, Object: "neighbour", Why: fmt.Sprintf("not exist: %s dev %s", a, device)}
	}
	return nil
}

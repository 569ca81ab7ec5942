package control

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"connectrpc.com/connect"

	"weir/api/weirv1"
	"weir/internal/director"
	"weir/internal/spec"
)

// Services, real servers, local addresses, connections.

// ListServices answers rpc ListServices.
func (s *Server) ListServices(_ context.Context, r *connect.Request[weirv1.ListServicesRequest]) (*connect.Response[weirv1.ListServicesResponse], error) {
	keep := func(spec.ServiceKey) bool { return true }
	if r.Msg.Key != nil {
		k, err := s.existing(r.Msg.Key)
		if err != nil {
			return nil, failure(err)
		}
		keep = func(o spec.ServiceKey) bool { return o == k }
	}
	views, err := s.director.Services(keep)
	if err != nil {
		return nil, failure(err)
	}
	perLocal := s.connsPerLocal()
	out := &weirv1.ListServicesResponse{Version: s.version}
	for i := range views {
		out.Services = append(out.Services, fromView(&views[i], perLocal))
	}
	return connect.NewResponse(out), nil
}

func (s *Server) existing(m *weirv1.ServiceKey) (spec.ServiceKey, error) {
	k, err := toKey(m)
	if err == nil && s.director.Spec().Find(k) == nil {
		err = &spec.Refusal{Code: spec.NotExists, Object: "service", Why: fmt.Sprintf("no such service: %s", k)}
	}
	return k, err
}

// connsPerLocal returns a function that tells how many ports of a local address
// are in use.
func (s *Server) connsPerLocal() func(netip.Addr) uint64 {
	return func(a netip.Addr) uint64 {
		used, _, _, _ := s.director.LocalCounts(a)
		return used
	}
}

func fromView(v *director.ServiceView, perLocal func(netip.Addr) uint64) *weirv1.Service {
	m := fromService(&v.Service)
	m.Counters = &weirv1.Counters{}
	var rates director.Rates
	for i := range v.Dests {
		d := &v.Dests[i]
		m.Dests = append(m.Dests, &weirv1.Dest{
			Address: d.Addr.Addr().String(), Port: uint32(d.Addr.Port()), Forward: weirv1.Forward(d.Forward), Weight: d.Weight,
			UThreshold: d.UThreshold, LThreshold: d.LThreshold, ActiveConns: uint32(d.Active), InactiveConns: uint32(d.Inactive),
			PersistentConns: uint32(d.Templates), Overloaded: d.Overloaded, Inhibited: d.Inhibited, Counters: fromCount(&d.Count), Rates: fromRates(&d.Rates),
		})
		rates.Add(d.Rates)
		c := m.Counters
		c.Conns += d.Count.Conns
		c.InPkts += d.Count.InPkts
		c.InBytes += d.Count.InBytes
		c.OutPkts += d.Count.OutPkts
		c.OutBytes += d.Count.OutBytes
	}
	m.Rates = fromRates(&rates)
	for _, l := range v.Locals {
		m.Locals = append(m.Locals, &weirv1.LocalAddress{Address: l.Addr.String(), Device: l.Port, Conns: perLocal(l.Addr)})
	}
	return m
}

func fromCount(c *director.Count) *weirv1.Counters {
	return &weirv1.Counters{Conns: c.Conns, InPkts: c.InPkts, InBytes: c.InBytes, OutPkts: c.OutPkts, OutBytes: c.OutBytes}
}

func fromRates(r *director.Rates) *weirv1.Rates {
	return &weirv1.Rates{
		Cps: director.Round(r.Conns), InPps: director.Round(r.InPkts), OutPps: director.Round(r.OutPkts),
		InBps: director.Round(r.InBytes), OutBps: director.Round(r.OutBytes),
	}
}

// AddService answers rpc AddService.
func (s *Server) AddService(_ context.Context, r *connect.Request[weirv1.AddServiceRequest]) (*connect.Response[weirv1.AddServiceResponse], error) {
	svc, err := toService(r.Msg.Service)
	if err != nil {
		return nil, failure(err)
	}
	return change[weirv1.AddServiceResponse](s, func(c *spec.Spec) error { return c.AddService(svc) })
}

// EditService answers rpc EditService.
func (s *Server) EditService(_ context.Context, r *connect.Request[weirv1.EditServiceRequest]) (*connect.Response[weirv1.EditServiceResponse], error) {
	svc, err := toService(r.Msg.Service)
	if err != nil {
		return nil, failure(err)
	}
	return change[weirv1.EditServiceResponse](s, func(c *spec.Spec) error { return c.EditService(svc) })
}

// DeleteService answers rpc DeleteService.
func (s *Server) DeleteService(_ context.Context, r *connect.Request[weirv1.DeleteServiceRequest]) (*connect.Response[weirv1.DeleteServiceResponse], error) {
	k, err := toKey(r.Msg.Key)
	if err != nil {
		return nil, failure(err)
	}
	return change[weirv1.DeleteServiceResponse](s, func(c *spec.Spec) error { return c.DeleteService(k) })
}

// FlushServices answers rpc FlushServices.
func (s *Server) FlushServices(context.Context, *connect.Request[weirv1.FlushServicesRequest]) (*connect.Response[weirv1.FlushServicesResponse], error) {
	return change[weirv1.FlushServicesResponse](s, func(c *spec.Spec) error { c.FlushServices(); return nil })
}

// dest converts the two parts of a request about a real server.
func destOf(key *weirv1.ServiceKey, dest *weirv1.Dest) (k spec.ServiceKey, d spec.Dest, err error) {
	if k, err = toKey(key); err == nil {
		d, err = toDest(dest)
	}
	return k, d, err
}

// AddDest answers rpc AddDest.
func (s *Server) AddDest(_ context.Context, r *connect.Request[weirv1.AddDestRequest]) (*connect.Response[weirv1.AddDestResponse], error) {
	k, d, err := destOf(r.Msg.Key, r.Msg.Dest)
	if err != nil {
		return nil, failure(err)
	}
	return change[weirv1.AddDestResponse](s, func(c *spec.Spec) error { return c.AddDest(k, d) })
}

// EditDest answers rpc EditDest.
func (s *Server) EditDest(_ context.Context, r *connect.Request[weirv1.EditDestRequest]) (*connect.Response[weirv1.EditDestResponse], error) {
	k, d, err := destOf(r.Msg.Key, r.Msg.Dest)
	if err != nil {
		return nil, failure(err)
	}
	return change[weirv1.EditDestResponse](s, func(c *spec.Spec) error { return c.EditDest(k, d) })
}

// DeleteDest answers rpc DeleteDest.
func (s *Server) DeleteDest(_ context.Context, r *connect.Request[weirv1.DeleteDestRequest]) (*connect.Response[weirv1.DeleteDestResponse], error) {
	k, d, err := destOf(r.Msg.Key, r.Msg.Dest)
	if err != nil {
		return nil, failure(err)
	}
	return change[weirv1.DeleteDestResponse](s, func(c *spec.Spec) error { return c.DeleteDest(k, d.Addr) })
}

// localOf converts the two parts of a request about a local address.
func localOf(key *weirv1.ServiceKey, local *weirv1.LocalAddress) (k spec.ServiceKey, l spec.LocalAddress, err error) {
	if k, err = toKey(key); err == nil {
		l, err = toLocal(local)
	}
	return k, l, err
}

// AddLocalAddress answers rpc AddLocalAddress.
func (s *Server) AddLocalAddress(_ context.Context, r *connect.Request[weirv1.AddLocalAddressRequest]) (*connect.Response[weirv1.AddLocalAddressResponse], error) {
	k, l, err := localOf(r.Msg.Key, r.Msg.Local)
	if err != nil {
		return nil, failure(err)
	}
	var existed bool
	err = s.run(func(c *spec.Spec) (err error) {
		existed, err = c.AddLocal(k, l)
		return err
	})
	if err != nil {
		return nil, failure(err)
	}
	return connect.NewResponse(&weirv1.AddLocalAddressResponse{AddressExisted: existed}), nil
}

// DeleteLocalAddress answers rpc DeleteLocalAddress.
func (s *Server) DeleteLocalAddress(_ context.Context, r *connect.Request[weirv1.DeleteLocalAddressRequest]) (*connect.Response[weirv1.DeleteLocalAddressResponse], error) {
	k, l, err := localOf(r.Msg.Key, r.Msg.Local)
	if err != nil {
		return nil, failure(err)
	}
	return change[weirv1.DeleteLocalAddressResponse](s, func(c *spec.Spec) error { return c.DeleteLocal(k, l) })
}

// ZeroCounters answers rpc ZeroCounters.
func (s *Server) ZeroCounters(_ context.Context, r *connect.Request[weirv1.ZeroCountersRequest]) (*connect.Response[weirv1.ZeroCountersResponse], error) {
	keep := func(spec.ServiceKey) bool { return true }
	if r.Msg.Key != nil {
		k, err := s.existing(r.Msg.Key)
		if err != nil {
			return nil, failure(err)
		}
		keep = func(o spec.ServiceKey) bool { return o == k }
	}
	if err := s.director.Zero(keep); err != nil {
		return nil, failure(err)
	}
	return connect.NewResponse(&weirv1.ZeroCountersResponse{}), nil
}

// connLot is how many connections one message of the stream carries.
const connLot = 512

// ListConnections answers rpc ListConnections.
func (s *Server) ListConnections(_ context.Context, r *connect.Request[weirv1.ListConnectionsRequest], stream *connect.ServerStream[weirv1.ListConnectionsResponse]) error {
	if r.Msg.Protocol != weirv1.Protocol_PROTOCOL_UNSPECIFIED {
		p, err := toProto(r.Msg.Protocol)
		if err != nil {
			return failure(err)
		}
		src, err1 := netip.ParseAddrPort(r.Msg.Source)
		dst, err2 := netip.ParseAddrPort(r.Msg.Target)
		if err1 != nil || err2 != nil {
			return failure(invalid("connection", "%q to %q: want ADDRESS:PORT for both", r.Msg.Source, r.Msg.Target))
		}
		if v, ok := s.director.FindConn(p, src, dst); ok {
			return stream.Send(&weirv1.ListConnectionsResponse{Connections: []*weirv1.Connection{fromConn(&v)}})
		}
		return nil
	}
	lot := &weirv1.ListConnectionsResponse{}
	var failed error
	s.director.Conns(func(v *director.ConnView) bool {
		lot.Connections = append(lot.Connections, fromConn(v))
		if len(lot.Connections) == connLot {
			failed = stream.Send(lot)
			lot = &weirv1.ListConnectionsResponse{}
		}
		return failed == nil
	})
	if failed == nil && len(lot.Connections) > 0 {
		failed = stream.Send(lot)
	}
	return failed
}

func fromConn(v *director.ConnView) *weirv1.Connection {
	return &weirv1.Connection{
		Worker: uint32(v.Worker), Protocol: weirv1.Protocol(v.Proto), State: v.State,
		TimeoutSeconds: uint32(v.Timeout.Round(time.Second) / time.Second), RemainingSeconds: uint32(v.Remaining.Round(time.Second) / time.Second),
		Client: v.Client.String(), Virtual: v.Virtual.String(), Local: v.Local.String(), Real: v.Real.String(),
	}
}

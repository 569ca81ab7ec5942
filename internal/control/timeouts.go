package control

import (
	"context"

	"connectrpc.com/connect"

	"weir/api/weirv1"
	"weir/internal/spec"
)

// GetTimeouts answers rpc GetTimeouts.
func (s *Server) GetTimeouts(context.Context, *connect.Request[weirv1.GetTimeoutsRequest]) (*connect.Response[weirv1.GetTimeoutsResponse], error) {
	t, set := s.director.Timeouts()
	return connect.NewResponse(&weirv1.GetTimeoutsResponse{
		Timeouts: &weirv1.Timeouts{Tcp: t.TCP.Established, TcpFin: t.TCP.FinWait, Udp: t.UDP.Normal},
		Set:      &weirv1.Timeouts{Tcp: set.TCP, TcpFin: set.TCPFin, Udp: set.UDP},
	}), nil
}

// SetTimeouts answers rpc SetTimeouts.
func (s *Server) SetTimeouts(_ context.Context, r *connect.Request[weirv1.SetTimeoutsRequest]) (*connect.Response[weirv1.SetTimeoutsResponse], error) {
	t := r.Msg.GetTimeouts()
	return change[weirv1.SetTimeoutsResponse](s, func(c *spec.Spec) error {
		return c.EditTimeouts(spec.SetTimeouts{TCP: t.GetTcp(), TCPFin: t.GetTcpFin(), UDP: t.GetUdp()})
	})
}

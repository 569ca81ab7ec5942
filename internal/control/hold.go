package control

import (
	"context"
	"fmt"
	"log/slog"

	"connectrpc.com/connect"

	"weir/api/weirv1"
	"weir/internal/spec"
)

// maxHolders bounds the streams of HoldAddresses that live at once.
const maxHolders = 1024

// HoldAddresses answers rpc HoldAddresses: it lasts as long as the caller, who may die
// of kill -9, or as this server.
func (s *Server) HoldAddresses(ctx context.Context, r *connect.Request[weirv1.HoldAddressesRequest], stream *connect.ServerStream[weirv1.HoldAddressesResponse]) error {
	if s.holders.Add(1) > maxHolders {
		s.holders.Add(-1)
		return failure(&spec.Refusal{Code: spec.NoResource, Object: "address", Why: fmt.Sprintf("%d programs hold addresses already: end one of them", maxHolders)})
	}
	defer s.holders.Add(-1)
	var held []spec.Address
	for _, m := range r.Msg.Addresses {
		a, err := toAddress(m)
		if err != nil {
			return failure(err)
		}
		held = append(held, a)
	}
	if len(held) > 0 {
		if err := s.director.Change(func(c *spec.Spec) error { return c.Hold(held) }); err != nil {
			return failure(err)
		}
		defer s.release(r.Msg.Holder, held)
	}
	if err := stream.Send(&weirv1.HoldAddressesResponse{}); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
	case <-s.ending:
	}
	return nil
}

// release ends a holder's time.
func (s *Server) release(holder string, held []spec.Address) {
	select {
	case <-s.ending:
		return // the director ends, and all of its addresses with it
	default:
	}
	err := s.director.Change(func(c *spec.Spec) error { c.Release(held); return nil })
	if err != nil {
		slog.Error(fmt.Sprintf("the addresses that %q held could not be removed", holder), "err", err)
	}
}

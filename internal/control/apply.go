package control

import (
	"context"
	"errors"
	"slices"

	"connectrpc.com/connect"

	"weir/api/weirv1"
	"weir/internal/spec"
)

// Apply answers rpc Apply: what its steps would do one after the other is one change
// of the director, compiled once. Changes of tunnels that follow each other are one step.
func (s *Server) Apply(ctx context.Context, r *connect.Request[weirv1.ApplyRequest]) (*connect.Response[weirv1.ApplyResponse], error) {
	steps := r.Msg.Steps
	edits := make([]func(*spec.Spec) error, len(steps))
	tunnels := make([]spec.TunnelChange, len(steps)) // of steps without an edit
	for i, step := range steps {
		var err error
		if m, is := step.GetChange().(*weirv1.Step_ChangeTunnel); is {
			tunnels[i], err = toTunnelChange(m.ChangeTunnel)
		} else {
			reader := &Server{director: s.director, version: s.version, collect: func(edit func(*spec.Spec) error) { edits[i] = edit }}
			err = reader.step(ctx, step)
		}
		if err != nil {
			return nil, failureOf(i+1, refusalIn(err))
		}
	}
	refused := 0
	err := s.director.Change(func(c *spec.Spec) error {
		for i := 0; i < len(steps); {
			end := i + 1
			if edit := edits[i]; edit != nil {
				err := edit(c)
				if err != nil && !(steps[i].GetMayBeThere() && (isThere(c, edit) || isSo(err))) {
					refused = i + 1
					return err
				}
			} else {
				for end < len(steps) && edits[end] == nil {
					end++
				}
				if at, err := c.ChangeTunnels(tunnels[i:end]); err != nil {
					refused = i + at + 1
					return err
				}
			}
			i = end
		}
		return nil
	})
	if err != nil {
		return nil, failureOf(refused, err)
	}
	return connect.NewResponse(&weirv1.ApplyResponse{}), nil
}

// isSo reports whether a member of a bond is not to be taken out, or put back, because
// it is out, or in, already.
func isSo(err error) bool {
	var r *spec.Refusal
	return errors.As(err, &r) && r.Object == "link" && (r.Code == spec.Exists || r.Code == spec.NotExists)
}

// isThere reports whether what an edit adds to the network is in c, exactly so: what it
// makes of nothing.
func isThere(c *spec.Spec, edit func(*spec.Spec) error) bool {
	alone := &spec.Spec{Ports: slices.Clone(c.Ports)}
	if edit(alone) != nil {
		// A device is not there yet when it is added.
		alone = &spec.Spec{Ports: slices.DeleteFunc(slices.Clone(c.Ports), func(name string) bool { return c.FindVLAN(name) != nil || c.FindTunnel(name) != nil })}
		if edit(alone) != nil {
			return false
		}
	}
	if len(alone.Services) > 0 {
		return false
	}
	found := 0
	for _, t := range alone.Tunnels {
		if slices.Contains(c.Tunnels, t) {
			found++
		}
	}
	for _, a := range alone.Addresses {
		if slices.ContainsFunc(c.Addresses, func(o spec.Address) bool { o.Held = spec.Held{}; return o == a }) {
			found++
		}
	}
	for _, r := range alone.Routes {
		if slices.Contains(c.Routes, r) {
			found++
		}
	}
	for _, v := range alone.VLANs {
		if slices.Contains(c.VLANs, v) {
			found++
		}
	}
	for _, n := range alone.Neighbours {
		if slices.Contains(c.Neighbours, n) {
			found++
		}
	}
	return found > 0 && found == len(alone.Addresses)+len(alone.Routes)+len(alone.Neighbours)+len(alone.VLANs)+len(alone.Tunnels)
}

// step reads a step that changes no tunnel as the call of its own would; each leaves one edit.
func (s *Server) step(ctx context.Context, m *weirv1.Step) (err error) {
	switch c := m.GetChange().(type) {
	case *weirv1.Step_AddAddress:
		_, err = s.AddAddress(ctx, connect.NewRequest(c.AddAddress))
	case *weirv1.Step_DeleteAddress:
		_, err = s.DeleteAddress(ctx, connect.NewRequest(c.DeleteAddress))
	case *weirv1.Step_FlushAddresses:
		_, err = s.FlushAddresses(ctx, connect.NewRequest(c.FlushAddresses))
	case *weirv1.Step_AddRoute:
		_, err = s.AddRoute(ctx, connect.NewRequest(c.AddRoute))
	case *weirv1.Step_DeleteRoute:
		_, err = s.DeleteRoute(ctx, connect.NewRequest(c.DeleteRoute))
	case *weirv1.Step_FlushRoutes:
		_, err = s.FlushRoutes(ctx, connect.NewRequest(c.FlushRoutes))
	case *weirv1.Step_AddNeighbour:
		_, err = s.AddNeighbour(ctx, connect.NewRequest(c.AddNeighbour))
	case *weirv1.Step_DeleteNeighbour:
		_, err = s.DeleteNeighbour(ctx, connect.NewRequest(c.DeleteNeighbour))
	case *weirv1.Step_SetLink:
		_, err = s.SetLink(ctx, connect.NewRequest(c.SetLink))
	case *weirv1.Step_AddService:
		_, err = s.AddService(ctx, connect.NewRequest(c.AddService))
	case *weirv1.Step_EditService:
		_, err = s.EditService(ctx, connect.NewRequest(c.EditService))
	case *weirv1.Step_DeleteService:
		_, err = s.DeleteService(ctx, connect.NewRequest(c.DeleteService))
	case *weirv1.Step_FlushServices:
		_, err = s.FlushServices(ctx, connect.NewRequest(c.FlushServices))
	case *weirv1.Step_AddDest:
		_, err = s.AddDest(ctx, connect.NewRequest(c.AddDest))
	case *weirv1.Step_EditDest:
		_, err = s.EditDest(ctx, connect.NewRequest(c.EditDest))
	case *weirv1.Step_DeleteDest:
		_, err = s.DeleteDest(ctx, connect.NewRequest(c.DeleteDest))
	case *weirv1.Step_AddLocalAddress:
		_, err = s.AddLocalAddress(ctx, connect.NewRequest(c.AddLocalAddress))
	case *weirv1.Step_DeleteLocalAddress:
		_, err = s.DeleteLocalAddress(ctx, connect.NewRequest(c.DeleteLocalAddress))
	case *weirv1.Step_AddAccess:
		_, err = s.AddAccess(ctx, connect.NewRequest(c.AddAccess))
	case *weirv1.Step_DeleteAccess:
		_, err = s.DeleteAccess(ctx, connect.NewRequest(c.DeleteAccess))
	case *weirv1.Step_AddVlan:
		_, err = s.AddVLAN(ctx, connect.NewRequest(c.AddVlan))
	case *weirv1.Step_DeleteVlan:
		_, err = s.DeleteVLAN(ctx, connect.NewRequest(c.DeleteVlan))
	case *weirv1.Step_SetTimeouts:
		_, err = s.SetTimeouts(ctx, connect.NewRequest(c.SetTimeouts))
	case *weirv1.Step_AddTunnel:
		_, err = s.AddTunnel(ctx, connect.NewRequest(c.AddTunnel))
	case *weirv1.Step_DeleteTunnel:
		_, err = s.DeleteTunnel(ctx, connect.NewRequest(c.DeleteTunnel))
	default:
		err = invalid("step", "a step says nothing, or what this director does not know")
	}
	return err
}

// refusalIn is the refusal that a call's error was made of.
func refusalIn(err error) error {
	var call *connect.Error
	if errors.As(err, &call) {
		return call.Unwrap()
	}
	return err
}

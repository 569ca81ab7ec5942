package control

import (
	"context"
	"fmt"
	"slices"

	"connectrpc.com/connect"

	"weir/api/weirv1"
	"weir/internal/spec"
)

// Tunnel devices.

// ListTunnels answers rpc ListTunnels.
func (s *Server) ListTunnels(_ context.Context, r *connect.Request[weirv1.ListTunnelsRequest]) (*connect.Response[weirv1.ListTunnelsResponse], error) {
	out := &weirv1.ListTunnelsResponse{}
	for _, t := range s.director.Spec().Tunnels {
		if r.Msg.Name == "" || r.Msg.Name == t.Name {
			out.Tunnels = append(out.Tunnels, fromTunnel(&t))
		}
	}
	if r.Msg.Name != "" && len(out.Tunnels) == 0 {
		return nil, failure(&spec.Refusal{Code: spec.NotExists, Object: "tunnel", Why: fmt.Sprintf("not exist: no tunnel is called %s", r.Msg.Name)})
	}
	return connect.NewResponse(out), nil
}

// AddTunnel answers rpc AddTunnel.
func (s *Server) AddTunnel(_ context.Context, r *connect.Request[weirv1.AddTunnelRequest]) (*connect.Response[weirv1.AddTunnelResponse], error) {
	t, err := toTunnel(r.Msg.Tunnel)
	if err != nil {
		return nil, failure(err)
	}
	return change[weirv1.AddTunnelResponse](s, func(c *spec.Spec) error { return c.AddTunnel(t) })
}

// ChangeTunnel answers rpc ChangeTunnel.
func (s *Server) ChangeTunnel(_ context.Context, r *connect.Request[weirv1.ChangeTunnelRequest]) (*connect.Response[weirv1.ChangeTunnelResponse], error) {
	t, err := toTunnelChange(r.Msg)
	if err != nil {
		return nil, failure(err)
	}
	return change[weirv1.ChangeTunnelResponse](s, func(c *spec.Spec) error { return c.ChangeTunnel(t.Name, t.Edit) })
}

func toTunnelChange(m *weirv1.ChangeTunnelRequest) (c spec.TunnelChange, err error) {
	t, err := toTunnel(m.GetTunnel())
	if err != nil {
		return c, err
	}
	for _, f := range m.GetFields() {
		if !slices.Contains(tunnelFields, f) {
			return c, invalid("tunnel", "a tunnel has no field %q: %v", f, tunnelFields)
		}
	}
	changes := func(field string) bool { return len(m.GetFields()) == 0 || slices.Contains(m.GetFields(), field) }
	return spec.TunnelChange{Name: t.Name, Edit: func(d *spec.TunnelDevice) {
		if t.Kind != "" {
			d.Kind = t.Kind
		}
		for _, f := range []struct {
			name string
			set  func()
		}{
			{"local", func() { d.Local = t.Local }},
			{"remote", func() { d.Remote = t.Remote }},
			{"device", func() { d.Link = t.Link }},
			{"ttl", func() { d.TTL = t.TTL }},
			{"tos", func() { d.TOS = t.TOS }},
			{"in", func() { d.In = t.In }},
			{"out", func() { d.Out = t.Out }},
		} {
			if changes(f.name) {
				f.set()
			}
		}
	}}, nil
}

var tunnelFields = []string{"local", "remote", "device", "ttl", "tos", "in", "out"}

// DeleteTunnel answers rpc DeleteTunnel.
func (s *Server) DeleteTunnel(_ context.Context, r *connect.Request[weirv1.DeleteTunnelRequest]) (*connect.Response[weirv1.DeleteTunnelResponse], error) {
	return change[weirv1.DeleteTunnelResponse](s, func(c *spec.Spec) error { return c.DeleteTunnel(r.Msg.Name) })
}

func toTunnel(m *weirv1.Tunnel) (t spec.TunnelDevice, err error) {
	if m == nil {
		return t, invalid("tunnel", "a tunnel is missing")
	}
	t = spec.TunnelDevice{Name: m.Name, Kind: spec.TunnelKind(m.Mode), Link: m.Device, In: toWords(m.In), Out: toWords(m.Out)}
	if m.Ttl > 255 || m.Tos > 255 {
		return t, invalid("tunnel", "ttl %d, tos %d: must be 0 to 255", m.Ttl, m.Tos)
	}
	t.TTL, t.TOS = uint8(m.Ttl), uint8(m.Tos)
	if m.Local != "" {
		if t.Local, err = toAddr("tunnel", m.Local); err != nil {
			return t, err
		}
	}
	if m.Remote != "" {
		t.Remote, err = toAddr("tunnel", m.Remote)
	}
	return t, err
}

func toWords(m *weirv1.TunnelWords) spec.TunnelFlags {
	return spec.TunnelFlags{Checksum: m.GetChecksum(), Sequence: m.GetSequence(), Keyed: m.GetKeyed(), Key: m.GetKey()}
}

func fromTunnel(t *spec.TunnelDevice) *weirv1.Tunnel {
	return &weirv1.Tunnel{
		Name: t.Name, Mode: string(t.Kind), Local: addrString(t.Local), Remote: addrString(t.Remote), Device: t.Link,
		Ttl: uint32(t.TTL), Tos: uint32(t.TOS), In: fromWords(t.In), Out: fromWords(t.Out),
	}
}

func fromWords(f spec.TunnelFlags) *weirv1.TunnelWords {
	if f == (spec.TunnelFlags{}) {
		return nil
	}
	return &weirv1.TunnelWords{Checksum: f.Checksum, Sequence: f.Sequence, Keyed: f.Keyed, Key: f.Key}
}

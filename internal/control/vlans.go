package control

import (
	"context"

	"connectrpc.com/connect"

	"weir/api/weirv1"
	"weir/internal/spec"
)

// VLAN devices.

// ListVLANs answers rpc ListVLANs.
func (s *Server) ListVLANs(_ context.Context, r *connect.Request[weirv1.ListVLANsRequest]) (*connect.Response[weirv1.ListVLANsResponse], error) {
	like, err := toVLAN(r.Msg.Like)
	if err != nil {
		return nil, failure(err)
	}
	if err := s.known(like.Link); err != nil {
		return nil, err
	}
	out := &weirv1.ListVLANsResponse{}
	for _, v := range s.director.Spec().VLANs {
		if (like.Name == "" || like.Name == v.Name) && (like.Link == "" || like.Link == v.Link) &&
			(like.Proto == 0 || like.Proto == v.Proto) && (like.ID == 0 || like.ID == v.ID) {
			out.Vlans = append(out.Vlans, &weirv1.VLAN{Name: v.Name, Link: v.Link, Proto: vlanProtos[v.Proto], Id: uint32(v.ID)})
		}
	}
	if like.Name != "" && len(out.Vlans) == 0 {
		return nil, failure(&spec.Refusal{Code: spec.NotExists, Object: "vlan", Why: "not exist: " + like.Name + " is no VLAN"})
	}
	return connect.NewResponse(out), nil
}

// AddVLAN answers rpc AddVLAN.
func (s *Server) AddVLAN(_ context.Context, r *connect.Request[weirv1.AddVLANRequest]) (*connect.Response[weirv1.AddVLANResponse], error) {
	v, err := toVLAN(r.Msg.Vlan)
	if err != nil {
		return nil, failure(err)
	}
	return change[weirv1.AddVLANResponse](s, func(c *spec.Spec) error { return c.AddVLAN(v) })
}

// DeleteVLAN answers rpc DeleteVLAN.
func (s *Server) DeleteVLAN(_ context.Context, r *connect.Request[weirv1.DeleteVLANRequest]) (*connect.Response[weirv1.DeleteVLANResponse], error) {
	v, err := toVLAN(r.Msg.Vlan)
	if err != nil {
		return nil, failure(err)
	}
	return change[weirv1.DeleteVLANResponse](s, func(c *spec.Spec) error { return c.DeleteVLAN(v) })
}

// vlanProtos are the words for a tag's protocol.
var vlanProtos = map[uint16]string{spec.Proto8021Q: "802.1q", spec.Proto8021AD: "802.1ad"}

// toVLAN reads a VLAN, of which anything may be left out.
func toVLAN(m *weirv1.VLAN) (v spec.VLAN, err error) {
	if m.GetId() > 4094 {
		return v, invalid("vlan", "id %d: must be 1 to 4094", m.GetId())
	}
	v = spec.VLAN{Name: m.GetName(), Link: m.GetLink(), ID: uint16(m.GetId())}
	switch m.GetProto() {
	case "":
	case vlanProtos[spec.Proto8021Q]:
		v.Proto = spec.Proto8021Q
	case vlanProtos[spec.Proto8021AD]:
		v.Proto = spec.Proto8021AD
	default:
		return v, invalid("vlan", "proto %q: must be 802.1q or 802.1ad", m.GetProto())
	}
	return v, nil
}

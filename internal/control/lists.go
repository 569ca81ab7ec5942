package control

import (
	"context"
	"net/netip"

	"connectrpc.com/connect"

	"weir/api/weirv1"
	"weir/internal/spec"
)

// Black- and whitelists of services.

func toKind(k weirv1.AccessKind) (spec.ListKind, error) {
	switch k {
	case weirv1.AccessKind_ACCESS_KIND_BLACKLIST:
		return spec.Blacklist, nil
	case weirv1.AccessKind_ACCESS_KIND_WHITELIST:
		return spec.Whitelist, nil
	case weirv1.AccessKind_ACCESS_KIND_UNSPECIFIED:
	}
	return 0, invalid("service", "list %d: must be the blacklist (1) or the whitelist (2)", k)
}

// ListAccess answers rpc ListAccess.
func (s *Server) ListAccess(_ context.Context, r *connect.Request[weirv1.ListAccessRequest]) (*connect.Response[weirv1.ListAccessResponse], error) {
	kinds := []spec.ListKind{spec.Blacklist, spec.Whitelist}
	if r.Msg.Kind != weirv1.AccessKind_ACCESS_KIND_UNSPECIFIED {
		kind, err := toKind(r.Msg.Kind)
		if err != nil {
			return nil, failure(err)
		}
		kinds = []spec.ListKind{kind}
	}
	var only *spec.ServiceKey
	if r.Msg.Key != nil {
		k, err := s.existing(r.Msg.Key)
		if err != nil {
			return nil, failure(err)
		}
		only = &k
	}
	out := &weirv1.ListAccessResponse{}
	wanted := s.director.Spec()
	for i := range wanted.Services {
		svc := &wanted.Services[i]
		if only != nil && svc.ServiceKey != *only {
			continue
		}
		for _, kind := range kinds {
			list := svc.List(kind)
			if len(list) == 0 {
				continue
			}
			m := &weirv1.AccessList{Key: fromKey(svc.ServiceKey), Kind: weirv1.AccessKind(kind)}
			for _, a := range list {
				m.Entries = append(m.Entries, a.String())
			}
			out.Lists = append(out.Lists, m)
		}
	}
	return connect.NewResponse(out), nil
}

func toAccess(m *weirv1.AccessList) (k spec.ServiceKey, kind spec.ListKind, clients []netip.Addr, err error) {
	if m == nil || len(m.Entries) == 0 {
		return k, 0, nil, invalid("service", "the entries of a list are missing")
	}
	if k, err = toKey(m.Key); err != nil {
		return k, 0, nil, err
	}
	if kind, err = toKind(m.Kind); err != nil {
		return k, 0, nil, err
	}
	for _, e := range m.Entries {
		a, err := needAddr(kind.String(), e)
		if err != nil {
			return k, 0, nil, err
		}
		clients = append(clients, a)
	}
	return k, kind, clients, nil
}

// AddAccess answers rpc AddAccess.
func (s *Server) AddAccess(_ context.Context, r *connect.Request[weirv1.AddAccessRequest]) (*connect.Response[weirv1.AddAccessResponse], error) {
	k, kind, clients, err := toAccess(r.Msg.List)
	if err != nil {
		return nil, failure(err)
	}
	return change[weirv1.AddAccessResponse](s, func(c *spec.Spec) error { return c.AddListed(k, kind, clients...) })
}

// DeleteAccess answers rpc DeleteAccess.
func (s *Server) DeleteAccess(_ context.Context, r *connect.Request[weirv1.DeleteAccessRequest]) (*connect.Response[weirv1.DeleteAccessResponse], error) {
	k, kind, clients, err := toAccess(r.Msg.List)
	if err != nil {
		return nil, failure(err)
	}
	return change[weirv1.DeleteAccessResponse](s, func(c *spec.Spec) error { return c.DeleteListed(k, kind, clients...) })
}

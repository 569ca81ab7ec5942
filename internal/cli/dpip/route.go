package dpip

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"connectrpc.com/connect"

	"weir/api/weirv1"
)

var routeCommands = []command{
	{names: []string{"show", "list"}, parse: parseRouteShow},
	{names: []string{"add"}, parse: parseRouteAdd},
	{names: []string{"del", "delete"}, parse: parseRouteDel},
	{names: []string{"flush"}, parse: parseRouteFlush},
	{names: []string{"set", "change", "replace"}, parse: refusal(
		"route set is not supported: delete the route with `dpip route del' and add it anew")},
}

// Bounds of a route's mtu: the least of RFC 791 and of RFC 8200, and the greatest length
// of a packet.
const minMTU, minMTU6, maxMTU = 68, 1280, 65535

func parseRouteAdd(of family, words []string) (action, error) {
	r, err := parseRoute("route add", of, words)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, s *session) error {
		_, err := s.dir.AddRoute(ctx, connect.NewRequest(&weirv1.AddRouteRequest{Route: r}))
		return err
	}, nil
}

func parseRouteDel(of family, words []string) (action, error) {
	r, err := parseRoute("route del", of, words)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, s *session) error {
		_, err := s.dir.DeleteRoute(ctx, connect.NewRequest(&weirv1.DeleteRouteRequest{Route: r}))
		return err
	}, nil
}

// routeWords are the words of a route before they are put together.
type routeWords struct {
	prefix     netip.Prefix
	all        bool // prefix is `default', of a family that the other words tell
	via, src   netip.Addr
	scope      weirv1.Scope
	scopeGiven bool
	local      bool
}

// parseRoute reads
//
//	PREFIX [via A] dev D [scope S] [mtu N] [src A] [metric N] [local]
func parseRoute(command string, of family, words []string) (*weirv1.Route, error) {
	var (
		r weirv1.Route
		w routeWords
	)
	err := grammar{
		form:    command + " PREFIX [via A] dev D [scope S] [mtu N] [src A] [metric N] [local]",
		operand: w.setPrefix,
		keywords: []keyword{
			key("via", takeHost(&w.via, "gateway")),
			key("dev", take(&r.Device, device)),
			key("scope", take(&w.scope, func(arg string) (weirv1.Scope, error) {
				w.scopeGiven = true
				return scope(arg, "host", "link", "global", "kni_host")
			})),
			key("mtu", takeNumber(&r.Mtu, "mtu", minMTU, maxMTU)),
			key("src", takeHost(&w.src, "src")),
			key("metric", takeNumber(&r.Metric, "metric", 0, 1<<32-1)),
			{names: []string{"local"}, flag: &w.local},
		},
	}.parse(words)
	if err != nil {
		return nil, err
	}
	if !w.all && !w.prefix.IsValid() {
		return nil, errors.New("missing prefix: give `default' or A[/LEN]")
	}
	if err := requireDevice(r.Device); err != nil {
		return nil, err
	}
	if err := w.resolveFamily(of); err != nil {
		return nil, err
	}
	if w.prefix.Addr().Is6() && r.Mtu != 0 && r.Mtu < minMTU6 {
		return nil, fmt.Errorf("invalid mtu %d: give a number from %d to %d, as IPv6 has it", r.Mtu, minMTU6, maxMTU)
	}
	if r.Scope, err = w.resolveScope(); err != nil {
		return nil, err
	}
	r.Prefix = w.prefix.String()
	if w.via.IsValid() {
		r.Via = w.via.String()
	}
	if w.src.IsValid() {
		r.Src = w.src.String()
	}
	return &r, nil
}

// setPrefix reads a route's PREFIX.
func (w *routeWords) setPrefix(arg string) (err error) {
	if arg == "default" {
		w.all = true
		return nil
	}
	w.prefix, err = destination(arg)
	return err
}

// resolveFamily gives `default` a family: that of -4 or -6, of the gateway, of the
// source, else IPv4; and refuses words of two families.
func (w *routeWords) resolveFamily(of family) error {
	if w.all {
		all := netip.IPv4Unspecified()
		if of == inet6 || of == 0 && (w.via.Is6() || !w.via.IsValid() && w.src.Is6()) {
			all = netip.IPv6Unspecified()
		}
		w.prefix = netip.PrefixFrom(all, 0)
	}
	to := w.prefix.Addr()
	switch {
	case w.via.IsValid() && w.via.Is4() != to.Is4():
		return fmt.Errorf("invalid gateway %s: a route to %s needs one of its own family", w.via, w.prefix)
	case w.src.IsValid() && w.src.Is4() != to.Is4():
		return fmt.Errorf("invalid src %s: a route to %s needs one of its own family", w.src, w.prefix)
	}
	return of.check(to)
}

// destination reads A[/LEN] without host bits.
func destination(arg string) (netip.Prefix, error) {
	p, _, err := prefix(arg)
	switch {
	case err != nil:
		return netip.Prefix{}, err
	case p != p.Masked():
		return netip.Prefix{}, fmt.Errorf("invalid prefix %s: it has bits beyond its length; did you mean %s?", arg, p.Masked())
	case p.Addr().IsUnspecified() && p.IsSingleIP():
		return netip.Prefix{}, fmt.Errorf("invalid prefix %s: the address of no host; did you mean default?", arg)
	case p.Addr().IsUnspecified():
		return p, nil
	}
	return p, unicast("prefix", p.Addr())
}

// resolveScope returns the route's scope. Without a word about it, a route to
// this machine is host, one through a gateway global, any other link.
func (w *routeWords) resolveScope() (weirv1.Scope, error) {
	scope := w.scope
	switch {
	case w.local && w.scopeGiven && scope != weirv1.Scope_SCOPE_HOST:
		return 0, fmt.Errorf("`local' means scope host, not %s: leave one out", scopeName(scope))
	case w.local:
		scope = weirv1.Scope_SCOPE_HOST
	case !w.scopeGiven && w.via.IsValid():
		scope = weirv1.Scope_SCOPE_GLOBAL
	case !w.scopeGiven:
		scope = weirv1.Scope_SCOPE_LINK
	}
	toHost := scope == weirv1.Scope_SCOPE_HOST || scope == weirv1.Scope_SCOPE_KNI_HOST
	switch {
	case toHost && !w.prefix.IsSingleIP():
		return 0, fmt.Errorf("scope %s is for one address: the prefix must be a /%d, not %s", scopeName(scope), w.prefix.Addr().BitLen(), w.prefix)
	case w.via.IsValid() && scope != weirv1.Scope_SCOPE_GLOBAL:
		return 0, fmt.Errorf("a route via a gateway has scope global, not %s: leave `via' or the scope out", scopeName(scope))
	case scope == weirv1.Scope_SCOPE_GLOBAL && !w.via.IsValid():
		// DPVS calls a route without a gateway link, whatever was said.
		return weirv1.Scope_SCOPE_LINK, nil
	}
	return scope, nil
}

func parseRouteFlush(of family, words []string) (action, error) {
	dev, err := parseFlush("route flush dev D", words)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, s *session) error {
		_, err := s.dir.FlushRoutes(ctx, connect.NewRequest(&weirv1.FlushRoutesRequest{Device: dev, Family: uint32(of.orIPv4())}))
		return err
	}, nil
}

func parseRouteShow(of family, words []string) (action, error) {
	dev, err := parseShow("route show [dev D]", words)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, s *session) error {
		routes, err := s.dir.ListRoutes(ctx, connect.NewRequest(&weirv1.ListRoutesRequest{Device: dev}))
		if err != nil {
			return err
		}
		for _, r := range routes.Msg.Routes {
			if of.orIPv4().shows(r.Prefix) {
				s.printRoute(r)
			}
		}
		return nil
	}, nil
}

// printRoute prints a route as one line, in DPVS's words of its family:
//
//	inet 10.0.0.0/16 via 0.0.0.0 src 0.0.0.0 dev dpdk1 mtu 1500 tos 0 scope link metric 0 proto auto
//	inet6 2001:db8::/64 src 2001:db8::1 dev dpdk1 mtu 1500 scope link
func (s *session) printRoute(r *weirv1.Route) {
	if !inet6.shows(r.Prefix) {
		s.printf("inet %s via %s src %s dev %s mtu %d tos %d scope %s metric %d proto %s\n",
			r.Prefix, orZero(r.Via), orZero(r.Src), r.Device, r.Mtu, r.Tos, scopeName(r.Scope), r.Metric, r.Proto)
		return
	}
	to := r.Prefix
	if to == "::/0" {
		to = "default"
	}
	s.printf("inet6 %s", to)
	for _, w := range [2][2]string{{"via", r.Via}, {"src", r.Src}} {
		if w[1] != "" {
			s.printf(" %s %s", w[0], w[1])
		}
	}
	s.printf(" dev %s", r.Device)
	if r.Mtu != 0 {
		s.printf(" mtu %d", r.Mtu)
	}
	s.printf(" scope %s\n", scopeName(r.Scope))
}

// orZero returns addr, or what is printed for none.
func orZero(addr string) string {
	if addr == "" {
		return "0.0.0.0"
	}
	return addr
}

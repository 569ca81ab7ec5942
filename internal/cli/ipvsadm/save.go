package ipvsadm

import (
	"context"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"connectrpc.com/connect"

	"weir/api/weirv1"
)

// box is everything that -S writes.
type box struct {
	addresses  []*weirv1.Address
	routes     []*weirv1.Route
	neighbours []*weirv1.Neighbour
	links      []*weirv1.Link
	services   []*weirv1.Service
}

// save prints the lines that bring the box back to what it is: addresses, routes, static
// neighbours, then each service with its local addresses and its real servers
// (so that no real server is ever without a local address). Addresses are always
// written in numbers, with or without -n: a restore must not depend on a name server.
func (env *Env) save(ctx context.Context) error {
	b, err := env.readBox(ctx)
	if err != nil {
		return err
	}
	return env.print(strings.Join(b.lines(), ""))
}

func (env *Env) readBox(ctx context.Context) (*box, error) {
	c := env.Client
	addresses, err := c.ListAddresses(ctx, connect.NewRequest(&weirv1.ListAddressesRequest{}))
	if err != nil {
		return nil, err
	}
	routes, err := c.ListRoutes(ctx, connect.NewRequest(&weirv1.ListRoutesRequest{}))
	if err != nil {
		return nil, err
	}
	neighbours, err := c.ListNeighbours(ctx, connect.NewRequest(&weirv1.ListNeighboursRequest{}))
	if err != nil {
		return nil, err
	}
	links, err := c.ListLinks(ctx, connect.NewRequest(&weirv1.ListLinksRequest{}))
	if err != nil {
		return nil, err
	}
	services, err := c.ListServices(ctx, connect.NewRequest(&weirv1.ListServicesRequest{}))
	if err != nil {
		return nil, err
	}
	return &box{
		addresses.Msg.GetAddresses(), routes.Msg.GetRoutes(), neighbours.Msg.GetNeighbours(),
		links.Msg.GetLinks(), services.Msg.GetServices(),
	}, nil
}

// lines returns the saved lines, each with its newline.
func (b *box) lines() []string {
	var out []string
	for _, a := range b.addresses {
		if !b.ofLocal(a) {
			out = append(out, addressLine(a))
		}
	}
	for _, r := range b.routes {
		if !b.derived(r) {
			out = append(out, b.routeLine(r))
		}
	}
	for _, n := range b.neighbours {
		if n.GetStatic() {
			out = append(out, join("dpip neigh add", n.GetAddress(), "lladdr", n.GetLladdr(), "dev", n.GetDevice()))
		}
	}
	for _, s := range b.services {
		out = append(out, serviceLines(s)...)
	}
	return out
}

// join writes a line of words.
func join(words ...string) string { return strings.Join(words, " ") + "\n" }

// figure appends "NAME N" to words unless n is zero, the default of everything saved.
func figure(words []string, name string, n uint32) []string {
	if n == 0 {
		return words
	}
	return append(words, name, strconv.FormatUint(uint64(n), 10))
}

// scopeNames are dpip's words.
var scopeNames = map[weirv1.Scope]string{
	weirv1.Scope_SCOPE_GLOBAL:   "global",
	weirv1.Scope_SCOPE_LINK:     "link",
	weirv1.Scope_SCOPE_HOST:     "host",
	weirv1.Scope_SCOPE_KNI_HOST: "kni_host",
	weirv1.Scope_SCOPE_SITE:     "site",
}

// ofLocal reports whether a -P line creates the address just as it is.
func (b *box) ofLocal(a *weirv1.Address) bool {
	prefix, err := netip.ParsePrefix(a.GetPrefix())
	if err != nil || !prefix.IsSingleIP() || !a.GetSapool() || a.GetBroadcast() != "" ||
		a.GetScope() != weirv1.Scope_SCOPE_GLOBAL || a.GetValidLft() != 0 || a.GetPreferredLft() != 0 {
		return false
	}
	return slices.ContainsFunc(b.services, func(s *weirv1.Service) bool {
		return slices.ContainsFunc(s.GetLocals(), func(l *weirv1.LocalAddress) bool {
			return l.GetDevice() == a.GetDevice() && addr(l.GetAddress()) == prefix.Addr()
		})
	})
}

func addressLine(a *weirv1.Address) string {
	words := []string{"dpip addr add", a.GetPrefix(), "dev", a.GetDevice()}
	if a.GetBroadcast() != "" {
		words = append(words, "broadcast", a.GetBroadcast())
	}
	words = figure(words, "valid_lft", a.GetValidLft())
	words = figure(words, "preferred_lft", a.GetPreferredLft())
	if a.GetScope() != weirv1.Scope_SCOPE_GLOBAL {
		words = append(words, "scope", scopeNames[a.GetScope()])
	}
	if a.GetSapool() {
		words = append(words, "sapool")
	}
	return join(words...)
}

// derived reports whether the route follows from an address: the address itself is a host
// route, its network a link route that speaks from the address. A route that was
// added by hand in the place of such a one differs by its source or its MTU.
func (b *box) derived(r *weirv1.Route) bool {
	prefix, err := netip.ParsePrefix(r.GetPrefix())
	if err != nil || gateway(r) || r.GetMetric() != 0 || !b.inheritsMTU(r) {
		return false
	}
	return slices.ContainsFunc(b.addresses, func(a *weirv1.Address) bool {
		own, err := netip.ParsePrefix(a.GetPrefix())
		if err != nil || a.GetDevice() != r.GetDevice() {
			return false
		}
		switch r.GetScope() {
		case weirv1.Scope_SCOPE_HOST:
			return prefix.IsSingleIP() && prefix.Addr() == own.Addr()
		case weirv1.Scope_SCOPE_LINK:
			return !own.IsSingleIP() && own.Masked() == prefix && addr(r.GetSrc()) == own.Addr()
		}
		return false
	})
}

// inheritsMTU reports whether the route is listed with its device's MTU, as those are
// that have none of their own.
func (b *box) inheritsMTU(r *weirv1.Route) bool {
	return r.GetMtu() == 0 || slices.ContainsFunc(b.links, func(l *weirv1.Link) bool {
		return l.GetName() == r.GetDevice() && l.GetMtu() == r.GetMtu()
	})
}

// unset reports whether an address of a route is none: it may be shown as 0.0.0.0.
func unset(text string) bool { return !addr(text).IsValid() || addr(text).IsUnspecified() }

// gateway reports whether the route goes through one.
func gateway(r *weirv1.Route) bool { return !unset(r.GetVia()) }

func (b *box) routeLine(r *weirv1.Route) string {
	prefix := r.GetPrefix()
	if prefix == "0.0.0.0/0" {
		prefix = "default"
	}
	words := []string{"dpip route add", prefix}
	implied := weirv1.Scope_SCOPE_LINK
	if gateway(r) {
		words = append(words, "via", r.GetVia())
		implied = weirv1.Scope_SCOPE_GLOBAL
	}
	words = append(words, "dev", r.GetDevice())
	if r.GetScope() != implied {
		words = append(words, "scope", scopeNames[r.GetScope()])
	}
	if !unset(r.GetSrc()) {
		words = append(words, "src", r.GetSrc())
	}
	if !b.inheritsMTU(r) {
		words = figure(words, "mtu", r.GetMtu())
	}
	return join(figure(words, "metric", r.GetMetric())...)
}

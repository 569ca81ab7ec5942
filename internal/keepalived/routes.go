package keepalived

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"connectrpc.com/connect"

	"weir/api/client"
	"weir/api/weirv1"
	"weir/internal/keepalived/vrrp"
	"weir/internal/spec"
)

// Routes of the file that are on ports: static ones, and those of instances that are master.

// routes are those that shall be there.
func (a *addresses) routes() []spec.Route {
	conf := a.d.file.Conf
	all := slices.Clone(conf.StaticRoutes)
	for _, in := range conf.Instances {
		if a.states[in.Name] == vrrp.Master {
			all = append(all, in.Routes...)
		}
	}
	return all
}

// alreadyThere is DPVS's code for it.
const alreadyThere = -3

// route makes the director have the routes that are wanted, and takes those away that are not
// any more. One that it has anyway is not ours, and stays.
func (d *remote) route(ctx context.Context, wanted []spec.Route) (refused []string, err error) {
	for _, r := range slices.Clone(d.routes) {
		if slices.Contains(wanted, r) {
			continue
		}
		if _, err := d.client.DeleteRoute(ctx, connect.NewRequest(&weirv1.DeleteRouteRequest{Route: fromRoute(r)})); err != nil && isEnd(err) {
			return nil, err
		}
		d.routes = slices.DeleteFunc(d.routes, func(o spec.Route) bool { return o == r })
	}
	for _, r := range wanted {
		if slices.Contains(d.routes, r) || slices.Contains(d.others, r) {
			continue
		}
		_, err := d.client.AddRoute(ctx, connect.NewRequest(&weirv1.AddRouteRequest{Route: fromRoute(r)}))
		detail, is := client.Detail(err)
		switch {
		case err == nil:
			d.routes = append(d.routes, r)
		case is && detail.GetCode() == alreadyThere:
			d.others = append(d.others, r)
		case is:
			refused = append(refused, fmt.Sprintf("route %s dev %s: %s", r.Prefix, r.Port, client.Message(err)))
		default:
			return nil, err
		}
	}
	return refused, nil
}

func fromRoute(r spec.Route) *weirv1.Route {
	text := func(a netip.Addr) string {
		if !a.IsValid() {
			return ""
		}
		return a.String()
	}
	return &weirv1.Route{
		Prefix: r.Prefix.String(), Via: text(r.Via), Src: text(r.Src), Device: r.Port, Mtu: uint32(r.MTU),
		Scope: weirv1.Scope(r.Scope), Metric: r.Metric,
	}
}

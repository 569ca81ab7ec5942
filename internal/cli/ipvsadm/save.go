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

// box is everything that -S writes, and what it asks about it.
type box struct {
	tunnels    []*weirv1.Tunnel
	addresses  []*weirv1.Address
	routes     []*weirv1.Route
	neighbours []*weirv1.Neighbour
	vlans      []*weirv1.VLAN
	services   []*weirv1.Service
	bonds      []*weirv1.SetLinkRequest // what of bonds was set at run time
	access     []*weirv1.AccessList
	timeouts   *weirv1.Timeouts // that were set

	locals   map[onDevice]bool // local addresses of services, as host prefixes
	networks map[onDevice]bool // of the addresses that have one
	mtus     map[string]uint32 // of the devices
}

// onDevice is a prefix on a device.
type onDevice struct {
	prefix netip.Prefix
	device string
}

// host is an address as a prefix.
func host(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

// save prints the lines that bring the box back to what it is: what of bonds is not as
// dpvs.conf says, VLANs and tunnel devices, routes that must
// come before their addresses, addresses, the other routes, static neighbours,
// then each service with its local addresses and its real servers (so that no
// real server is ever without a local address). Addresses are always written in
// numbers, with or without -n: a restore must not depend on a name server.
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
	tunnels, err := c.ListTunnels(ctx, connect.NewRequest(&weirv1.ListTunnelsRequest{}))
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
	vlans, err := c.ListVLANs(ctx, connect.NewRequest(&weirv1.ListVLANsRequest{}))
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
	access, err := c.ListAccess(ctx, connect.NewRequest(&weirv1.ListAccessRequest{}))
	if err != nil {
		return nil, err
	}
	timeouts, err := c.GetTimeouts(ctx, connect.NewRequest(&weirv1.GetTimeoutsRequest{}))
	if err != nil {
		return nil, err
	}
	b := &box{
		tunnels:   tunnels.Msg.GetTunnels(),
		addresses: addresses.Msg.GetAddresses(), routes: routes.Msg.GetRoutes(),
		neighbours: neighbours.Msg.GetNeighbours(), vlans: vlans.Msg.GetVlans(), services: services.Msg.GetServices(),
		access: access.Msg.GetLists(), timeouts: timeouts.Msg.GetSet(),
	}
	b.index(links.Msg.GetLinks())
	return b, nil
}

// index fills the maps.
func (b *box) index(links []*weirv1.Link) {
	b.locals, b.networks, b.mtus = map[onDevice]bool{}, map[onDevice]bool{}, map[string]uint32{}
	for _, l := range links {
		b.mtus[l.GetName()] = l.GetMtu()
		b.bonds = append(b.bonds, l.GetBond().GetChanged()...)
	}
	for _, s := range b.services {
		for _, l := range s.GetLocals() {
			b.locals[onDevice{host(addr(l.GetAddress())), l.GetDevice()}] = true
		}
	}
	for _, a := range b.addresses {
		if own := prefix(a.GetPrefix()); !own.IsSingleIP() {
			b.networks[onDevice{own.Masked(), a.GetDevice()}] = true
		}
	}
}

// prefix is the prefix of text: the zero one, which nothing else is, if it is none.
func prefix(text string) netip.Prefix {
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}

// lines returns the saved lines, each with its newline.
func (b *box) lines() []string {
	var out []string
	for _, c := range b.bonds {
		out = append(out, bondLine(c))
	}
	for _, v := range b.vlans {
		out = append(out, join("dpip vlan add", v.GetName(), "link", v.GetLink(), "proto", v.GetProto(), "id", strconv.Itoa(int(v.GetId()))))
	}
	b.routes = slices.DeleteFunc(b.routes, (*weirv1.Route).GetDerived)
	for _, t := range b.tunnels {
		out = append(out, tunnelLine(t))
	}
	for _, r := range b.routes {
		if b.instead(r) {
			out = append(out, b.routeLine(r))
		}
	}
	for _, a := range b.addresses {
		if !b.ofLocal(a) && !a.GetAutomatic() && !a.GetHeldOnly() {
			out = append(out, addressLine(a))
		}
	}
	for _, r := range b.routes {
		if !b.instead(r) {
			out = append(out, b.routeLine(r))
		}
	}
	for _, n := range b.neighbours {
		if n.GetStatic() {
			out = append(out, join("dpip neigh add", n.GetAddress(), "lladdr", n.GetLladdr(), "dev", n.GetDevice()))
		}
	}
	if line := timeoutsLine(b.timeouts); line != "" {
		out = append(out, line)
	}
	lists := map[string][]*weirv1.AccessList{}
	for _, l := range b.access {
		lists[keyText(l.GetKey())] = append(lists[keyText(l.GetKey())], l)
	}
	for _, s := range b.services {
		add := serviceLines(s)
		// Who is denied is so before there is anybody to talk to.
		out = append(out, add[0])
		out = append(out, accessLines(lists[keyText(s.GetKey())])...)
		out = append(out, add[1:]...)
	}
	return out
}

// bondLine is a line for a setting of a bond.
func bondLine(c *weirv1.SetLinkRequest) string {
	if c.GetItem() == "bond-slave-del" {
		return join("dpip link del", c.GetDevice(), "bond-slave", c.GetValue())
	}
	return join("dpip link set", c.GetDevice(), c.GetItem(), c.GetValue())
}

// keyText names a service in a map.
func keyText(k *weirv1.ServiceKey) string {
	return k.GetProtocol().String() + " " + k.GetAddress() + " " + strconv.Itoa(int(k.GetPort()))
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
	plain := a.GetSapool() && a.GetBroadcast() == "" && a.GetScope() == weirv1.Scope_SCOPE_GLOBAL &&
		a.GetValidLft() == 0 && a.GetPreferredLft() == 0
	return plain && b.locals[onDevice{prefix(a.GetPrefix()), a.GetDevice()}]
}

func addressLine(a *weirv1.Address) string {
	words := []string{"dpip addr add", a.GetPrefix(), "dev", a.GetDevice()}
	if a.GetBroadcast() != "" {
		words = append(words, "broadcast", a.GetBroadcast())
	}
	words = figure(words, "valid_lft", a.GetValidLft())
	words = figure(words, "preferred_lft", a.GetPreferredLft())
	implied := weirv1.Scope_SCOPE_GLOBAL
	if own := prefix(a.GetPrefix()).Addr(); own.Is6() && own.IsLinkLocalUnicast() {
		implied = weirv1.Scope_SCOPE_LINK
	}
	if a.GetScope() != implied {
		words = append(words, "scope", scopeNames[a.GetScope()])
	}
	if a.GetSapool() {
		words = append(words, "sapool")
	}
	return join(words...)
}

// instead reports whether the route was added by hand and stands in the place of a
// derived one: the director takes such a route only before the address.
func (b *box) instead(r *weirv1.Route) bool {
	at := onDevice{prefix(r.GetPrefix()), r.GetDevice()}
	return r.GetScope() == weirv1.Scope_SCOPE_LINK && b.networks[at]
}

// inheritsMTU reports whether the route is listed with its device's MTU, as those are
// that have none of their own.
func (b *box) inheritsMTU(r *weirv1.Route) bool {
	return r.GetMtu() == 0 || r.GetMtu() == b.mtus[r.GetDevice()]
}

// unset reports whether an address of a route is none: it may be shown as 0.0.0.0 or ::.
func unset(text string) bool { return !addr(text).IsValid() || addr(text).IsUnspecified() }

// gateway reports whether the route goes through one.
func gateway(r *weirv1.Route) bool { return !unset(r.GetVia()) }

func (b *box) routeLine(r *weirv1.Route) string {
	to := r.GetPrefix()
	if to == "0.0.0.0/0" {
		to = "default" // ::/0 stays, for its family would not be seen
	}
	words := []string{"dpip route add", to}
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

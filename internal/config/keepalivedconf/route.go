package keepalivedconf

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"weir/internal/spec"
)

// Routes and addresses of static_routes, static_ipaddress and virtual_routes. Those on a
// port of Weir are Weir's; the others are Linux's, and stock keepalived's to set.

// PortAddress is an address on a port.
type PortAddress struct {
	Port   string
	Prefix netip.Prefix
}

// ports are the names that the file itself calls ports of Weir.
func (c *Config) ports() []string {
	var all []string
	for _, in := range c.Instances {
		all = append(all, in.Port)
	}
	for _, g := range c.Locals {
		for _, r := range g.Ranges {
			all = append(all, r.Port)
		}
	}
	for _, g := range c.Tunnels {
		for _, t := range g.Tunnels {
			all = append(all, t.Name, t.Port)
		}
	}
	for i := range c.Servers {
		all = append(all, c.Servers[i].Match.In, c.Servers[i].Match.Out)
	}
	return slices.DeleteFunc(all, func(name string) bool { return name == "" })
}

// part takes what is on a port out of what stock is handed, when the whole file is known.
func (r *reader) part() {
	ports := r.cfg.ports()
	told := make(map[string]bool)
	for i := range r.stock {
		n := &r.stock[i]
		if n.keyword == "static_routes" || n.keyword == "static_ipaddress" {
			r.toLinux(n, ports, told)
		}
		switch n.keyword {
		case "static_routes":
			*n = without(n, func(c *node) bool {
				return onPort(c, ports) && r.route(c, "", &r.cfg.StaticRoutes)
			})
		case "static_ipaddress":
			*n = without(n, func(c *node) bool { return onPort(c, ports) && r.staticAddress(c) })
		case "vrrp_instance":
			in := r.instanceOf(n)
			if in == nil || in.Port == "" {
				continue
			}
			*n = without(n, func(*node) bool { return false })
			for j := range n.block {
				if list := &n.block[j]; list.keyword == "virtual_routes" {
					*list = without(list, func(c *node) bool {
						return (onPort(c, ports) || device(c) == "") && r.route(c, in.Port, &in.Routes)
					})
				}
			}
		}
	}
	r.stock = slices.DeleteFunc(r.stock, func(n node) bool {
		return (n.keyword == "static_routes" || n.keyword == "static_ipaddress") && len(n.block) == 0
	})
}

// toLinux warns of devices that may be meant to be ports: the file has ports, and does not name
// these among them.
func (r *reader) toLinux(n *node, ports []string, told map[string]bool) {
	for i := range n.block {
		name := device(&n.block[i])
		if name == "" || len(ports) == 0 || slices.Contains(ports, name) || strings.HasSuffix(name, ".kni") || told[name] {
			continue
		}
		told[name] = true
		r.warnf(n.block[i].pos, "%s %s is taken for a device of Linux: no dpdk_interface, no local address and no tunnel names it", n.keyword, shown(name))
	}
}

func (r *reader) instanceOf(n *node) *Instance {
	for i := range r.cfg.Instances {
		if in := &r.cfg.Instances[i]; len(n.args) > 0 && in.Name == n.args[0] {
			return in
		}
	}
	return nil
}

// device is what a line says behind "dev", or "".
func device(n *node) string {
	if i := slices.Index(n.args, "dev"); i >= 0 && i+1 < len(n.args) {
		return n.args[i+1]
	}
	return ""
}

func onPort(n *node, ports []string) bool { return slices.Contains(ports, device(n)) }

// staticAddress reads "IP[/LENGTH] dev PORT".
func (r *reader) staticAddress(n *node) bool {
	p, ok := prefixOf(n.keyword)
	if !ok {
		r.errorf(n.pos, "%s is not an address IP or IP/LENGTH", shown(n.keyword))
		return true
	}
	for i := 0; i < len(n.args); i += 2 {
		if word := n.args[i]; word != "dev" {
			r.warnf(n.pos, "%s is ignored: an address of a port has none", shown(word))
		}
	}
	r.cfg.StaticAddresses = append(r.cfg.StaticAddresses, PortAddress{device(n), p})
	return true
}

// prefixOf reads an address with or without the length of its link's prefix.
func prefixOf(text string) (p netip.Prefix, ok bool) {
	p, err := netip.ParsePrefix(text)
	if err != nil {
		var a netip.Addr
		if a, err = netip.ParseAddr(text); err == nil {
			p = netip.PrefixFrom(a.WithZone(""), a.BitLen())
		}
	}
	return p, err == nil && !p.Addr().Is4In6()
}

// scopes that a route of Weir may have, by stock's words.
var scopes = map[string]spec.Scope{"global": spec.ScopeGlobal, "link": spec.ScopeLink, "host": spec.ScopeHost}

// route reads "[to] PREFIX|default [via IP] [dev PORT] [src IP] [scope WORD] [metric N] [mtu N]".
// It always returns true: the line is Weir's, be it good or bad.
func (r *reader) route(n *node, port string, dst *[]spec.Route) bool {
	out := spec.Route{Port: port}
	said := false
	words := append([]string{n.keyword}, n.args...)
	for i := 0; i < len(words); i++ {
		word := words[i]
		value := func() string {
			if i++; i < len(words) {
				return words[i]
			}
			return ""
		}
		ok := true
		switch word {
		case "to":
		case "via", "gw":
			v := value()
			if v == "inet" || v == "inet6" {
				v = value()
			}
			out.Via, ok = addrOf(v)
		case "src":
			out.Src, ok = addrOf(value())
		case "dev", "oif":
			out.Port = value()
		case "scope":
			out.Scope, ok = scopes[value()]
		case "metric", "priority", "preference":
			out.Metric, ok = count(value())
		case "mtu":
			v := value()
			if v == "lock" {
				v = value()
			}
			var mtu uint32
			mtu, ok = count(v)
			out.MTU = int(mtu)
		default:
			out.Prefix, ok = destination(word, words)
			if ok = ok && !said; ok {
				said = true
			}
		}
		if !ok {
			r.errorf(n.pos, "route of port %s: %s is not understood: write \"PREFIX [via IP] dev PORT [src IP] [scope global|link|host] [metric N] [mtu N]\"", device(n), shown(word))
			return true
		}
	}
	if !said {
		r.errorf(n.pos, "route of port %s has no prefix: write \"PREFIX [via IP] dev PORT\"", device(n))
		return true
	}
	if !slices.Contains(words, "scope") && !out.Via.IsValid() {
		out.Scope = spec.ScopeLink // as Linux takes a route without a gateway
	}
	*dst = append(*dst, out)
	return true
}

// destination reads where a route leads; the family of "default" is that of the gateway.
func destination(word string, words []string) (netip.Prefix, bool) {
	if word == "default" || word == "default6" {
		six := word == "default6"
		for _, w := range words {
			if a, ok := addrOf(w); ok && a.Is6() {
				six = true
			}
		}
		if six {
			return netip.PrefixFrom(netip.IPv6Unspecified(), 0), true
		}
		return netip.PrefixFrom(netip.IPv4Unspecified(), 0), true
	}
	p, ok := prefixOf(word)
	return p.Masked(), ok
}

func count(text string) (uint32, bool) {
	n, err := strconv.ParseUint(text, 10, 32)
	return uint32(n), err == nil
}

func addrOf(text string) (netip.Addr, bool) {
	a, err := netip.ParseAddr(text)
	return a, err == nil
}

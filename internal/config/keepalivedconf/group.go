package keepalivedconf

import (
	"net/netip"
	"strconv"
	"strings"
)

// localGroup reads lines of "IP[-LAST] PORT".
func (r *reader) localGroup(n *node, name string) {
	g := LocalGroup{Name: name}
	for i := range n.block {
		c := &n.block[i]
		if len(c.args) != 1 || c.isBlock() {
			r.errorf(c.pos, "local_address_group %s: write \"IP DEVICE\" or \"IP-LAST DEVICE\"", shown(name))
			continue
		}
		if s, ok := r.span(c, c.keyword); ok {
			g.Ranges = append(g.Ranges, LocalRange{s, c.args[0]})
		}
	}
	r.cfg.Locals = append(r.cfg.Locals, g)
}

// listGroup reads lines of "IP[-LAST]" and "ipset:SET".
func (r *reader) listGroup(dst *[]ListGroup) func(n *node, name string) {
	return func(n *node, name string) {
		g := ListGroup{Name: name}
		for i := range n.block {
			c := &n.block[i]
			set, isSet := strings.CutPrefix(c.keyword, "ipset:")
			switch {
			case len(c.args) != 0 || c.isBlock() || isSet && set == "":
				r.errorf(c.pos, "%s %s: write \"IP\", \"IP-LAST\" or \"ipset:SET\" on a line", n.keyword, shown(name))
			case isSet:
				g.Sets = append(g.Sets, set)
			default:
				if s, ok := r.span(c, c.keyword); ok {
					g.Ranges = append(g.Ranges, s)
				}
			}
		}
		*dst = append(*dst, g)
	}
}

// tunnelGroup reads tunnel_entry blocks.
func (r *reader) tunnelGroup(n *node, name string) {
	g := TunnelGroup{Name: name}
	r.read("tunnel_group", n.block, rules{"tunnel_entry": r.group(func(e *node, device string) {
		t := TunnelDevice{Name: device}
		before := len(r.errors)
		r.read("tunnel_entry", e.block, rules{
			"kind":   r.choice(&t.Kind, "ipip", "gre"),
			"local":  r.addr(func(a netip.Addr) { t.Local = a }),
			"remote": r.addr(func(a netip.Addr) { t.Remote = a }),
			"if":     r.text(&t.Port),
		})
		switch {
		case len(r.errors) > before:
		case t.Kind == "":
			r.errorf(e.pos, "tunnel_entry %s needs a kind: write \"kind ipip\" or \"kind gre\"", shown(device))
		case !t.Local.IsValid() || !t.Remote.IsValid():
			r.errorf(e.pos, "tunnel_entry %s needs its two ends: write \"local IP\" and \"remote IP\"", shown(device))
		case t.Local.Is4() != t.Remote.Is4():
			r.errorf(e.pos, "tunnel_entry %s: local %s and remote %s are not of one family", shown(device), t.Local, t.Remote)
		}
		g.Tunnels = append(g.Tunnels, t)
	})})
	r.cfg.Tunnels = append(r.cfg.Tunnels, g)
}

// serverGroup reads lines of "RANGE [PORT]" and "fwmark N [inet|inet6]".
func (r *reader) serverGroup(n *node, name string) {
	g := ServerGroup{Name: name}
	for i := range n.block {
		c := &n.block[i]
		switch {
		case c.isBlock() || len(c.args) > 2 || len(c.args) == 2 && c.keyword != "fwmark":
			r.errorf(c.pos, "virtual_server_group %s: write \"IP PORT\", \"IP-LAST PORT\" or \"fwmark N\" on a line", shown(name))
		case c.keyword == "fwmark":
			m := Member{}
			if len(c.args) == 2 {
				if m.Family = c.args[1]; m.Family != "inet" && m.Family != "inet6" {
					r.errorf(c.pos, "fwmark: %s is neither inet nor inet6", shown(m.Family))
					continue
				}
			}
			if mark, ok := r.markOf(c, c.args[:min(1, len(c.args))]); ok {
				m.Mark = mark
				g.Members = append(g.Members, m)
			}
		default:
			m := Member{}
			var ok bool
			if m.Range, ok = r.span(c, c.keyword); ok && len(c.args) == 1 {
				m.Port, ok = r.portOf(c, c.args[0], 0)
			}
			if ok {
				g.Members = append(g.Members, m)
			}
		}
	}
	if len(n.block) == 0 {
		r.warnf(n.pos, "virtual_server_group %s is empty: virtual servers of it serve nothing", shown(name))
	}
	r.cfg.Groups = append(r.cfg.Groups, g)
}

// markOf reads a firewall mark.
func (r *reader) markOf(n *node, args []string) (uint32, bool) {
	if len(args) == 1 {
		if v, err := strconv.ParseUint(args[0], 10, 32); err == nil && v > 0 {
			return uint32(v), true
		}
	}
	r.errorf(n.pos, "fwmark needs a number from 1 to %d", uint32(maxUint32))
	return 0, false
}

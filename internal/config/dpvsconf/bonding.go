package dpvsconf

import (
	"slices"
	"strings"

	"weir/internal/config/block"
	"weir/internal/spec"
)

// bondPlace is where a bonding block says what.
type bondPlace struct {
	index   int
	pos     block.Pos
	slaves  []block.Pos
	primary *block.Pos // nil: not said
}

// bonding reads a bonding block: a port of several devices.
func (r *reader) bonding(n *block.Node, name string) {
	if !r.interfaceName(n.Pos, "bonding", name) {
		return
	}
	if before, again := r.bonds[name]; again {
		r.errorf(n.Pos, "bonding %s is already at %s: give each bond one block", name, before.pos)
		return
	}
	b := spec.DefaultBond(name)
	at := bondPlace{index: len(r.cfg.Boot.Bonds), pos: n.Pos}
	rate := "fast"
	slave := func(n *block.Node) {
		if len(n.Args) == 0 || n.IsBlock() {
			r.errorf(n.Pos, "slave needs the name of a device")
			return
		}
		for _, v := range n.Args {
			b.Members = append(b.Members, v)
			at.slaves = append(at.slaves, n.Pos)
		}
	}
	// A slave is said once for each, which is no mistake.
	var rest []block.Node
	for i := range n.Block {
		if n.Block[i].Keyword == "slave" {
			slave(&n.Block[i])
		} else {
			rest = append(rest, n.Block[i])
		}
	}
	r.read("bonding "+name, rest, rules{
		"mode":  r.bondMode(&b.Mode),
		"slave": slave, // read above; here so that a misspelt one is recognized
		"primary": func(n *block.Node) {
			if v, ok := r.one(n); ok {
				b.Primary, at.primary = v, &n.Pos
			}
		},
		"numa_node":             r.without(number(r, new(int), 0, 1023, "0"), noDPDK),
		"kni_name":              r.interfaceNamed(&b.KNIName),
		"options":               r.bondOptions,
		"xmit_policy":           choice(r, &b.XmitPolicy, spec.XmitPolicies...),
		"link_monitor_interval": number(r, &b.MonitorInterval, 1, spec.MaxMonitorInterval, "10"),
		"link_up_delay":         number(r, &b.UpDelay, 0, spec.MaxLinkDelay, "0"),
		"link_down_delay":       number(r, &b.DownDelay, 0, spec.MaxLinkDelay, "0"),
		"lacp_rate":             choice(r, &rate, "slow", "fast"),
		"ad_select":             choice(r, &b.ADSelect, spec.ADSelections...),
		"system_priority":       r.systemPriority(&b.SystemPriority),
	})
	b.LACPFast = rate == "fast"
	if at.primary != nil && b.Mode != 1 {
		r.warnf(*at.primary, "primary is ignored: it is of mode 1, and bonding %s has mode %d", name, b.Mode)
	}
	if r.bonds == nil {
		r.bonds = make(map[string]bondPlace)
	}
	r.bonds[name] = at
	r.cfg.Boot.Bonds = append(r.cfg.Boot.Bonds, b)
}

// bondMode reads the number of a mode, as DPVS has it.
func (r *reader) bondMode(dst *uint8) rule {
	return func(n *block.Node) {
		v, ok := r.one(n)
		if !ok {
			return
		}
		mode, ok := r.integer(n, v, 0, 6, "0")
		if !ok {
			return
		}
		if why := spec.WhyNoMode(mode); why != "" {
			r.errorf(n.Pos, "%s", why)
			return
		}
		*dst = uint8(mode)
	}
}

func (r *reader) systemPriority(dst *uint16) rule {
	return func(n *block.Node) {
		if v, ok := r.one(n); ok {
			if i, ok := r.integer(n, v, 1, 65535, "65535"); ok {
				*dst = uint16(i)
			}
		}
	}
}

// bondOptions reads DPVS's list of NAME=VALUE with semicolons. There is one option, and it
// has no meaning here.
func (r *reader) bondOptions(n *block.Node) {
	v, ok := r.one(n)
	if !ok {
		return
	}
	for _, option := range strings.Split(v, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(option), "=")
		switch {
		case name == "":
		case name != "dedicated_queues":
			r.errorf(n.Pos, "options: %s is none; there is dedicated_queues=on|off", shown(name))
		case value != "on" && value != "off":
			r.errorf(n.Pos, "options: dedicated_queues is on or off, not %s", shown(value))
		default:
			r.warnf(n.Pos, "options: dedicated_queues is not needed by weir and is ignored: LACP is read from all queues")
		}
	}
}

// bondOf returns the bond that has a device for a slave, or nil.
func (r *reader) bondOf(device string) *spec.Bond {
	for i := range r.cfg.Boot.Bonds {
		if b := &r.cfg.Boot.Bonds[i]; slices.Contains(b.Members, device) {
			return b
		}
	}
	return nil
}

// checkBonds looks at the bonds beside the devices.
func (r *reader) checkBonds() {
	owner := make(map[string]string) // of a slave: its bond
	for i := range r.cfg.Boot.Bonds {
		b := &r.cfg.Boot.Bonds[i]
		at := r.bonds[b.Name]
		if d, taken := r.devices[b.Name]; taken {
			r.errorf(at.pos, "bonding %s has the name of the device at %s: give it another", b.Name, d.pos)
		}
		switch n := len(b.Members); {
		case n == 0:
			r.errorf(at.pos, "bonding %s has no slave: add \"slave NAME\" for each device that it is made of", b.Name)
		case n > spec.MaxBondMembers:
			r.errorf(at.slaves[spec.MaxBondMembers], "bonding %s has more than %d slaves", b.Name, spec.MaxBondMembers)
		}
		for j, s := range b.Members {
			switch _, device := r.devices[s]; {
			case owner[s] == b.Name:
				r.errorf(at.slaves[j], "bonding %s has slave %s twice", b.Name, shown(s))
			case owner[s] != "":
				r.errorf(at.slaves[j], "device %s is a slave of %s already: it can be in one bond", shown(s), owner[s])
			case !device:
				r.noSuchSlave(at.slaves[j], b.Name, s)
			}
			owner[s] = b.Name
		}
		if b.Primary != "" && !slices.Contains(b.Members, b.Primary) {
			r.errorf(*at.primary, "primary %s is no slave of bonding %s", shown(b.Primary), b.Name)
		}
	}
}

func (r *reader) noSuchSlave(at block.Pos, bond, slave string) {
	var names []string
	for _, d := range r.cfg.Boot.Devices {
		names = append(names, d.Name)
	}
	if near := block.Nearest(slave, names); near != "" {
		r.errorf(at, "bonding %s has slave %s, but there is no such device: did you mean %s?", bond, shown(slave), near)
		return
	}
	r.errorf(at, "bonding %s has slave %s, but there is no such device: add \"device %s { ... }\" to netif_defs", bond, shown(slave), shown(slave))
}

package keepalivedconf

import (
	"cmp"
	"net/netip"
	"reflect"
	"slices"
)

// Changes leads from one Config to another. All lists are in the order of the
// new file, what was removed in that of the old.
type Changes struct {
	Added   []VirtualServer
	Removed []VirtualServer
	Changed []ServerChange

	Groups    bool // local, deny, allow, tunnel or server groups differ
	Global    bool // global_defs or SSL differ in what concerns checks
	Instances bool // ports, addresses or routes of vrrp_instances or static ones differ
	Stock     bool // stock keepalived must read its file again
}

// ServerChange is a virtual server of both files that is not the same.
type ServerChange struct {
	Old, New VirtualServer
	Settings bool // something beside its real servers differs

	Added   []RealServer
	Removed []RealServer
	Changed []RealChange
}

// RealChange is a real server of both files that is not the same.
type RealChange struct {
	Old, New RealServer
	Settings bool // something beside its checkers differs
	Checkers bool // the checkers differ
}

// Empty reports whether nothing is to be done.
func (c *Changes) Empty() bool { return reflect.DeepEqual(*c, Changes{}) }

// Diff returns what leads from old to new.
func Diff(old, new *Config) Changes {
	c := Changes{
		Groups: !reflect.DeepEqual(old.Locals, new.Locals) || !reflect.DeepEqual(old.Deny, new.Deny) ||
			!reflect.DeepEqual(old.Allow, new.Allow) || !reflect.DeepEqual(old.Tunnels, new.Tunnels) ||
			!reflect.DeepEqual(old.Groups, new.Groups),
		Global: old.Global != new.Global || old.TLS != new.TLS,
		Instances: !reflect.DeepEqual(old.Instances, new.Instances) || !reflect.DeepEqual(old.StaticAddresses, new.StaticAddresses) ||
			!reflect.DeepEqual(old.StaticRoutes, new.StaticRoutes),
		Stock: old.Stock != new.Stock,
	}
	was := make(map[string]VirtualServer, len(old.Servers))
	for _, vs := range old.Servers {
		was[vs.Key()] = vs
	}
	for _, vs := range new.Servers {
		before, there := was[vs.Key()]
		delete(was, vs.Key())
		switch {
		case !there:
			c.Added = append(c.Added, vs)
		case !reflect.DeepEqual(before, vs):
			c.Changed = append(c.Changed, serverChange(before, vs))
		}
	}
	for _, vs := range old.Servers {
		if _, gone := was[vs.Key()]; gone {
			c.Removed = append(c.Removed, vs)
		}
	}
	return c
}

func serverChange(old, new VirtualServer) ServerChange {
	c := ServerChange{Old: old, New: new}
	old.Reals, new.Reals = nil, nil
	c.Settings = !reflect.DeepEqual(old, new)
	was := make(map[netip.AddrPort]RealServer, len(c.Old.Reals))
	for _, rs := range c.Old.Reals {
		was[rs.Addr] = rs
	}
	for _, rs := range c.New.Reals {
		before, there := was[rs.Addr]
		delete(was, rs.Addr)
		switch {
		case !there:
			c.Added = append(c.Added, rs)
		case !reflect.DeepEqual(before, rs):
			c.Changed = append(c.Changed, realChange(before, rs))
		}
	}
	for _, rs := range was {
		c.Removed = append(c.Removed, rs)
	}
	slices.SortFunc(c.Removed, func(a, b RealServer) int {
		return cmp.Compare(index(c.Old.Reals, a), index(c.Old.Reals, b))
	})
	return c
}

func index(all []RealServer, rs RealServer) int {
	return slices.IndexFunc(all, func(o RealServer) bool { return o.Addr == rs.Addr })
}

func realChange(old, new RealServer) RealChange {
	c := RealChange{Old: old, New: new, Checkers: !reflect.DeepEqual(old.Checkers, new.Checkers)}
	old.Checkers, new.Checkers = nil, nil
	c.Settings = !reflect.DeepEqual(old, new)
	return c
}

package keepalivedconf

import (
	"fmt"

	"weir/internal/config/block"
	"weir/internal/spec"
)

// check holds what stands in different blocks: names that are used are there, and
// no two virtual servers are for the same.
func (r *reader) check() {
	if r.fifos[0].Line > 0 && r.fifos[1].Line > 0 {
		r.errorf(r.fifos[1], "weir needs one of notify_fifo and vrrp_notify_fifo for itself: use one of the two")
	}
	seen := make(map[string]block.Pos)
	for i := range r.cfg.Servers {
		vs, at := &r.cfg.Servers[i], &r.servers[i]
		r.known(at.pos, "virtual_server_group", vs.Group)
		r.known(at.local, "local_address_group", vs.LocalGroup)
		r.known(at.deny, "deny_address_group", vs.DenyGroup)
		r.known(at.allow, "allow_address_group", vs.AllowGroup)
		key := vs.Key()
		if before, again := seen[key]; again {
			r.errorf(at.pos, "virtual_server %s is there already at %s: join the two", key, before)
			continue
		}
		seen[key] = at.pos
		if vs.LocalGroup != "" && vs.Method.Forward == spec.SNAT {
			r.warnf(at.local, "laddr_group_name is ignored: addresses of SNAT are its real servers")
		}
	}
}

// known refuses the name of a group that is nowhere.
func (r *reader) known(at block.Pos, keyword, name string) {
	if _, ok := r.named[keyword+" "+name]; name != "" && !ok {
		r.errorf(at, "there is no %s %s: write \"%s %s { ... }\"", keyword, shown(name), keyword, shown(name))
	}
}

// Key names a virtual server among those of a file: protocol and target. The label
// of a match is no part of it.
func (vs *VirtualServer) Key() string {
	switch {
	case vs.Group != "":
		return fmt.Sprintf("%s group %s", vs.Proto, vs.Group)
	case vs.Mark != 0:
		return fmt.Sprintf("%s fwmark %d %s", vs.Proto, vs.Mark, vs.Family)
	}
	return spec.ServiceKey{Proto: vs.Proto, Virtual: vs.Virtual, Match: vs.Match}.String()
}

package keepalivedconf

import (
	"net/netip"
	"slices"

	"weir/internal/spec"
)

// real reads a real_server.
func (s *serverReader) real(n *node) {
	if !n.isBlock() {
		s.errorf(n.pos, "real_server needs a block: write \"real_server IP PORT { ... }\"")
		return
	}
	addr, ok := s.endpoint(n, n.args)
	if !ok {
		return
	}
	if slices.ContainsFunc(s.vs.Reals, func(o RealServer) bool { return o.Addr == addr }) {
		s.errorf(n.pos, "real_server %s is there already: remove one of the two", addr)
		return
	}
	s.place.reals[addr] = n.pos
	in := s.in
	rs := RealServer{Addr: addr}
	var checkers []*node
	rules := s.timing(&in, 1)
	more := map[string]rule{
		"weight":             s.uint32(&in.weight, 0, maxWeight),
		"lvs_method":         s.method(&in.method),
		"lb_kind":            s.method(&in.method),
		"uthreshold":         s.uint32(&rs.UThreshold, 0, maxUint32),
		"lthreshold":         s.uint32(&rs.LThreshold, 0, maxUint32),
		"inhibit_on_failure": s.flag(&in.inhibit),
		"notify_up":          s.script(&rs.NotifyUp),
		"notify_down":        s.script(&rs.NotifyDown),
		"smtp_alert":         s.ignored("no mail is sent; notify_up and notify_down can"),
		"virtualhost":        s.text(&in.host),
		"snmp_name":          s.ignored("there is no SNMP; see the metrics"),
		"BFD_CHECK":          s.refused("a server that is never checked would always be up; use TCP_CHECK or PING_CHECK"),
		"FILE_CHECK":         s.refused("a server that is never checked would always be up; use MISC_CHECK with misc_dynamic"),
	}
	for _, k := range kinds {
		more[string(k)] = func(c *node) { checkers = append(checkers, c) }
	}
	for word, do := range more {
		rules[word] = do
	}
	s.read("real_server", n.block, rules)
	rs.Method, rs.Weight, rs.Alpha, rs.Inhibit = in.method, in.weight, in.alpha, in.inhibit
	if s.vs.Label != "" && addr.Port() != 0 {
		s.errorf(n.pos, "real_server of a match is an address of the outside: its port must be 0")
	}
	if rs.LThreshold > rs.UThreshold && rs.UThreshold != 0 {
		s.errorf(n.pos, "real_server %s: lthreshold %d is greater than uthreshold %d", addr, rs.LThreshold, rs.UThreshold)
	}
	for _, c := range checkers {
		s.checker(c, &rs, in)
	}
	s.vs.Reals = append(s.vs.Reals, rs)
}

// check holds a virtual server whose lines are all well formed.
func (s *serverReader) check(n *node) {
	vs := &s.vs
	fail := func(format string, args ...any) { s.errorf(n.pos, "virtual_server: "+format, args...) }
	isMatch := vs.Label != ""
	switch {
	case !isMatch && vs.Match != spec.Match{}:
		fail("src-range, dst-range, iif and oif are for \"virtual_server match NAME\"")
	case isMatch && vs.Method.Forward != spec.SNAT, !isMatch && vs.Method.Forward == spec.SNAT:
		fail("lb_kind SNAT and match belong together")
	case isMatch && vs.Match == spec.Match{}:
		fail("match %s selects nothing: write src-range, dst-range, iif or oif", shown(vs.Label))
	case vs.Virtual.IsValid() && vs.Virtual.Port() == 0 && vs.Persistent == 0 && vs.Proto != spec.ICMP && vs.Proto != spec.ICMPv6:
		fail("port 0 (every port) needs persistence_timeout")
	case vs.OnePacket && vs.Proto != spec.UDP:
		fail("ops is for protocol UDP only")
	case vs.QUIC && vs.Proto != spec.UDP:
		fail("quic is for protocol UDP only")
	case vs.UOA != "" && vs.Proto != spec.UDP:
		fail("uoa is for protocol UDP only")
	case vs.SynProxy && vs.Proto != spec.TCP:
		fail("syn_proxy is for protocol TCP only")
	case vs.HashTarget != "" && vs.Scheduler != "conhash":
		fail("hash_target is for lb_algo conhash only")
	case vs.HashTarget == "qid" && vs.Proto != spec.UDP:
		fail("hash_target qid is for protocol UDP only")
	case vs.ProxyProtocol != "" && vs.Method.Forward != spec.FullNAT:
		fail("proxy_protocol is for lb_kind FNAT only")
	}
	if isMatch {
		s.matchFamily(fail)
	}
	s.families(fail)
	if !slices.ContainsFunc(vs.Reals, func(rs RealServer) bool { return rs.Weight > 0 }) && vs.Quorum == 1 {
		return // nothing to hold a quorum of
	}
	sum := uint64(0)
	for _, rs := range vs.Reals {
		sum += uint64(rs.Weight)
	}
	if uint64(vs.Quorum) > sum {
		lower := uint32(max(sum, 1))
		s.warnf(n.pos, "quorum %d is more than all real servers weigh: it is %d", vs.Quorum, lower)
		vs.Quorum = lower
	}
	if vs.Hysteresis >= vs.Quorum && vs.Hysteresis > 0 {
		s.warnf(n.pos, "hysteresis %d is not less than quorum %d: it is %d", vs.Hysteresis, vs.Quorum, vs.Quorum-1)
		vs.Hysteresis = vs.Quorum - 1
	}
}

// matchFamily finds out which family a match is of.
func (s *serverReader) matchFamily(fail func(string, ...any)) {
	vs := &s.vs
	var addrs []netip.Addr
	for _, r := range [2]spec.Range{vs.Match.Src, vs.Match.Dst} {
		if r.First.IsValid() {
			addrs = append(addrs, r.First)
		}
	}
	if len(addrs) == 2 && addrs[0].Is4() != addrs[1].Is4() {
		fail("src-range and dst-range are not of one family")
		return
	}
	for _, rs := range vs.Reals {
		addrs = append(addrs, rs.Addr.Addr())
	}
	vs.Match.Family = 4
	if len(addrs) > 0 && addrs[0].Is6() || len(addrs) == 0 && (vs.Family == "inet6" || vs.Proto == spec.ICMPv6) {
		vs.Match.Family = 6
	}
	for _, a := range addrs {
		if a.Is6() != (vs.Match.Family == 6) {
			fail("the ranges and real servers of match %s are not of one family", shown(vs.Label))
			return
		}
	}
}

// families holds real servers to the family of the virtual address: only tunnels
// and full-NAT lead from one to the other.
func (s *serverReader) families(fail func(string, ...any)) {
	vs := &s.vs
	if !vs.Virtual.IsValid() {
		return
	}
	bad := func(a netip.Addr, m Method) bool {
		return a.Is4() != vs.Virtual.Addr().Is4() && m.Forward != spec.Tunnel && m.Forward != spec.FullNAT
	}
	for _, rs := range vs.Reals {
		if bad(rs.Addr.Addr(), rs.Method) {
			fail("real_server %s is not of the family of %s: that needs lb_kind FNAT or TUN", rs.Addr, vs.Virtual)
		}
	}
	if a := vs.Sorry.Addr; a.IsValid() && bad(a.Addr(), vs.Sorry.Method) {
		fail("sorry_server %s is not of the family of %s: that needs sorry_server_lvs_method FNAT or TUN", a, vs.Virtual)
	}
}

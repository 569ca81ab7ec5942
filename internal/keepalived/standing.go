package keepalived

import (
	"fmt"
	"net/netip"
	"slices"
	"sync"

	"weir/internal/config/keepalivedconf"
	"weir/internal/health"
	"weir/internal/keepalived/want"
	"weir/internal/spec"
)

// virtual is a virtual server and how it stands.
type virtual struct {
	plan    *want.Virtual
	conf    *keepalivedconf.VirtualServer
	quorum  health.Quorum
	raised  bool // quorum_up ran, and no quorum_down since
	reals   map[netip.AddrPort]*realServer
	scripts *runner
	paused  bool
	tally
}

// realServer is a real server and how it stands.
type realServer struct {
	of     *virtual
	conf   *keepalivedconf.RealServer
	up     bool
	weight int
	tally
}

// standings are all virtual servers of the file in force.
type standings struct {
	d      *Daemon
	all    []*virtual
	byKey  map[string]*virtual
	byName map[health.Server]*realServer
	// scripts that are due once the director knows of what they are about.
	due     []func()
	running sync.WaitGroup
}

func newStandings(d *Daemon) *standings {
	return &standings{d: d, byKey: make(map[string]*virtual), byName: make(map[health.Server]*realServer)}
}

// follow takes over a file. What is in both files keeps its state; of what is new, servers
// without alpha are up, and their services have their quorum.
func (s *standings) follow(f *File) {
	before := s.byKey
	s.byKey, s.all = make(map[string]*virtual), nil
	names := make(map[health.Server]*realServer)
	for i := range f.Plan.Virtuals {
		plan := &f.Plan.Virtuals[i]
		v, known := before[plan.Conf.Key()], true
		if v == nil {
			v, known = &virtual{reals: make(map[netip.AddrPort]*realServer)}, false
			v.scripts = &runner{log: s.d.log, done: func() { s.d.inbox.put(s.d.director.retry) }}
		}
		delete(before, plan.Conf.Key())
		s.take(v, known, plan, f, names)
		s.all = append(s.all, v)
		s.byKey[plan.Conf.Key()] = v
	}
	for _, v := range before {
		s.farewell(v)
	}
	gone := s.byName
	s.byName = names
	for name := range gone {
		if names[name] == nil {
			s.told(s.d.schedule.Remove(name))
		}
	}
	for name, r := range names {
		s.told(s.d.schedule.Set(name, f.targets[name]))
		s.told(s.d.schedule.Pause(name, r.of.paused))
	}
}

// told logs what the schedule has to say, which is that it was stopped.
func (s *standings) told(err error) {
	if err != nil {
		s.d.log.Error(err.Error())
	}
}

// take brings one virtual server in line with the file.
func (s *standings) take(v *virtual, known bool, plan *want.Virtual, f *File, names map[health.Server]*realServer) {
	v.plan, v.conf = plan, plan.Conf
	before := v.reals
	v.reals = make(map[netip.AddrPort]*realServer)
	for i := range v.conf.Reals {
		conf := &v.conf.Reals[i]
		name := nameOf(v.conf, conf)
		r := before[conf.Addr]
		if r == nil {
			alpha := slices.ContainsFunc(f.targets[name].Checks, func(c health.Check) bool { return c.Alpha })
			r = &realServer{of: v, up: !alpha}
		}
		r.conf, r.weight = conf, int(conf.Weight)
		v.reals[conf.Addr] = r
		names[name] = r
	}
	q := health.Quorum{Need: int(v.conf.Quorum), Hysteresis: int(v.conf.Hysteresis), Held: v.quorum.Held}
	if !known {
		q.Held = health.Live(v.members()) >= q.Need+q.Hysteresis
	}
	v.quorum = q
	if known {
		s.weigh(v)
	}
}

// members are the real servers in the order of the file.
func (v *virtual) members() []health.Member {
	all := make([]health.Member, 0, len(v.conf.Reals))
	for i := range v.conf.Reals {
		r := v.reals[v.conf.Reals[i].Addr]
		all = append(all, health.Member{Up: r.up, Weight: r.weight, Inhibit: r.conf.Inhibit})
	}
	return all
}

// weigh sees what becomes of the quorum.
func (s *standings) weigh(v *virtual) {
	live := health.Live(v.members())
	next, change := v.quorum.Weigh(live)
	v.quorum = next
	switch change {
	case health.Gained:
		v.went(true, nil)
		s.d.log.Info(fmt.Sprintf("%s has its quorum: %d", v.conf.Key(), live))
		s.raise(v)
	case health.Lost:
		v.went(false, nil)
		s.d.log.Warn(fmt.Sprintf("%s has lost its quorum: %d of %d", v.conf.Key(), live, v.quorum.Need))
		v.raised = false
		s.script(v, v.conf.Key()+": quorum_down", v.conf.QuorumDown)
	case health.Unchanged:
	}
}

// raise has quorum_up run.
func (s *standings) raise(v *virtual) {
	s.script(v, v.conf.Key()+": quorum_up", v.conf.QuorumUp)
	s.due = append(s.due, func() { v.raised = v.quorum.Held })
}

// again has quorum_up run once more where it ran and the quorum still holds: a director that has
// just come has nothing of what it brought, neither an address nor a twin that had one.
func (s *standings) again() {
	for _, v := range s.all {
		if v.raised {
			s.raise(v)
		}
	}
}

// script has a script run once the director knows what it tells of.
func (s *standings) script(v *virtual, what string, script keepalivedconf.Script) {
	if script.Command == "" {
		return
	}
	g := s.d.file.Conf.Global
	s.due = append(s.due, func() { v.scripts.run(&s.running, what, script, g) })
}

// runScripts starts what is due.
func (s *standings) runScripts() {
	due := s.due
	s.due = nil
	for _, f := range due {
		f()
	}
}

// set is what follows from a server's going up or down.
func (s *standings) set(r *realServer, up bool, why error) {
	if r.up == up {
		return
	}
	r.up = up
	r.went(up, why)
	s.d.changed = true
	what, script := nameOf(r.of.conf, r.conf), r.conf.NotifyDown
	if up {
		script = r.conf.NotifyUp
	}
	s.script(r.of, string(what)+": "+map[bool]string{true: "notify_up", false: "notify_down"}[up], script)
	s.weigh(r.of)
}

// farewell is what omega says of a virtual server that goes.
func (s *standings) farewell(v *virtual) {
	if !v.conf.Omega {
		return
	}
	for i := range v.conf.Reals {
		if r := v.reals[v.conf.Reals[i].Addr]; r.up {
			r.up = false
			s.script(v, string(nameOf(v.conf, r.conf))+": notify_down", r.conf.NotifyDown)
		}
	}
	if v.quorum.Held {
		v.quorum.Held, v.raised = false, false
		s.script(v, v.conf.Key()+": quorum_down", v.conf.QuorumDown)
	}
}

// wanted is what the director shall have.
func (s *standings) wanted() []spec.Service {
	var all []spec.Service
	for _, v := range s.all {
		has := health.NoSorry
		if v.conf.Sorry.Addr.IsValid() {
			has = health.WithSorry
			if v.conf.Sorry.Inhibit {
				has = health.WithInhibitedSorry
			}
		}
		weights, sorry := health.Place(v.quorum, v.members(), has, want.SorryWeight)
		for i := range v.plan.Services {
			all = append(all, v.plan.Services[i].With(weights, sorry))
		}
	}
	return all
}

// suspend pauses the checks of services with ha_suspend whose address is elsewhere.
func (s *standings) suspend(here func(netip.Addr) bool) {
	for _, v := range s.all {
		paused := false
		if v.conf.HASuspend {
			for i := range v.plan.Services {
				if vip := v.plan.Services[i].Spec.Virtual.Addr(); vip.IsValid() && !here(vip) {
					paused = true
				}
			}
		}
		if paused == v.paused {
			continue
		}
		v.paused = paused
		s.d.log.Info(fmt.Sprintf("%s: health checks are %s (ha_suspend)", v.conf.Key(), map[bool]string{true: "suspended", false: "made"}[paused]))
		for i := range v.conf.Reals {
			s.told(s.d.schedule.Pause(nameOf(v.conf, &v.conf.Reals[i]), paused))
		}
	}
}

// notices hands what the schedule says to the daemon's goroutine.
type notices struct{ d *Daemon }

func (n notices) with(s health.Server, f func(*realServer)) {
	n.d.inbox.put(func() {
		if r := n.d.standings.byName[s]; r != nil {
			f(r)
		}
	})
}

// Up implements [health.Notices].
func (n notices) Up(s health.Server) {
	n.with(s, func(r *realServer) {
		if !r.up {
			n.d.log.Info(fmt.Sprintf("%s is up", s))
		}
		n.d.standings.set(r, true, nil)
	})
}

// Down implements [health.Notices].
func (n notices) Down(s health.Server, why error) {
	n.with(s, func(r *realServer) {
		n.d.log.Warn(fmt.Sprintf("%s is down: %v", s, why))
		n.d.standings.set(r, false, why)
	})
}

// Weigh implements [health.Notices].
func (n notices) Weigh(s health.Server, weight int) {
	n.with(s, func(r *realServer) {
		if r.weight == weight {
			return
		}
		r.weight = weight
		n.d.changed = true
		n.d.log.Info(fmt.Sprintf("%s weighs %d now", s, weight))
		n.d.standings.weigh(r.of)
	})
}

// Failed implements [health.Notices]: failures that are forgiven, and those of a server that
// is down, are told where log_all_failures asks for it.
func (n notices) Failed(s health.Server, c health.Check, why error) {
	n.with(s, func(r *realServer) {
		r.failures++
		if r.logs() {
			n.d.log.Info(fmt.Sprintf("%s: a check failed: %v", s, why))
		}
	})
}

// logs reports whether any of a server's checkers has log_all_failures.
func (r *realServer) logs() bool {
	return slices.ContainsFunc(r.conf.Checkers, func(c keepalivedconf.Checker) bool { return c.LogAllFailures })
}

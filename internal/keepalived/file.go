package keepalived

import (
	"errors"
	"fmt"
	"slices"

	"weir/internal/config/keepalivedconf"
	"weir/internal/health"
	"weir/internal/keepalived/want"
	"weir/internal/spec"
)

// File is a keepalived.conf that was read and found good.
type File struct {
	Conf *keepalivedconf.Config
	Plan *want.Plan
	// Warnings are lines that change nothing.
	Warnings []Warning

	targets map[health.Server]health.Target
}

// Read reads a file. A bad one is refused as a whole, each of its faults with file and line.
// before is the file that is in force, or nil: certificates that are the same are taken
// from there.
func Read(path, id string, before *File) (*File, error) {
	conf, at, warnings, err := keepalivedconf.Load(path, id)
	if err != nil {
		return &File{Warnings: warnings}, err
	}
	f := &File{Conf: conf, Warnings: warnings}
	var failed error
	f.Plan, failed = want.Compile(conf, at)
	c := &checks{global: conf.Global, trust: trustOf(&conf.TLS), targets: make(map[health.Server]health.Target)}
	if c.trust.err != nil {
		failed = errors.Join(failed, fmt.Errorf("%s: SSL: %w", path, c.trust.err))
	}
	for i := range conf.Servers {
		vs := &conf.Servers[i]
		for j := range vs.Reals {
			if err := c.real(vs, &vs.Reals[j]); err != nil {
				failed = errors.Join(failed, at.Real(vs, vs.Reals[j].Addr).Errorf("%v", err))
			}
		}
		for _, s := range []*keepalivedconf.Script{&vs.QuorumUp, &vs.QuorumDown} {
			if err := c.runnable(s); err != nil {
				failed = errors.Join(failed, at.Server(vs).Errorf("%v", err))
			}
		}
	}
	f.targets = c.targets
	if before != nil {
		f.keep(before)
	}
	return f, failed
}

// isTunnel reports whether the file makes a tunnel device of that name.
func (f *File) isTunnel(name string) bool {
	return f.Plan != nil && slices.ContainsFunc(f.Plan.Tunnels, func(t spec.TunnelDevice) bool { return t.Name == name })
}

// UnknownWords reports whether a warning is about a keyword that nobody knows, which stock
// counts as a fault of the file.
func (f *File) UnknownWords() bool {
	for _, w := range f.Warnings {
		if len(w.Text) > 16 && w.Text[:16] == "unknown keyword " {
			return true
		}
	}
	return false
}

// nameOf is what the schedule calls a real server.
func nameOf(vs *keepalivedconf.VirtualServer, rs *keepalivedconf.RealServer) health.Server {
	return health.Server(vs.Key() + " -> " + rs.Addr.String())
}

// Warning is a line of the file that changes nothing.
type Warning = keepalivedconf.Warning

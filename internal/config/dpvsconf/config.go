package dpvsconf

import (
	"weir/internal/config/block"
	"weir/internal/spec"
)

// Config is what a dpvs.conf says.
type Config struct {
	Boot     spec.Boot
	Tunables spec.Tunables
}

// Warning is a line that was read and changes nothing.
type Warning struct {
	Pos  block.Pos
	Text string
}

// String returns "file:line: text".
func (w Warning) String() string { return w.Pos.String() + ": " + w.Text }

// Parse reads the file at path and what it includes. Warnings come in the order
// of the file. The error joins all that is wrong, one line for each, and then
// there is no Config.
func Parse(path string) (*Config, []Warning, error) {
	nodes, err := block.Load(path)
	if err != nil {
		return nil, nil, err
	}
	return compile(path, nodes)
}

// ParseBytes reads src as if it were a file called name. It opens no file, so
// include is refused.
func ParseBytes(name string, src []byte) (*Config, []Warning, error) {
	nodes, err := block.Parse(name, src)
	if err != nil {
		return nil, nil, err
	}
	return compile(name, nodes)
}

// Defaults of what the file does not say. Those of the connection timeouts are
// spec.DefaultTimeouts.
const (
	DefaultConnPool     = 2097151
	DefaultPktPool      = 16384
	DefaultNeighQueue   = 128
	DefaultNeighTimeout = 60 // seconds
	DefaultTTL          = 64
	DefaultUOATrail     = 3
	DefaultRxDesc       = 4096
	DefaultTxDesc       = 1024
	DefaultLogLevel     = "WARNING"
	DefaultNice         = -20
	DefaultRTPriority   = 1
	DefaultNiceSpinning = 0 // with busy_poll: who never sleeps leaves others a hundredth, ksoftirqd too
)

func defaults() Config {
	return Config{
		Boot: spec.Boot{
			ConnPool:   DefaultConnPool,
			PktPool:    DefaultPktPool,
			NeighQueue: DefaultNeighQueue,
			Fragments:  spec.DefaultFragments(),
			IPv6:       spec.IPv6{AddrGenMode: spec.AddrGenEUI64},
			KNI:        true,
			Offload:    spec.OffloadAuto,
		},
		Tunables: spec.Tunables{
			LogLevel:     DefaultLogLevel,
			Timeouts:     spec.DefaultTimeouts(),
			DefaultTTL:   DefaultTTL,
			NeighTimeout: DefaultNeighTimeout,
			UOATrail:     DefaultUOATrail,
			Nice:         DefaultNice,
			RTPriority:   DefaultRTPriority,
		},
	}
}

// compile turns the tree of a file into a Config.
func compile(name string, nodes []block.Node) (*Config, []Warning, error) {
	r := &reader{cfg: defaults(), whole: block.Pos{File: name, Line: 1}}
	r.read("the file", nodes, r.file())
	if t := &r.cfg.Tunables; t.BusyPoll && r.nice == nil {
		t.Nice = DefaultNiceSpinning
	}
	if t := &r.cfg.Tunables; t.BusyPoll && t.RTPriority > 0 && r.rt != nil {
		r.warnf(*r.rt, "rt_priority %d does nothing with busy_poll on: a worker that never sleeps would leave others, ksoftirqd with its packets among them, nothing of its processor", t.RTPriority)
	}
	r.check()
	if err := r.err(); err != nil {
		return nil, r.warnings, err
	}
	return &r.cfg, r.warnings, nil
}

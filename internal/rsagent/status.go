package rsagent

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"weir/bpf"
)

// Status is what is attached, as the kernel and the record say.
type Status struct {
	Running    bool      `json:"running"` // is there an agent?
	PID        int       `json:"pid"`     // of the agent, or of the last one
	Version    string    `json:"version"`
	Since      time.Time `json:"since"`   // attached since
	Started    time.Time `json:"started"` // the agent
	Pin        string    `json:"pin"`
	Cgroup     string    `json:"cgroup"`
	UOA        Mode      `json:"uoa"`
	NAT64      bool      `json:"nat64_getsockopt"`
	SaveSYN    bool      `json:"save_syn"`
	DropEmpty  bool      `json:"uoa_drop_empty"`
	Entries    int       `json:"uoa_entries"`
	Timeout    float64   `json:"uoa_timeout_seconds"`
	Flows      int       `json:"uoa_flows"` // UDP flows whose client is known
	Trust      []string  `json:"trust"`
	Hooks      []Hook    `json:"hooks"`
	Devices    []Device  `json:"devices"` // where the option protocol is translated
	Features   []Feature `json:"features"`
	Counters   []Counter `json:"counters"`
	Complaints []string  `json:"complaints"` // what is not as it should be
}

// Hook is a place of the cgroup with a program of ours.
type Hook struct {
	Name    string `json:"name"`
	Program uint32 `json:"program"` // its id, for bpftool
}

// Device is a network device with a program of ours.
type Device struct {
	Index int    `json:"index"`
	Name  string `json:"name"` // "" in another network namespace
	By    string `json:"by"`   // tcx or clsact
}

// ErrNothing means that nothing is pinned.
var ErrNothing = errors.New("nothing is attached")

// ReadStatus reads what is pinned in a folder.
func ReadStatus(pinPath string) (*Status, error) {
	p, rec, err := recorded(pinPath)
	if err != nil {
		return nil, err
	}
	s := &Status{
		PID: rec.PID, Version: rec.Version, Since: rec.Since, Started: rec.Started, Pin: p.path, Cgroup: rec.Cgroup,
		UOA: rec.UOA, NAT64: rec.NAT64, SaveSYN: rec.SaveSYN, DropEmpty: rec.DropEmpty, Entries: rec.Entries,
		Timeout: rec.Timeout.Seconds(), Trust: []string{}, Hooks: []Hook{}, Devices: []Device{}, Features: rec.Features, Complaints: []string{},
	}
	if s.Running, err = p.held(); err != nil {
		return nil, err
	}
	if err := s.readMaps(p, rec); err != nil {
		return nil, err
	}
	if err := s.readHooks(p); err != nil {
		return nil, err
	}
	return s, s.readDevices(p, rec)
}

// recorded opens a folder and its record.
func recorded(pinPath string) (*pinDir, *record, error) {
	p, err := openPinDir(pinPath)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil, fmt.Errorf("%w: there is no %s", ErrNothing, pinPath)
	}
	if err != nil {
		return nil, nil, err
	}
	m, err := openRecord(p)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil, fmt.Errorf("%w: %s has no record", ErrNothing, pinPath)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read the record: %w", err)
	}
	defer letGo(m)
	rec, err := m.read()
	if err != nil {
		return nil, nil, err
	}
	if rec.Layout != layout {
		return nil, nil, &LayoutError{Dir: p.path, Version: rec.Version, Found: rec.Layout}
	}
	return p, rec, nil
}

// readMap calls f with a pinned map.
func readMap(p *pinDir, name string, f func(*ebpf.Map) error) error {
	m, err := ebpf.LoadPinnedMap(filepath.Join(p.maps(), name), &ebpf.LoadPinOptions{ReadOnly: true})
	if err != nil {
		return fmt.Errorf("open the map %s: %w", name, err)
	}
	defer letGo(m)
	return f(m)
}

func (s *Status) readMaps(p *pinDir, rec *record) error {
	err := readMap(p, bpf.RSMapCounters, func(m *ebpf.Map) (err error) {
		s.Counters, err = readCounters(m)
		return err
	})
	if err != nil {
		return err
	}
	err = readMap(p, bpf.RSMapTrusted, func(m *ebpf.Map) error {
		trust, err := readTrust(m)
		for _, t := range trust {
			s.Trust = append(s.Trust, t.String())
		}
		return err
	})
	if err != nil || rec.UOA == Off {
		return err
	}
	return readMap(p, bpf.RSMapUoaClients, func(m *ebpf.Map) (err error) {
		s.Flows, err = countFlows(m, rec.Timeout)
		return err
	})
}

// hookState is what the kernel says of a pinned link.
type hookState struct {
	program uint32
	cgroup  uint64 // 0: the folder is gone
}

func hookInfo(pin string) (hookState, error) {
	l, err := link.LoadPinnedLink(pin, nil)
	if err != nil {
		return hookState{}, err
	}
	defer letGo(l)
	info, err := l.Info()
	if err != nil {
		return hookState{}, err
	}
	return hookState{program: uint32(info.Program), cgroup: at(l)}, nil
}

func (s *Status) readHooks(p *pinDir) error {
	names, err := pins(p.links())
	if err != nil {
		return err
	}
	for _, n := range names {
		h, err := hookInfo(p.link(n))
		if err != nil {
			return fmt.Errorf("look at %s: %w", n, err)
		}
		if h.cgroup == 0 {
			s.Complaints = append(s.Complaints, fmt.Sprintf("%s is attached to nothing: the cgroup %s is gone; start weir-rs again", n, s.Cgroup))
			continue
		}
		s.Hooks = append(s.Hooks, Hook{Name: n, Program: h.program})
	}
	if len(s.Hooks) == 0 && len(s.Complaints) == 0 {
		s.Complaints = append(s.Complaints, "no program is attached: the start was not finished; start weir-rs again")
	}
	return nil
}

func (s *Status) readDevices(p *pinDir, rec *record) error {
	names, err := pins(p.opp())
	if err != nil {
		return err
	}
	here := false
	if own, err := ownNetns(); err == nil {
		here = own == rec.Netns
	}
	add := func(index int, by string) {
		d := Device{Index: index, By: by}
		if here {
			if i, err := net.InterfaceByIndex(index); err == nil {
				d.Name = i.Name
			}
		}
		s.Devices = append(s.Devices, d)
	}
	for _, n := range names {
		if i, err := strconv.Atoi(n); err == nil {
			add(i, "tcx")
		}
	}
	for _, i := range rec.Filters {
		add(i, "clsact")
	}
	slices.SortFunc(s.Devices, func(a, b Device) int { return cmp.Compare(a.Index, b.Index) })
	return nil
}

package rsagent

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"github.com/cilium/ebpf"
)

// layout is the version of all maps that outlive an agent: their keys, values and
// meaning. It goes up with each change of those; an agent takes over its own
// layout and no other.
const layout = 1

// recordSize is the bytes of the record's value. It never changes, so that any
// version can read what another one wrote.
const recordSize = 64 << 10

// record says what is attached, for the next agent and for `weir-rs status`.
type record struct {
	Layout     int            `json:"layout"`
	Version    string         `json:"version"`
	PID        int            `json:"pid"`
	Since      time.Time      `json:"since"` // when attached first
	Started    time.Time      `json:"started"`
	Cgroup     string         `json:"cgroup"`
	UOA        Mode           `json:"uoa"`
	NAT64      bool           `json:"nat64_getsockopt"`
	SaveSYN    bool           `json:"save_syn"`
	DropEmpty  bool           `json:"uoa_drop_empty"`
	Entries    int            `json:"uoa_entries"`
	Timeout    time.Duration  `json:"uoa_timeout"`
	Trust      []netip.Prefix `json:"trust"`
	OPPDevices []string       `json:"opp_devices"` // null: all
	Features   []Feature      `json:"features"`
	Netns      uint64         `json:"netns"`   // the agent's network namespace, where its devices are
	Filters    []int          `json:"filters"` // devices with a filter instead of a link (no tcx)
	Qdiscs     []int          `json:"qdiscs"`  // of these, those whose clsact we made
}

// recordMap is where the record lies.
type recordMap struct{ m *ebpf.Map }

var recordSpec = ebpf.MapSpec{Name: "weir_rs_record", Type: ebpf.Array, KeySize: 4, ValueSize: recordSize, MaxEntries: 1}

// openRecord opens the record of a folder; os.ErrNotExist if it has none.
func openRecord(p *pinDir) (*recordMap, error) {
	m, err := ebpf.LoadPinnedMap(p.record(), nil)
	if err != nil {
		return nil, err
	}
	if m.Type() != recordSpec.Type || m.ValueSize() != recordSpec.ValueSize {
		_ = m.Close()
		return nil, fmt.Errorf("%s is no record of weir-rs: name another folder with --pin", p.record())
	}
	return &recordMap{m}, nil
}

// takeRecord opens the record or makes an empty one.
func takeRecord(p *pinDir) (r *recordMap, before *record, err error) {
	r, err = openRecord(p)
	if errors.Is(err, os.ErrNotExist) {
		return newRecord(p)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read the record of the last start: %w", err)
	}
	if before, err = r.read(); err != nil {
		return nil, nil, errors.Join(err, r.Close())
	}
	if before.Layout != layout {
		return nil, nil, errors.Join(&LayoutError{Dir: p.path, Version: before.Version, Found: before.Layout}, r.Close())
	}
	return r, before, nil
}

func newRecord(p *pinDir) (*recordMap, *record, error) {
	for _, dir := range []string{p.maps(), p.links(), p.opp()} {
		names, err := pins(dir)
		if err != nil {
			return nil, nil, err
		}
		if len(names) > 0 {
			return nil, nil, fmt.Errorf("%s has pins, but no record of whose they are: `weir-rs stop --pin %s' removes them, or name another folder with --pin", p.path, p.path)
		}
	}
	m, err := ebpf.NewMap(&recordSpec)
	if err != nil {
		return nil, nil, fmt.Errorf("make the record: %w", err)
	}
	r := &recordMap{m}
	// First the content: whoever finds the pin finds what it says.
	err = r.write(&record{Layout: layout, Since: time.Now()})
	if err == nil {
		err = m.Pin(p.record())
	}
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("pin the record: %w", err), r.Close())
	}
	return r, nil, nil
}

// LayoutError means that the pins are of a version whose maps are laid out
// otherwise.
type LayoutError struct {
	Dir, Version string
	Found        int
}

// Error implements error.
func (e *LayoutError) Error() string {
	return fmt.Sprintf("%s holds maps of layout %d, made by weir-rs %s, and this one has layout %d: end the agent and run `weir-rs stop', then start this one; "+
		"connections and UDP flows of before then show the director's address", e.Dir, e.Found, e.Version, layout)
}

func (r *recordMap) read() (*record, error) {
	var value []byte
	if err := r.m.Lookup(uint32(0), &value); err != nil {
		return nil, fmt.Errorf("read the record: %w", err)
	}
	text, _, _ := bytes.Cut(value, []byte{0})
	rec := new(record)
	if err := json.Unmarshal(text, rec); err != nil {
		return nil, fmt.Errorf("the record of the last start is damaged (%w): run `weir-rs stop', then start again", err)
	}
	return rec, nil
}

func (r *recordMap) write(rec *record) error {
	text, err := json.Marshal(rec)
	if err != nil {
		return fmt.Errorf("write the record: %w", err)
	}
	if len(text) >= recordSize {
		return fmt.Errorf("the record would have %d bytes, and there is room for %d: trust fewer prefixes", len(text), recordSize-1)
	}
	value := make([]byte, recordSize)
	copy(value, text)
	if err := r.m.Put(uint32(0), value); err != nil {
		return fmt.Errorf("write the record: %w", err)
	}
	return nil
}

// Close implements io.Closer.
func (r *recordMap) Close() error { return r.m.Close() }

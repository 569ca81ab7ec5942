package director

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"

	"weir/internal/lb/service"
	"weir/internal/pinned"
	"weir/internal/spec"
)

// What a director leaves to the next one beside the flow table: the wanted state, and what
// the numbers in the table mean. It is written before a change gets in force, so that no
// number is ever in the table that is not in the record.

// recordName is what it is kept by, recordVersion its form.
const (
	recordName    = "state"
	recordVersion = 1
)

// record is one in the form of JSON.
type record struct {
	Version     int
	Secret      []byte
	Ports       []portRecord
	Locals      []localRecord
	Dests       []destRecord
	Services    []serviceRecord
	LastService uint32
	Lingering   []spec.Address
	Settled     []ownAddrRecord // addresses that were probed for and are used
	BootLinks   map[string]spec.Link
	BootBonds   []spec.Bond
	Spec        *spec.Spec
}

// portRecord is what next hops know a port by.
type portRecord struct {
	ID   uint16
	Name string
	MTU  int
}

// localRecord is what connections know a local address by.
type localRecord struct {
	Index uint32
	IP    netip.Addr
}

// destRecord is what connections and templates know a real server by.
type destRecord struct {
	Index   uint32
	Service spec.ServiceKey
	Addr    netip.AddrPort
	Leaving bool   `json:",omitempty"` // it was removed, and connections use it
	Health  uint64 `json:",omitempty"` // what its passive check has seen
}

// serviceRecord is what mappings know a service by.
type serviceRecord struct {
	Key   spec.ServiceKey
	Index uint32
}

type ownAddrRecord struct {
	Port string
	Addr netip.Addr
}

// Stale is the error about what was left by a director that this one can't go on after.
type Stale struct {
	Why string
}

// Error implements error.
func (e *Stale) Error() string {
	return e.Why + ": start the former weir again to go on, or begin without its connections and services: weir serve --fresh"
}

// readRecord reads what the former director left.
func readRecord(keep *pinned.Dir) (*record, error) {
	text, err := keep.Read(recordName)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil // it never came to its first breath
	}
	if err != nil {
		return nil, err
	}
	var r record
	if err := json.Unmarshal(text, &r); err != nil {
		// An other form has other types too.
		var v struct{ Version int }
		if json.Unmarshal(text, &v) != nil || v.Version == recordVersion {
			return nil, &Stale{fmt.Sprintf("the state that the former weir left can't be read (%v)", err)}
		}
		r.Version = v.Version
	}
	if r.Version != recordVersion {
		return nil, &Stale{fmt.Sprintf("the state that the former weir left has form %d, and this weir writes form %d", r.Version, recordVersion)}
	}
	if r.Spec == nil {
		return nil, &Stale{"the state that the former weir left has no services in it"}
	}
	return &r, nil
}

// leave writes what the next director needs to know of a spec that is about to get in
// force. What is written already is not written again.
func (d *Director) leave(s *spec.Spec, c *compiled, lingering []spec.Address) error {
	if d.keep == nil {
		return nil
	}
	r := record{
		Version: recordVersion, Secret: d.shared.Secret[:], LastService: d.lastService, Lingering: lingering,
		BootLinks: d.bootLinks, BootBonds: d.boot.Bonds, Spec: s,
	}
	for _, p := range d.withMembers(d.ports) {
		r.Ports = append(r.Ports, portRecord{p.facts.ID, p.facts.Name, p.facts.MTU})
	}
	for i, ip := range d.shared.Locals.Numbers() {
		r.Locals = append(r.Locals, localRecord{i, ip})
	}
	slices.SortFunc(r.Locals, func(a, b localRecord) int { return int(a.Index) - int(b.Index) })
	r.Dests = d.dests.records()
	for k, st := range c.states {
		r.Services = append(r.Services, serviceRecord{k, st.state.Index})
	}
	slices.SortFunc(r.Services, func(a, b serviceRecord) int { return int(a.Index) - int(b.Index) })
	for k, p := range c.probes {
		if p.state == AddrInUse {
			r.Settled = append(r.Settled, ownAddrRecord{k.port, k.addr})
		}
	}
	slices.SortFunc(r.Settled, func(a, b ownAddrRecord) int { return a.Addr.Compare(b.Addr) })
	text, err := json.Marshal(&r)
	if err != nil {
		return fmt.Errorf("what the next weir needs to know can't be written: %w", err)
	}
	if bytes.Equal(text, d.left) {
		return nil
	}
	if err := d.keep.Write(recordName, text); err != nil {
		return &spec.Refusal{Code: spec.NoResource, Object: "state", Why: fmt.Sprintf("the change can't be kept for the next start of weir: %v", err)}
	}
	d.left = text
	return nil
}

// records lists the real servers that connections may know, by their numbers.
func (r *destRegistry) records() (all []destRecord) {
	add := func(d *service.Dest, leaving bool) {
		all = append(all, destRecord{Index: d.Index, Service: d.Service, Addr: d.Addr, Leaving: leaving, Health: d.Health.Load()})
	}
	for _, d := range r.byKey {
		add(d, false)
	}
	for _, l := range r.leaving {
		add(l.dest, true)
	}
	slices.SortFunc(all, func(a, b destRecord) int { return int(a.Index) - int(b.Index) })
	return all
}

package afxdp

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/rlimit"
	"golang.org/x/sys/unix"

	"weir/bpf"
	"weir/internal/flow"
	"weir/internal/pinned"
	"weir/internal/port"
)

// Engine is the second engine: what the XDP programs of all its ports share
// (bpf/forward.bpf.c), the program that counts what the kernel loses (bpf/lost.bpf.c),
// and the counters of both. The director sets its rules; nothing of it is used on the walk.
//
// What forwards outlives the process, if the table does (Program.Begin): each port's program,
// and the maps that it uses. The successor has maps of its own, but the table's and those of
// kept. The tracing programs end with the process.
type Engine struct {
	table *flow.Table
	cpus  int // how many have counters

	maps    map[string]*ebpf.Map // by the names of forward.bpf.c
	lost    bpf.LostObjects
	tracing []link.Link
	later   bool // losses are counted from Watch on

	ruled  pinned.Memory
	rules  []bpf.ForwardRule // in ruled
	lanes  [port.Max]atomic.Pointer[lanes]
	ways   []bpf.ForwardWay    // mapped, as what follows; cpu << 14 | family << 12 | in << 6 | out
	served []bpf.ForwardServed // cpu << 16 | real server
	passed []bpf.ForwardPassed // cpu << 6 | port
	mapped [][]byte
	kept   []pinned.Memory // counters that a successor goes on with
	nobody []bpf.ForwardNobody

	mu     sync.Mutex          // guards what follows
	zero   []bpf.ForwardServed // what real servers' counters were when they were cleared
	vlans  map[uint64]uint32
	owned  map[netip.Addr]bool
	missed [port.Max]Missed
	places map[bpf.LostPlace]uint32 // ports
	losses []bpf.LostLost           // mapped; cpu << 6 | port; nil before they are counted
}

// Rule is what the engine knows of a port.
type Rule struct {
	MAC     port.MAC
	Takes   bool   // looks at its frames
	Sends   bool   // may send by it
	OpenSum bool   // frames may come whose checksum their sender left open: Facts.RxPartial
	Ahead   bool   // flows are more than a cache holds: a program that can looks ahead (Program.LookAhead)
	Link    uint16 // of a VLAN: the port whose device carries its frames; else itself
	Tag     uint32 // of a VLAN: as in Facts; else 0
}

// Flags of bpf.ForwardRule.
const (
	ruleTakes = 1 << iota
	ruleSends
	ruleOpenSum
	ruleAhead
)

// shared are the maps that the programs of all ports share, and that are not the flow table's.
var shared = []string{
	bpf.ForwardMapVlans, bpf.ForwardMapDevices,
	bpf.ForwardMapWays, bpf.ForwardMapDests, bpf.ForwardMapPassed,
	bpf.ForwardMapOwned, bpf.ForwardMapNobody,
}

// EngineBytes is how much memory an engine takes beside the flow table: what its
// counters take on each processor.
func EngineBytes() int {
	return processors() * (1<<14*int(unsafe.Sizeof(bpf.ForwardWay{})) + MaxDests*int(unsafe.Sizeof(bpf.ForwardServed{})) +
		port.Max*int(unsafe.Sizeof(bpf.ForwardPassed{})+unsafe.Sizeof(bpf.LostLost{})+unsafe.Sizeof(bpf.ForwardLane{})))
}

// Supported returns nil where the engine can run. Its loads of a record have to stay in
// order, as they do on amd64 (docs/flow-table.md).
func Supported() error {
	if runtime.GOARCH != "amd64" {
		return fmt.Errorf("the XDP engine runs on amd64, and this is %s", runtime.GOARCH)
	}
	return nil
}

// NewEngine makes the engine of a flow table whose memory is flow.BPFArray. It forwards
// nothing before a program was attached (AttachTo) and SetRules allows it.
// Counters of real servers outlive the process in keep, if that is not nil.
func NewEngine(t *flow.Table, keep *pinned.Dir) (*Engine, error) {
	if err := Supported(); err != nil {
		return nil, err
	}
	if len(t.Maps()) == 0 {
		return nil, errors.New("the XDP engine needs a flow table that the kernel sees")
	}
	if err := rlimit.RemoveMemlock(); err != nil {
		return nil, fmt.Errorf("%w (weir needs root, or CAP_NET_ADMIN, CAP_NET_RAW and CAP_BPF)", err)
	}
	e := &Engine{table: t, cpus: processors(), maps: map[string]*ebpf.Map{}, vlans: map[uint64]uint32{}, owned: map[netip.Addr]bool{}, places: map[bpf.LostPlace]uint32{}}
	for i, name := range []string{bpf.ForwardMapHeader, bpf.ForwardMapHalves, bpf.ForwardMapWides, bpf.ForwardMapHops} {
		e.maps[name] = t.Maps()[i]
	}
	if err := e.make(keep); err != nil {
		return nil, errors.Join(fmt.Errorf("the XDP engine: %w", err), e.Close())
	}
	return e, nil
}

func (e *Engine) make(keep *pinned.Dir) error {
	spec, err := forwardSpec()
	if err != nil {
		return err
	}
	e.size(spec)
	if err := e.keep(keep); err != nil {
		return err
	}
	for _, name := range shared {
		if e.maps[name] != nil {
			continue
		}
		m := spec.Maps[name].Copy()
		m.Name = "weir_" + name
		if e.maps[name], err = ebpf.NewMap(m); err != nil {
			return fmt.Errorf("map %s: %w", name, err)
		}
	}
	if e.ruled, e.rules, err = one[bpf.ForwardRule]("rules", port.Max); err != nil {
		return err
	}
	err = errors.Join(
		mapArray(e, e.maps[bpf.ForwardMapWays], &e.ways),
		mapArray(e, e.maps[bpf.ForwardMapPassed], &e.passed),
	)
	if err != nil {
		return err
	}
	// It takes its time, and who succeeds another is in a hurry.
	former, err := keep.Links()
	if e.later = len(former) > 0; e.later || err != nil {
		return err
	}
	return e.watch()
}

// Later reports whether losses are not counted yet: Watch begins to.
func (e *Engine) Later() bool { return e.later }

// Watch begins to count what the kernel loses, where the engine succeeds a former one. It reads
// the types of the whole kernel, which takes a processor longer than all else of a start.
// Until then losses go unseen; if it fails the engine must not forward.
func (e *Engine) Watch() error {
	if err := e.watch(); err != nil {
		return fmt.Errorf("the XDP engine: %w", err)
	}
	e.later = false
	return nil
}

// keep makes the counters that outlive the process, or finds those of the engine before. One
// with counters for another number of processors is an error, *pinned.Sizes.
func (e *Engine) keep(keep *pinned.Dir) error {
	array := func(name string, entries int, size uintptr) (m pinned.Memory, err error) {
		if keep == nil {
			m, err = pinned.Array(name, entries, int(size))
		} else {
			m, err = keep.Array(name, entries, int(size))
		}
		if err == nil {
			e.kept = append(e.kept, m)
		}
		return m, err
	}
	size := unsafe.Sizeof(bpf.ForwardServed{})
	served, err := array("served", e.cpus<<16, size)
	if err != nil {
		return err
	}
	zero, err := array("served_before", MaxDests, size)
	if err != nil {
		return err
	}
	nobody, err := array("nobody", port.Max, unsafe.Sizeof(bpf.ForwardNobody{}))
	if err != nil {
		return err
	}
	e.maps[bpf.ForwardMapDests], e.maps[bpf.ForwardMapNobody] = served.Map, nobody.Map
	e.served = unsafe.Slice((*bpf.ForwardServed)(unsafe.Pointer(unsafe.SliceData(served.Bytes))), e.cpus<<16)
	e.zero = unsafe.Slice((*bpf.ForwardServed)(unsafe.Pointer(unsafe.SliceData(zero.Bytes))), MaxDests)
	e.nobody = unsafe.Slice((*bpf.ForwardNobody)(unsafe.Pointer(unsafe.SliceData(nobody.Bytes))), port.Max)
	return nil
}

// forwardSpec is forward.bpf.c as it was compiled, for the caller to change. It is read once: that
// takes longer than to load it.
func forwardSpec() (*ebpf.CollectionSpec, error) {
	spec, err := readForward()
	return spec.Copy(), err
}

var readForward = sync.OnceValues(bpf.LoadForward)

// size gives the maps of forward.bpf.c the sizes they have here.
func (e *Engine) size(spec *ebpf.CollectionSpec) {
	spec.Maps[bpf.ForwardMapHalves].MaxEntries = uint32(e.table.Slots())
	spec.Maps[bpf.ForwardMapWides].MaxEntries = uint32(e.table.WideSlots())
	spec.Maps[bpf.ForwardMapWays].MaxEntries = uint32(e.cpus) << 14
	spec.Maps[bpf.ForwardMapDests].MaxEntries = uint32(e.cpus) << 16
	spec.Maps[bpf.ForwardMapPassed].MaxEntries = uint32(e.cpus) << 6
}

// watch loads the programs that count what is lost. Without them losses would be silent,
// so that there is no engine without.
func (e *Engine) watch() error {
	spec, err := bpf.LoadLost()
	if err != nil {
		return err
	}
	info, err := e.maps[bpf.ForwardMapDevices].Info()
	if err != nil {
		return err
	}
	id, ok := info.ID()
	if !ok {
		return errors.New("a map has no number: it needs Linux 5.11 or newer")
	}
	spec.Maps[bpf.LostMapLost].MaxEntries = uint32(e.cpus) << 6
	err = errors.Join(spec.Variables[bpf.LostVarCpus].Set(uint32(e.cpus)), spec.Variables[bpf.LostVarDevicesId].Set(uint32(id)))
	if err != nil {
		return err
	}
	var lost bpf.LostObjects
	if err := spec.LoadAndAssign(&lost, nil); err != nil {
		return fmt.Errorf("count what is lost at the redirect (it needs CONFIG_DEBUG_INFO_BTF): %w", err)
	}
	e.mu.Lock()
	e.lost = lost
	e.mu.Unlock()
	for _, p := range []*ebpf.Program{lost.Sent, lost.Refused} {
		l, err := link.AttachTracing(link.TracingOptions{Program: p})
		if err != nil {
			return fmt.Errorf("count what is lost at the redirect: %w", err)
		}
		e.tracing = append(e.tracing, l)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for place, id := range e.places {
		if err := e.lost.Places.Put(place, id); err != nil {
			return err
		}
	}
	return mapArray(e, e.lost.Lost, &e.losses)
}

// mapArray maps a map's values.
func mapArray[T any](e *Engine, m *ebpf.Map, into *[]T) error {
	n := int(m.MaxEntries())
	size := n * int(unsafe.Sizeof(*new(T)))
	b, err := unix.Mmap(m.FD(), 0, (size+4095)&^4095, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("map the counters: %w", err)
	}
	e.mapped = append(e.mapped, b)
	*into = unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(b))), n)
	return nil
}

// Close ends the engine. The programs that use it have to be gone.
func (e *Engine) Close() (err error) {
	for _, l := range e.tracing {
		err = errors.Join(err, l.Close())
	}
	if e.lost.Lost != nil {
		err = errors.Join(err, e.lost.Close())
	}
	for _, b := range e.mapped {
		err = errors.Join(err, unix.Munmap(b))
	}
	for _, name := range shared {
		if m := e.maps[name]; m != nil && name != bpf.ForwardMapDests && name != bpf.ForwardMapNobody {
			err = errors.Join(err, m.Close())
		}
	}
	for i := range e.kept {
		e.kept[i].Close()
	}
	e.closeLanes()
	e.ruled.Close()
	e.kept, e.zero, e.nobody = nil, nil, nil
	e.ruled = pinned.Memory{}
	e.tracing, e.mapped, e.maps = nil, nil, map[string]*ebpf.Map{}
	e.rules, e.ways, e.served, e.passed, e.losses = nil, nil, nil, nil, nil
	return err
}

// own makes the maps that are a port's alone.
func (e *Engine) own(queues int) (xsks, drops *ebpf.Map, err error) {
	spec, err := forwardSpec()
	if err != nil {
		return nil, nil, err
	}
	for name, into := range map[string]**ebpf.Map{bpf.ForwardMapXsks: &xsks, bpf.ForwardMapDrops: &drops} {
		m := spec.Maps[name].Copy()
		m.Name, m.MaxEntries = "weir_"+name, uint32(queues)
		var failed error
		if *into, failed = ebpf.NewMap(m); failed != nil {
			err = errors.Join(err, fmt.Errorf("map %s: %w", name, failed))
		}
	}
	return xsks, drops, err
}

// load loads the program of a port that has these maps of its own; trial is 1 for a Trial. It
// may be called for several ports at once.
func (e *Engine) load(id uint16, xsks, drops *ebpf.Map, trial uint32) (*ebpf.Program, error) {
	spec, err := forwardSpec()
	if err != nil {
		return nil, err
	}
	return e.loadSpec(spec, id, xsks, drops, trial)
}

// loadSpec loads what forward.bpf.c was compiled to, in whichever way.
func (e *Engine) loadSpec(spec *ebpf.CollectionSpec, id uint16, xsks, drops *ebpf.Map, trial uint32) (*ebpf.Program, error) {
	e.size(spec)
	lanes, err := e.lanesOf(id)
	if err != nil {
		return nil, err
	}
	spec.Maps[lanesSection].ValueSize = lanes.memory.Map.ValueSize()
	maps := maps.Clone(e.maps)
	maps[rulesSection], maps[lanesSection] = e.ruled.Map, lanes.memory.Map
	maps[bpf.ForwardMapXsks], maps[bpf.ForwardMapDrops] = xsks, drops
	spec.Maps[bpf.ForwardMapXsks].MaxEntries = xsks.MaxEntries()
	spec.Maps[bpf.ForwardMapDrops].MaxEntries = drops.MaxEntries()
	for name, value := range map[string]any{
		bpf.ForwardVarHomes: e.table.Header().Homes, bpf.ForwardVarWideHomes: e.table.Header().WideHomes, bpf.ForwardVarSeed: e.table.Seed(),
		bpf.ForwardVarPort: uint32(id), bpf.ForwardVarCpus: uint32(e.cpus), bpf.ForwardVarRoom: uint32(Room), bpf.ForwardVarTrial: trial,
	} {
		if err := spec.Variables[name].Set(value); err != nil {
			return nil, err
		}
	}
	var o struct {
		Forward *ebpf.Program `ebpf:"forward"`
	}
	err = spec.LoadAndAssign(&o, &ebpf.CollectionOptions{MapReplacements: maps})
	return o.Forward, err
}

// AddDevice makes an interface of the calling thread's network namespace the one of a port.
func (e *Engine) AddDevice(id uint16, ifindex int) error {
	place, err := placeOf(ifindex)
	if err == nil {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.places[place] = uint32(id)
		if e.lost.Places != nil {
			err = e.lost.Places.Put(place, uint32(id))
		}
		err = errors.Join(err, e.maps[bpf.ForwardMapDevices].Put(uint32(id), uint32(ifindex)))
	}
	if err != nil {
		return fmt.Errorf("the XDP engine: port %d: %w", id, err)
	}
	return nil
}

// placeOf is how lost.bpf.c knows an interface.
func placeOf(ifindex int) (bpf.LostPlace, error) {
	var st unix.Stat_t
	if err := unix.Stat("/proc/thread-self/ns/net", &st); err != nil {
		return bpf.LostPlace{}, fmt.Errorf("which network namespace this is: %w", err)
	}
	return bpf.LostPlace{Netns: uint32(st.Ino), Ifindex: uint32(ifindex)}, nil
}

// SetRules puts the rules of all ports in force. It may be called at any time.
func (e *Engine) SetRules(rules *[port.Max]Rule) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	wanted := map[uint64]uint32{}
	for i := range rules {
		r, w := &rules[i], &e.rules[i]
		var mac uint64
		for j, b := range r.MAC {
			mac |= uint64(b) << (8 * j)
		}
		flags := uint32(0)
		for f, on := range map[uint32]bool{ruleTakes: r.Takes, ruleSends: r.Sends, ruleOpenSum: r.OpenSum, ruleAhead: r.Ahead} {
			if on {
				flags |= f
			}
		}
		tag := tagOnWire(r.Tag)
		if r.Tag != 0 {
			wanted[uint64(r.Link)<<32|uint64(tag)] = uint32(i)
		}
		e.ruleLanes(uint16(i), r, mac, flags)
		if w.Mac == mac && w.Link == uint32(r.Link) && w.Tag == tag {
			atomic.StoreUint32(&w.Flags, flags)
			continue
		}
		atomic.StoreUint32(&w.Flags, 0) // nobody reads the rest meanwhile but who began before
		atomic.StoreUint64(&w.Mac, mac)
		atomic.StoreUint32(&w.Link, uint32(r.Link))
		atomic.StoreUint32(&w.Tag, tag)
		atomic.StoreUint32(&w.Flags, flags)
	}
	var err error
	m := e.maps[bpf.ForwardMapVlans]
	for key := range e.vlans {
		if _, stays := wanted[key]; !stays {
			err = errors.Join(err, m.Delete(key))
		}
	}
	for key, id := range wanted {
		if was, there := e.vlans[key]; !there || was != id {
			err = errors.Join(err, m.Put(key, id))
		}
	}
	e.vlans = wanted
	if err != nil {
		return fmt.Errorf("the XDP engine: VLANs: %w", err)
	}
	return nil
}

// tagOnWire is a tag of Facts as it lies on the wire, read little-endian.
func tagOnWire(tag uint32) uint32 {
	return tag>>24 | tag>>8&0xff00 | tag<<8&0xff0000 | tag<<24
}

// processors is one more than the highest number of a processor that is on. Frames
// that come on one that is switched on later go to the workers.
func processors() int {
	text, err := os.ReadFile("/sys/devices/system/cpu/online")
	if err != nil {
		return runtime.NumCPU()
	}
	list := strings.FieldsFunc(strings.TrimSpace(string(text)), func(r rune) bool { return r == '-' || r == ',' })
	if len(list) > 0 {
		if last, err := strconv.Atoi(list[len(list)-1]); err == nil {
			return last + 1
		}
	}
	return runtime.NumCPU()
}

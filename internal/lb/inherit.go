package lb

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unsafe"

	"weir/internal/clock"
	"weir/internal/flow"
	"weir/internal/lb/laddr"
	"weir/internal/lb/mapping"
	"weir/internal/lb/service"
	"weir/internal/lb/template"
	"weir/internal/pinned"
)

// Going on after another process: the flow table outlived it, and what else connections
// use is counted anew from them. Nothing of it runs beside the workers.

// counted is a half-open connection, as halfOpen keeps it.
type counted struct{ conn, born uint32 }

// inheritance is what workers get when they are made.
type inheritance struct {
	halfOpen [flow.MaxWorkers][]counted
}

// OpenAccounts makes the counts of each worker, in memory that outlives the process if
// keep is not nil. Counts of workers that there are no more go on being counted.
func (s *Shared) OpenAccounts(keep *pinned.Dir, workers int) error {
	names, err := keep.Names(keptAccounts)
	if err != nil {
		return err
	}
	for i := range workers {
		if name := keptAccounts + strconv.Itoa(i); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	for _, name := range names {
		m, err := keep.Array(name, service.MaxDests, int(unsafe.Sizeof(account{})))
		if err != nil {
			return fmt.Errorf("counts of real servers: %w", err)
		}
		s.kept = append(s.kept, m)
		t := (*accounts)(unsafe.Pointer(unsafe.SliceData(m.Bytes)))
		if i, err := strconv.Atoi(strings.TrimPrefix(name, keptAccounts)); err == nil && i < workers {
			s.accounts[i] = t
		} else {
			s.former = append(s.former, t)
		}
	}
	return nil
}

const keptAccounts = "accounts-"

// CloseAccounts unmaps them. What is kept stays.
func (s *Shared) CloseAccounts() {
	for i := range s.kept {
		s.kept[i].Close()
	}
	s.kept = nil
}

// Former is the count of a real server by workers of earlier processes that have no
// successor.
func (s *Shared) Former(dest uint32) (sum DestCount) {
	for _, t := range s.former {
		c := t.of(dest).count()
		sum.Conns += c.Conns
		sum.InPkts += c.InPkts
		sum.InBytes += c.InBytes
		sum.OutPkts += c.OutPkts
		sum.OutBytes += c.OutBytes
	}
	return sum
}

// ZeroFormer clears it.
func (s *Shared) ZeroFormer(dest uint32) {
	for _, t := range s.former {
		*t.of(dest) = account{}
	}
}

// Inherit counts what the connections in the table use: real servers, local ports,
// templates, mappings. Dests, Locals and Templates are there, as the connections know them;
// serviceOf is the number of a real server's service. A connection whose real server nobody
// knows can't go on; how many there are is returned. Local ports get their pools (Locals.Settle).
func (s *Shared) Inherit(away uint32, second uint16, now clock.Tick, serviceOf func(*service.Dest) uint32) (lost int, err error) {
	s.Templates.TakeOver(now, away)
	s.heirs = &inheritance{}
	hidden := map[hiddenKey]uint32{}
	var end []uint32
	s.Flows.Each(func(i uint32, c *flow.Conn) {
		var dest *service.Dest
		if c.Dest < service.MaxDests {
			dest = s.Dests[c.Dest].Load()
		}
		if dest == nil || c.Pool >= laddr.Pools && c.Local != laddr.None && !s.inheritMapping(c, dest, serviceOf(dest), second, hidden) {
			end = append(end, i)
			return
		}
		if c.State&flow.ConnActive != 0 {
			dest.Load.Active.Add(1)
		} else {
			dest.Load.Inactive.Add(1)
		}
		if c.State&flow.ConnHalfOpen != 0 {
			s.HalfOpen.add(0, 1)
			s.heirs.halfOpen[c.Owner] = append(s.heirs.halfOpen[c.Owner], counted{i, c.Born})
		}
		if a := s.Locals.At(c.Local); a != nil {
			a.Hold(c.Pool, c.LocalPort)
		}
		if c.Pool < laddr.Pools && c.Template != template.None && !s.Templates.Hold(c.Template) {
			c.Template = template.None
		}
	})
	for _, list := range s.heirs.halfOpen {
		slices.SortFunc(list, func(a, b counted) int { return cmp.Compare(int32(a.born-b.born), 0) })
	}
	s.Templates.Drop(func(d uint32) bool { return s.Dests[d].Load() == nil })
	s.Templates.Each(func(d uint32) {
		if dest := s.Dests[d].Load(); dest != nil {
			dest.Load.Templates.Add(1)
		}
	})
	for _, i := range end {
		s.Flows.Forsake(i, now)
	}
	return len(end), s.Locals.Settle()
}

// hiddenKey is a mapping that is not its key's any more, and is held still.
type hiddenKey struct {
	mapping.Key
	mapping.Mapping
}

// inheritMapping gives a connection of a service with endpoint-independent mappings its own
// again. It reports whether there was room.
func (s *Shared) inheritMapping(c *flow.Conn, dest *service.Dest, svc uint32, second uint16, hidden map[hiddenKey]uint32) bool {
	store := s.Mappings.Load()
	if store == nil {
		return false
	}
	h := s.Flows.Half(c.In)
	client, _ := s.Flows.Key(h)
	k := mapping.Key{Address: [2]uint64{client.Hi, client.Lo}, Port: uint16(h.Key1), Proto: uint8(h.Key1 >> 32), Service: svc}
	had := mapping.Mapping{Dest: uint16(dest.Index), Local: uint16(c.Local), Port: c.LocalPort}
	if ref, is := hidden[hiddenKey{k, had}]; is {
		store.Hold(ref)
		c.Template = ref
		return true
	}
	want := had
	want.Reused = second // whoever talked to it may remember more than we know
	ref, old := store.Restore(&k, want)
	if old {
		// The key got another one while connections had this: which came first nobody knows.
		_, m := store.Find(&k)
		_, _ = store.Release(ref)
		m.Reused = 0
		hidden[hiddenKey{k, m}] = ref
		store.Retire(ref)
		ref, _ = store.Restore(&k, want)
	}
	c.Template = ref
	return ref != mapping.None
}

// inherit gives a worker what was found of its connections.
func (b *Balancer) inherit(id int) {
	if b.sh.heirs == nil {
		return
	}
	for _, h := range b.sh.heirs.halfOpen[id] {
		b.half.push(h.conn, h.born)
	}
	b.sh.heirs.halfOpen[id] = nil
}

package story

import (
	"bytes"
	"fmt"
	"iter"
	"maps"
	"testing"
	"unsafe"

	"github.com/cockroachdb/datadriven"

	"weir/internal/director"
	"weir/internal/flow"
	"weir/internal/packet"
	"weir/internal/port"
	"weir/internal/port/afxdp"
	"weir/internal/testkit/words"
	"weir/internal/wire"
)

// Tally is what both engines were shown.
type Tally struct {
	Shown, Taken int
	// By what became of those that were taken: "tcp4", "udp6", with "vlan" or "tunnel"…
	Kinds map[string]int
}

// RunShadowed tells a story, and shows each frame to the second engine before the
// workers see it. What that takes must leave as the workers send it, byte for byte, and be
// counted as they count; what it does not take must be as it was, and so the whole table.
func RunShadowed(t *testing.T, path string, tally *Tally) {
	s := &Story{t: t, stations: words.Stations{}, shadow: &shadow{trials: trials{t: t}, tally: tally}}
	defer s.close()
	datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
		s.t, s.shadow.t = t, t
		s.do(d)
		return d.Expected // frames come one by one, so that answers may be in another order
	})
}

// shadow is the second engine beside a director in memory.
type shadow struct {
	trials
	tally *Tally

	ready bool // a frame may come in this breath
	now   *shown
	sent  []byte // the last frame that left

	before, after []record
}

// shown is a frame that the engine took, while the workers have it.
type shown struct {
	from, out []byte
	in        uint16
	slot      uint32
	half      flow.Half // as the engine left it
	to        uint16
	served    afxdp.Dest // by the engine
	before    []director.Count
	found     bool
	breaths   int // that passed meanwhile
}

// record is a whole record of a half-flow of either family.
type record struct {
	half flow.Half
	rest [64]byte
}

// open shadows a queue of a port.
func (s *shadow) open(q port.Queue, id uint16) port.Queue {
	return &shadowQueue{Queue: q, s: s, id: id}
}

// shadowQueue shows what comes to the engine and what leaves to the comparison.
type shadowQueue struct {
	port.Queue
	s  *shadow
	id uint16
}

func (q *shadowQueue) Rx(burst []*packet.Packet) int {
	if !q.s.ready {
		return 0
	}
	n := q.Queue.Rx(burst[:1])
	if n > 0 {
		q.s.ready = false
		q.s.show(q.id, burst[0])
	}
	return n
}

func (q *shadowQueue) Tx(burst []*packet.Packet) {
	for _, p := range burst {
		q.s.sent = bytes.Clone(p.Data)
	}
	if w := q.s.now; w != nil {
		for _, p := range burst {
			w.found = w.found || w.to == q.id && w.same(p.Data)
		}
	}
	q.Queue.Tx(burst)
}

// snapshot copies the table into a buffer, which it makes if it is not of that size.
func (s *shadow) snapshot(all []record) []record {
	f := s.d.Flows()
	if n := f.Slots() + f.WideSlots(); len(all) != n {
		all = make([]record, n)
	}
	i := 0
	for slot := range slots(f) {
		h := f.Half(slot)
		all[i].half = *h
		if slot&flow.WideBit != 0 {
			all[i].rest = *(*[64]byte)(unsafe.Add(unsafe.Pointer(h), flow.HalfSize))
		}
		i++
	}
	return all
}

// slots are the numbers of a table's slots: those of IPv4, then those of IPv6.
func slots(f *flow.Table) iter.Seq[uint32] {
	return func(yield func(uint32) bool) {
		for i := range uint32(f.Slots()) {
			if !yield(i) {
				return
			}
		}
		for i := range uint32(f.WideSlots()) {
			if !yield(i | flow.WideBit) {
				return
			}
		}
	}
}

// hopsOf copies the next hops but for what the engine may write.
func (s *shadow) hopsOf() map[uint32]flow.NextHop {
	all := map[uint32]flow.NextHop{}
	s.d.Flows().Hops.Range(func(ref flow.NextHopRef, h *flow.NextHop) bool {
		c := *h
		c.Used = 0
		all[ref] = c
		return true
	})
	return all
}

// show shows a frame to the engine, and undoes what that does to the table.
func (s *shadow) show(id uint16, p *packet.Packet) {
	if p.Flags&(packet.CsumPartial|packet.GSO) != 0 || len(p.Data) < 14 || len(p.Data) > afxdp.Room {
		return // no such frame comes by AF_XDP, or to the engine's eyes
	}
	s.compare(id, p.Data)
}

func (s *shadow) compare(id uint16, frame []byte) {
	f, e := s.d.Flows(), s.d.Engine()
	s.before = s.snapshot(s.before)
	before := s.before
	var hops map[uint32]flow.NextHop
	look := s.tally.Shown%16 == 0 // it takes long
	if look {
		hops = s.hopsOf()
	}
	ways := s.ways()
	out, taken, err := s.trial(id).Run(frame)
	if err != nil {
		s.t.Fatalf("a frame of %d bytes on port %d: %v", len(frame), id, err)
	}
	s.tally.Shown++
	s.after = s.snapshot(s.after)
	after := s.after
	if look && !maps.Equal(hops, s.hopsOf()) {
		s.t.Errorf("the engine changed next hops")
	}
	changed := -1
	for i := range before {
		if before[i] != after[i] {
			if changed >= 0 {
				s.t.Errorf("the engine changed two records")
			}
			changed = i
		}
	}
	if !taken {
		if changed >= 0 || !bytes.Equal(out, frame) {
			s.t.Errorf("the engine left this to the workers, and changed it (or record %d):\n%x\n%x", changed, frame, out)
		}
		return
	}
	if changed < 0 {
		s.t.Fatalf("the engine took a frame and no half-flow knows of it: %x", frame)
	}
	w := &shown{from: bytes.Clone(frame), out: bytes.Clone(out), in: id, half: after[changed].half, slot: uint32(changed)}
	if changed >= f.Slots() {
		w.slot = uint32(changed-f.Slots()) | flow.WideBit
	}
	*f.Half(w.slot) = before[changed].half
	w.served = e.Dest(w.half.Dest)
	e.ZeroDest(w.half.Dest)
	for way, n := range s.ways() {
		if was := ways[way]; n != was {
			w.to = way.out
			s.physical(w, way, n, was)
		}
	}
	for _, lane := range s.d.Lanes() {
		w.before = append(w.before, lane.LB().Count(w.half.Dest))
	}
	s.now = w
	s.tally.Taken++
	s.tally.Kinds[kindOf(w)]++
}

// same reports whether the workers sent what the engine made. Of IPv6 that becomes IPv4
// and may be fragmented, each numbers its own packets: the identification, and with it the
// header's checksum, which has to be right, may differ.
func (w *shown) same(sent []byte) bool {
	if bytes.Equal(sent, w.out) {
		return true
	}
	at := 14
	if w.out[12] == 0x81 || w.out[12] == 0x88 {
		at = 18
	}
	numbered := w.slot&flow.WideBit != 0 && w.half.Key1&(flow.FlagCross|flow.FlagTunnel) == flow.FlagCross
	if !numbered || len(sent) != len(w.out) || wire.Checksum(w.out[at:at+20], 0) != 0 {
		return false
	}
	a, b := bytes.Clone(sent), bytes.Clone(w.out)
	for _, f := range [][]byte{a, b} {
		clear(f[at+4 : at+6])
		clear(f[at+10 : at+12])
	}
	return bytes.Equal(a, b)
}

// kindOf says what was taken.
func kindOf(w *shown) string {
	kind, at := "", 14
	if w.from[12] == 0x81 || w.from[12] == 0x88 {
		kind, at = "vlan ", 18
	}
	if w.slot&flow.WideBit != 0 {
		kind += fmt.Sprintf("6/%d", w.from[at+6])
	} else {
		kind += fmt.Sprintf("4/%d", w.from[at+9])
	}
	switch {
	case w.half.Key1&flow.FlagTunnel != 0:
		kind += " tunnel"
	case w.half.Key1&flow.FlagCross != 0:
		kind += " cross"
	}
	return kind
}

// physical checks what the engine counted between two ports, and finds the one that has
// the queue.
func (s *shadow) physical(w *shown, at way, n, was afxdp.Carried) {
	facts := s.d.Facts()
	if n.Packets-was.Packets != 1 || n.RxBytes-was.RxBytes != uint64(len(w.from)) || n.TxBytes-was.TxBytes != uint64(len(w.out)) {
		s.t.Errorf("the engine counted %+v, then %+v, for a frame of %d bytes that left with %d", was, n, len(w.from), len(w.out))
	}
	if f := facts[at.in]; f.Kind == port.VLAN && f.Link != w.in || f.Kind == port.Real && at.in != w.in {
		s.t.Errorf("the engine counted a frame of port %d as one of port %d", w.in, at.in)
	}
	if f := facts[at.out]; f.Kind == port.VLAN {
		w.to = f.Link
	}
}

// next lets one frame in, if the last one is where it belongs.
func (s *shadow) next() { s.ready = s.now == nil }

// done compares what the workers did with the frame that the engine took. Until another
// worker has sent it, it says that there is something to do.
func (s *shadow) done() (busy bool) {
	w := s.now
	if w == nil {
		return false
	}
	if w.breaths++; !w.found && w.breaths < 4*len(s.d.Lanes()) {
		return true
	}
	s.now = nil
	if !w.found {
		s.t.Errorf("the engine took from port %d\n%x\nand made for port %d\n%x\nwhich the workers did not send", w.in, w.from, w.to, w.out)
		return true
	}
	is, want := *s.d.Flows().Half(w.slot), w.half
	is.Last, want.Last = 0, 0
	if is != want {
		s.t.Errorf("the engine left the half-flow\n%+v\nand the workers\n%+v", want, is)
	}
	var got afxdp.Dest
	for i, lane := range s.d.Lanes() {
		c, b := lane.LB().Count(want.Dest), w.before[i]
		got.InPkts += c.InPkts - b.InPkts
		got.InBytes += c.InBytes - b.InBytes
		got.OutPkts += c.OutPkts - b.OutPkts
		got.OutBytes += c.OutBytes - b.OutBytes
	}
	if got != w.served {
		s.t.Errorf("the engine counted %+v for the real server, and the workers %+v", w.served, got)
	}
	return true
}

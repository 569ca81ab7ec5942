package flow

import (
	"sync/atomic"

	"weir/internal/clock"
)

// How a half-flow moves into a slot and out of it. Any number of workers do so
// at once, without a lock. What holds at every moment:
//
//   - A tuple is valid in one slot at most.
//   - No slot between a valid half-flow and its home is 0, so that Find, which
//     stops at 0, never misses one.

// place gives f a slot, filled in but not valid yet: publish makes it so,
// withdraw takes it back. Writers agree in four steps: claim the slot (Pending,
// no key), publish the key (Pending, key), hold the path to it (hold), look for
// others with the same key (alone). Who sees another yields; at worst both
// yield and the sender repeats.
//
// named is where the connection's record says which slot it is: before the slot is claimed,
// so that whoever goes on with the table of a dead process finds what was begun (adopt.go).
func (w *Worker) place(f *Flow, conn, dest uint32, named *uint32, now clock.Tick) (uint32, error) {
	t := w.t
	if f.Wide {
		f.Key0 = FoldWords(t.seed, f.Src.Hi, f.Src.Lo, f.Dst.Hi, f.Dst.Lo)
	}
	home := t.home(f.Wide, f.Key0, f.Key1)
again:
	spot, word := uint64(ProbeMax), uint64(0)
	for n := range uint64(ProbeMax) {
		h := t.Half(home + uint32(n))
		k := atomic.LoadUint64(&h.Key1)
		if taken(k) {
			if h.bears(k, f) {
				return None, ErrExists
			}
			continue
		}
		if spot == ProbeMax && (k == 0 || rested(h, now)) {
			spot, word = n, k
		}
		if k == 0 {
			break
		}
	}
	if spot == ProbeMax {
		return None, ErrFull
	}
	slot := home + uint32(spot)
	h := t.Half(slot)
	gen := word &^ (genOne - 1)
	if gen == 0 {
		// An emptied slot forgot its generation: time stands in for it.
		gen = uint64(now) << genShift
	}
	gen += genOne
	set32(named, slot)
	if !t.swap(&h.Key1, word, FlagPending|gen) {
		goto again
	}
	Set64(&h.Key0, f.Key0)
	flags := FlagPending
	if f.Reply {
		flags |= FlagReply
	}
	if f.Tunnel {
		flags |= FlagTunnel
	}
	if f.Cross {
		flags |= FlagCross
	}
	if f.Fast && spot < ProbeFast {
		flags |= FlagFast
	}
	if word = f.Key1&KeyMask | flags | gen; t.nwork == 1 {
		Set64(&h.Key1, word) // nobody races
	} else {
		atomic.StoreUint64(&h.Key1, word)
		t.hold(home, spot)
		if !t.alone(f, home, spot) {
			w.withdraw(slot, now)
			return None, ErrRace
		}
	}
	h.NewAddrs, h.NewPorts = f.NewAddrs, f.NewPorts
	h.DeltaIP, h.DeltaL4 = f.DeltaIP, f.DeltaL4
	h.Conn, h.Dest = conn, dest
	h.Bytes, h.Seq, h.Ack = 0, 0, 0
	h.NextHop, h.Last = f.NextHop, uint32(now)
	if wide := t.Wide(h); wide != nil {
		wide.Src.store(f.Src)
		wide.Dst.store(f.Dst)
		wide.NewSrc.store(f.NewSrc)
		wide.NewDst.store(f.NewDst)
	}
	// Nobody reads these words before publish, which orders them.
	return slot, nil
}

// home is the slot where a search for a key begins. Those it goes through have the numbers
// that follow: no search comes to the end of its array (ProbeMax).
func (t *Table) home(wide bool, k0, k1 uint64) uint32 {
	hash := t.Hash(k0, k1)
	if wide {
		return uint32(Home(hash, t.wideHomes)) | WideBit
	}
	return uint32(Home(hash, t.homes))
}

// hold makes sure that the slots between home and a claimed spot are not 0, and
// won't be while the spot is taken: a slot is emptied only by who marked it and then saw
// nobody behind it whose path leads across (vacate). Whoever marked it before we claimed the spot
// may not have seen us, and we take the mark away; whoever marks it from now on does see us.
func (t *Table) hold(home uint32, spot uint64) {
	for n := spot; n > 0; {
		h := t.Half(home + uint32(n) - 1)
		w := atomic.LoadUint64(&h.Key1)
		if !taken(w) && (w == 0 || w&KeyMask != 0) && !atomic.CompareAndSwapUint64(&h.Key1, w, w&^KeyMask|FlagDead) {
			continue
		}
		n--
	}
}

// alone reports whether no slot but the spot bears f's key. Behind the spot it
// may stop at 0: who is moving in beyond that has not held his path yet, and
// looks for us after he did.
func (t *Table) alone(f *Flow, home uint32, spot uint64) bool {
	for n := range uint64(ProbeMax) {
		if n == spot {
			continue
		}
		h := t.Half(home + uint32(n))
		w := atomic.LoadUint64(&h.Key1)
		if taken(w) && h.bears(w, f) {
			return false
		}
		if w == 0 && n > spot {
			return true
		}
	}
	return true
}

// pending is the Key1 of a placed half-flow, which nobody but its worker changes
// before publish.
func (t *Table) pending(slot uint32) uint64 { return atomic.LoadUint64(&t.Half(slot).Key1) }

// publish makes a placed half-flow valid, unless its connection already ended:
// then the slot is not what pending said, even if another tenant is moving in.
func (t *Table) publish(slot uint32, pending uint64) {
	t.swap(&t.Half(slot).Key1, pending, pending&^FlagPending|FlagValid)
}

// swap is compare-and-swap of a word that workers alone write: where there is one worker,
// that is a store.
func (t *Table) swap(p *uint64, old, new uint64) bool {
	if t.nwork == 1 {
		if *p != old {
			return false
		}
		Set64(p, new)
		return true
	}
	return atomic.CompareAndSwapUint64(p, old, new)
}

// Swap32 is swap for words of Conn.
func (t *Table) Swap32(p *uint32, old, new uint32) bool {
	if t.nwork == 1 {
		if *p != old {
			return false
		}
		set32(p, new)
		return true
	}
	return atomic.CompareAndSwapUint32(p, old, new)
}

// withdraw takes back a half-flow that never was valid: nobody read it, so the
// slot need not rest before it is swept.
func (w *Worker) withdraw(slot uint32, now clock.Tick) {
	h := w.t.Half(slot)
	atomic.StoreUint32(&h.Last, uint32(now-Rest))
	atomic.StoreUint64(&h.Key1, atomic.LoadUint64(&h.Key1)&^(genOne-1)|FlagDead)
	if slot&WideBit != 0 {
		w.sweeps[1].forgot(sweepEach, w.t.WideSlots())
	} else {
		w.sweeps[0].forgot(sweepEach, w.t.Slots())
	}
}

// kill makes a slot's half-flow invisible at once; the slot rests from now on.
func (t *Table) kill(slot uint32, now clock.Tick) {
	h := t.Half(slot)
	h.Last = uint32(now)
	for {
		w := atomic.LoadUint64(&h.Key1)
		if t.swap(&h.Key1, w, w&^(genOne-1)|FlagDead) {
			return
		}
	}
}

// taken reports whether a Key1 is a tenant's, who lives there or is moving in.
func taken(w uint64) bool { return w&(FlagValid|FlagPending) != 0 }

// bears compares what stands for an IPv6 pair of addresses, not the pair: who moves in
// has not written it yet. Two pairs that fold alike keep each other out (Fold).
func (h *Half) bears(w uint64, f *Flow) bool {
	return (w^f.Key1)&KeyMask == 0 && atomic.LoadUint64(&h.Key0) == f.Key0
}

// rested reports whether a dead slot may be used again. A tick that lies a
// little ahead is another worker's clock; one that lies far ahead is from before
// the clock wrapped.
func rested(h *Half, now clock.Tick) bool {
	return uint32(now)-atomic.LoadUint32(&h.Last)+Rest >= 2*Rest
}

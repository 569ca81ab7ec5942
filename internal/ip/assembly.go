package ip

import (
	"bytes"

	"weir/internal/clock"
	"weir/internal/packet"
	"weir/internal/spec"
	"weir/internal/stat"
)

// Bounds of reassembly, beside those that spec.Fragments sets.
const (
	// MaxFragments is how many pieces a datagram may come in: 64 KiB in packets of
	// 576 bytes, the least that everybody must take (RFC 791), are 119.
	MaxFragments = 128
	blockSize    = 1536 // one piece of a network with an MTU of 1500
	minBlocks    = 2 * MaxFragments
	headRoom     = 128 // link and network header of the first piece, up to the fragment header's end
	expireAtOnce = 256 // datagrams in a breath; the rest goes in the next ones
	none         = -1
)

// identity is what all fragments of a datagram have in common: addresses,
// identification, and with IPv4 (RFC 791) the protocol. IPv6 (RFC 8200, 4.5) goes
// without, for only the first fragment knows it.
type identity struct {
	addrs [4]uint64 // as in the header, read little-endian; of IPv4 the first, as in a flow's Key0
	id    uint32
	proto uint8
	hash  uint64
}

func (a *identity) same(b *identity) bool {
	return a.hash == b.hash && a.addrs == b.addrs && a.id == b.id && a.proto == b.proto
}

// piece is a fragment, or what fits a block of a larger one. Its bytes are the
// block of the same number.
type piece struct {
	next int32
	off  uint32 // in the datagram's payload
	n    uint32
	all  uint32 // length of the fragment that begins here; 0 in the middle of one
}

// datagram is one of which not all pieces have come.
type datagram struct {
	identity
	chain        int32 // next in the bucket, or in the free list
	older, newer int32
	first, last  int32 // pieces, by offset
	fragments    int
	have         uint32
	total        uint32 // 0: the last fragment has not come
	longest      uint16 // fragment with its header
	dontFragment bool
	dead         packet.Reason // why nothing of it is wanted any more
	born         clock.Tick
	// Of the first fragment:
	in, l3, l4, etherType uint16 // l4: where the fragment's content begins
	nextAt                uint16 // IPv6: where the byte stands that names the fragment header
	flags                 packet.Flags
	head                  [headRoom]byte
}

// assembly puts datagrams together again. It is worker-owned, and all fragments of
// a datagram come to one worker (worker/gather.go). Fragments are copied into
// blocks that are its own, so that whatever comes takes no packet memory from
// others. At every bound the oldest datagram makes room: pieces that belong
// together come together, and what a flood leaves behind is what is old.
type assembly struct {
	grams     []datagram
	buckets   []int32
	perBucket int
	ttl       uint32 // ticks
	freeGram  int32
	oldest    int32
	newest    int32
	blocks    []byte
	pieces    []piece
	freePiece int32
	spare     int // blocks free
	held      int // fragments
	stats     *stat.Worker
}

func newAssembly(c spec.Fragments, stats *stat.Worker) *assembly {
	c = c.OrDefault()
	buckets := 1
	for buckets < c.Buckets {
		buckets *= 2
	}
	blocks := max(minBlocks, 2*c.Entries)
	a := &assembly{
		grams: make([]datagram, c.Entries), buckets: make([]int32, buckets), perBucket: c.BucketEntries,
		ttl: clock.FromSeconds(c.TTL), blocks: make([]byte, blocks*blockSize), pieces: make([]piece, blocks),
		oldest: none, newest: none, spare: blocks, stats: stats,
	}
	for i := range a.buckets {
		a.buckets[i] = none
	}
	for i := range a.grams {
		a.grams[i].chain = int32(i) + 1
	}
	a.grams[c.Entries-1].chain = none
	for i := range a.pieces {
		a.pieces[i].next = int32(i) + 1
	}
	a.pieces[blocks-1].next = none
	return a
}

// find returns the datagram that a fragment belongs to, or begins one.
func (a *assembly) find(k *identity, now clock.Tick) int32 {
	bucket := &a.buckets[k.hash&uint64(len(a.buckets)-1)]
	n, victim := 0, int32(none)
	for i := *bucket; i != none; i = a.grams[i].chain {
		if a.grams[i].same(k) {
			return i
		}
		n++
		victim = i // new ones go in front: the last is the oldest
	}
	if n >= a.perBucket {
		a.end(victim, packet.IPFragFull)
	} else if a.freeGram == none {
		a.end(a.oldest, packet.IPFragFull)
	}
	i := a.freeGram
	g := &a.grams[i]
	a.freeGram = g.chain
	*g = datagram{identity: *k, chain: *bucket, older: a.newest, newer: none, first: none, last: none, born: now}
	*bucket = i
	if a.newest != none {
		a.grams[a.newest].newer = i
	} else {
		a.oldest = i
	}
	a.newest = i
	return i
}

// add puts a fragment, data at offset off, where it belongs, or says why not.
func (a *assembly) add(i int32, off uint32, data []byte, more bool) packet.Reason {
	g := &a.grams[i]
	n := uint32(len(data))
	end := off + n
	if g.dead != packet.NoReason {
		return g.dead
	}
	before, after := int32(none), g.first
	if g.last != none && a.pieces[g.last].off < off {
		before, after = g.last, none
	}
	for after != none && a.pieces[after].off < off {
		before, after = after, a.pieces[after].next
	}
	if after != none && a.pieces[after].off == off && a.pieces[after].all == n && more == (end != g.total) && a.equal(after, data) {
		return packet.IPFragDuplicate
	}
	switch {
	case before != none && a.pieces[before].off+a.pieces[before].n > off,
		after != none && a.pieces[after].off < end,
		g.total != 0 && (end > g.total || more == (end == g.total)),
		!more && g.last != none && after != none:
		return a.kill(i, packet.IPFragOverlap)
	case g.fragments == MaxFragments:
		return a.kill(i, packet.IPFragTooMany)
	}
	if !a.reserve(i, (len(data)+blockSize-1)/blockSize) {
		return packet.IPFragFull
	}
	if !more {
		g.total = end
	}
	for all := n; len(data) > 0; all = 0 {
		at := a.freePiece
		c := &a.pieces[at]
		a.freePiece = c.next
		a.spare--
		k := copy(a.blocks[int(at)*blockSize:(int(at)+1)*blockSize], data)
		*c = piece{next: after, off: off, n: uint32(k), all: all}
		if before == none {
			g.first = at
		} else {
			a.pieces[before].next = at
		}
		before, off, data = at, off+uint32(k), data[k:]
	}
	if after == none {
		g.last = before
	}
	g.have += n
	g.fragments++
	a.held++
	return packet.NoReason
}

// equal reports whether the pieces from one on hold data.
func (a *assembly) equal(at int32, data []byte) bool {
	for len(data) > 0 {
		c := &a.pieces[at]
		if !bytes.Equal(a.bytes(at), data[:c.n]) {
			return false
		}
		data, at = data[c.n:], c.next
	}
	return true
}

func (a *assembly) bytes(at int32) []byte {
	from := int(at) * blockSize
	return a.blocks[from : from+int(a.pieces[at].n)]
}

// whole reports whether nothing is missing.
func (g *datagram) whole() bool { return g.total != 0 && g.have == g.total }

// reserve makes n blocks free, if need be by ending others' oldest datagrams.
func (a *assembly) reserve(i int32, n int) bool {
	for a.spare < n {
		victim := a.oldest
		if victim == i {
			victim = a.grams[i].newer
		}
		if victim == none {
			return false
		}
		a.end(victim, packet.IPFragFull)
	}
	return true
}

// kill drops what came of a datagram and refuses what will come (RFC 5722): it is
// remembered until its time is over.
func (a *assembly) kill(i int32, why packet.Reason) packet.Reason {
	a.forget(i, why)
	a.grams[i].dead = why
	return why
}

// forget gives a datagram's pieces back. With a reason they are counted as dropped.
func (a *assembly) forget(i int32, why packet.Reason) {
	g := &a.grams[i]
	for at := g.first; at != none; {
		next := a.pieces[at].next
		a.pieces[at].next = a.freePiece
		a.freePiece = at
		a.spare++
		at = next
	}
	if why != packet.NoReason {
		a.stats.Drops[why] += uint64(g.fragments)
		if g.addrs[2]|g.addrs[3] != 0 { // the second address of IPv6
			a.stats.Drops6[why] += uint64(g.fragments)
		}
	}
	a.held -= g.fragments
	g.first, g.last, g.fragments, g.have = none, none, 0, 0
}

// end forgets a datagram altogether.
func (a *assembly) end(i int32, why packet.Reason) {
	a.forget(i, why)
	g := &a.grams[i]
	link := &a.buckets[g.hash&uint64(len(a.buckets)-1)]
	for *link != i {
		link = &a.grams[*link].chain
	}
	*link = g.chain
	if g.older != none {
		a.grams[g.older].newer = g.newer
	} else {
		a.oldest = g.newer
	}
	if g.newer != none {
		a.grams[g.newer].older = g.older
	} else {
		a.newest = g.older
	}
	g.chain = a.freeGram
	a.freeGram = i
}

// expired returns a datagram whose time is over, or none. All have the same time,
// so that the oldest is the first.
func (a *assembly) expired(now clock.Tick) int32 {
	if a.oldest == none || now.Since(a.grams[a.oldest].born) < a.ttl {
		return none
	}
	return a.oldest
}

// copyTo lays a datagram's payload down.
func (a *assembly) copyTo(i int32, to []byte) {
	for at := a.grams[i].first; at != none; at = a.pieces[at].next {
		to = to[copy(to, a.bytes(at)):]
	}
}

package lb

import (
	"weir/internal/flow"
	"weir/internal/lb/service"
)

// DestCount is one worker's count of one real server's packets; in is toward
// the real server, bytes count from the IP header.
type DestCount struct {
	Conns, InPkts, InBytes, OutPkts, OutBytes uint64
}

// account is a DestCount as it is kept: by the direction that FlagReply says, so that
// nobody has to ask for it.
type account struct {
	conns uint64
	way   [2]struct{ packets, bytes uint64 }
}

// accounts are those of all real servers.
type accounts [service.MaxDests]account

func (t *accounts) of(dest uint32) *account { return &t[dest%service.MaxDests] }

// add counts a packet of so many bytes that a half-flow with a Key1 forwards.
func (t *account) add(key1, bytes uint64) {
	w := &t.way[key1/flow.FlagReply&1]
	w.packets++
	w.bytes += bytes
}

// Note notes a packet of n bytes that is about to be forwarded by a half-flow.
func (b *Balancer) Note(h *flow.Half, key1 uint64, dest uint32, n int) { b.count(h, key1, dest, n) }

// count is Note.
func (b *Balancer) count(h *flow.Half, key1 uint64, dest uint32, n int) {
	h.Last = uint32(b.Now)
	h.Bytes += uint64(n)
	b.accounts.of(dest).add(key1, uint64(n))
}

// Count returns this worker's count of a real server. Only between bursts.
func (b *Balancer) Count(dest uint32) DestCount {
	return b.accounts.of(dest).count()
}

func (t *account) count() DestCount {
	return DestCount{
		Conns:  t.conns,
		InPkts: t.way[0].packets, InBytes: t.way[0].bytes,
		OutPkts: t.way[1].packets, OutBytes: t.way[1].bytes,
	}
}

// ZeroCount clears it. Only between bursts.
func (b *Balancer) ZeroCount(dest uint32) { *b.accounts.of(dest) = account{} }

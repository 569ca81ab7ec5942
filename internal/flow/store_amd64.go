//go:build amd64 && !race

package flow

// Stores to words that others read. On amd64 all see a processor's stores in their order,
// and a plain one takes a tenth of what sync/atomic's does, which waits for all before it.
// Where a load after the store must not overtake it, sync/atomic's is needed.

func set32(p *uint32, v uint32) { *p = v }

// Bump adds to a word that its owner alone writes, and others read.
func Bump(p *int64, n int64) { *p += n }

// Set64 is a store that all see after the ones before it.
func Set64(p *uint64, v uint64) { *p = v }

// Bump32 is Bump for a smaller one.
func Bump32(p *int32, n int32) { *p += n }

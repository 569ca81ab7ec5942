//go:build !amd64 || race

package flow

import "sync/atomic"

func set32(p *uint32, v uint32) { atomic.StoreUint32(p, v) }

// Bump adds to a word that its owner alone writes, and others read.
func Bump(p *int64, n int64) { atomic.AddInt64(p, n) }

// Set64 is a store that all see after the ones before it.
func Set64(p *uint64, v uint64) { atomic.StoreUint64(p, v) }

// Bump32 is Bump for a smaller one.
func Bump32(p *int32, n int32) { atomic.AddInt32(p, n) }

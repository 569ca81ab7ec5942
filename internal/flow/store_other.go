//go:build !amd64 || race

package flow

import "sync/atomic"

func set64(p *uint64, v uint64) { atomic.StoreUint64(p, v) }
func set32(p *uint32, v uint32) { atomic.StoreUint32(p, v) }

// Bump adds to a word that its owner alone writes, and others read.
func Bump(p *int64, n int64) { atomic.AddInt64(p, n) }

// Package flow is the half-flow table: one table that every worker, and the
// kernel's XDP engine, may read. layout.go is the one documented place of its
// format; the C twin (bpf/flow.h) is generated from it.
//
// Enters: tuples of packets, and connections the balancer made.
// Leaves: the record that says how to rewrite a packet, read without a lock.
// Owns: the table is shared between workers (atomic words); each connection has
// one owning worker, which alone removes it and turns its timer.
// Drops: nothing itself; a full table is said to the caller.
// See: docs/flow-table.md.
package flow

// Command bench measures the director. `go run ./bench walk` is the whole walk
// in memory, `expire` the end of many connections, `modes` and `devices` compare walks of several kinds; `veth` is real ports
// beside the kernel's own ways, and `peers` all of Weir beside those and proxies, for
// docs/performance.md. It prints what it measured and how; nothing is judged here but by the reader.
//
// Enters: nothing. Leaves: tables of figures. Owns: its own director in memory.
// Drops: none is allowed in memory: a run that dropped a packet says so and fails.
// On veth the flooded phase loses packets by design, and says where.
package main

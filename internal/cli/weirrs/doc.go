// Package weirrs is the command line of `weir-rs`: run, status, stats, stop,
// version.
//
// Enters: command lines.
// Leaves: an agent that runs; tables, or JSON with --json, on stdout; errors to the
// caller.
// Owns: nothing; what is attached belongs to internal/rsagent and the kernel.
// Drops: nothing.
// See: docs/real-servers.md.
package weirrs

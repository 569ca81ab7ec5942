// Package weir is the subcommands of `weir` that ask a running director: stats,
// worker, conn and version.
//
// Each is a function that writes to a writer, and a cobra command around it.
//
// Enters: command lines; answers of the director's API.
// Leaves: tables, or JSON with --json, on stdout; errors to the caller.
// Owns: nothing; the state is the director's.
// Drops: nothing; the drops that it prints were counted by the workers.
// See: api/weirv1/director.proto, api/client, internal/packet/reason.go, cmd/weir.
package weir

// Package keepalived is the command keepalived: its options, which are stock keepalived's,
// the background, pid files and the log.
//
// Enters: the command line, signals.
// Leaves: a running keepalived.Daemon; what -t, -v, -h and --signum print; an exit code
// as stock's.
// Owns: the process, its pid files, its log.
// Drops: options of stock that mean nothing here, each with a line that says so.
// See: keepalived(8); docs/keepalived.md.
package keepalived

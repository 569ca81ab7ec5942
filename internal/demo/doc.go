// Package demo shows two-arm full-NAT on one machine: it builds the tutorial's
// network out of namespaces, starts the director and two real servers in it (nginx,
// with weir-rs beside it), and runs the tutorial's own commands before the reader's
// eyes.
//
// Enters: the binaries weir, dpip, ipvsadm and weir-rs, which lie side by side; nginx.
// Leaves: a text to read: each command as the tutorial writes it, and its answer.
// Owns: the namespaces, the processes, two control groups with what is attached to
// them, and one temporary directory; all are gone when [Run] returns, also when its
// context was cancelled.
// Drops: nothing; the first answer that is not what it must be ends the demo with
// an error that says what was expected.
// See: the section "Simple Full-NAT (two-arm)" of the DPVS tutorial.
package demo

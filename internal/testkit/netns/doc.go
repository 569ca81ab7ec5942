// Package netns makes small networks out of Linux network namespaces, for tests
// against real kernels and for the demo: namespaces, veth pairs, bridges,
// addresses, and programs that run inside. It knows nothing of the director.
//
// Enters: what the network shall look like, commands to run in it.
// Leaves: a running network, its programs' output.
// Owns: everything of a [World]: namespaces, links, the processes started in
// them, control groups, and BPF file systems for pins. All of it goes with
// [World.Close], and also when the process that made the world is killed: the
// programs by their parent-death signal, the rest by a guard process.
// Drops: nothing; what the kernel refuses comes back as an error that says what
// was tried.
// See: namespaces(7), veth(4), ip-netns(8).
package netns

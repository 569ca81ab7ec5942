// Package uml boots another Linux kernel as a test's peer: user-mode Linux
// (Debian's package user-mode-linux), which is a program and needs no virtual
// machine. It has what the kernel of a development machine may lack: tunnels,
// bonding, VLANs. Its root file system is the host's own, read-only, so that the
// host's programs run in it.
//
// Enters: shell scripts for the guest, the namespaces its network cards belong in.
// Leaves: what the scripts print; frames, as they are, to and from the namespaces.
// Owns: a [Guest]: its processes, its folder with the console's log, the TAPs that
// join its cards to namespaces. They go with [Guest.Close], and also when the
// process that booted it is killed: then a guard process sees to it.
// Drops: frames of a card that is plugged in nowhere.
// See: Documentation/virt/uml/user_mode_linux_howto_v2.rst of the kernel.
package uml

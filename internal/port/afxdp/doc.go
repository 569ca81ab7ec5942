// Package afxdp drives Linux interfaces through AF_XDP sockets: an XDP program
// redirects every frame of a receive queue into memory that the worker shares
// with the kernel. An Engine has the program forward the plain packets of established
// flows itself (docs/offload.md).
//
// Enters: frames of the receive queues that have a socket.
// Leaves: packets of the worker's pool; what is sent lies in the same pool, so
// that forwarding copies nothing.
// Owns: a Program (one per interface) is shared, guarded by its lock, and never
// used on the walk; so is an Engine, which the programs of all ports share. A UMEM (one per worker pool) and a Queue are worker-owned.
// When the process ends, however it ends, the program leaves the interface, unless it is
// an engine's whose flow table is kept: that one goes on (Program.Begin).
// Drops: PortRxNobody, PortRxTooBig, PortRxRingFull, PortRxNoFrame, PortRxError; PortTxFull,
// PortTxTooBig, PortTxError, PortDown, PoolEmpty. Of an Engine: OffloadFull, OffloadRefused.
// See: the kernel's Documentation/networking/af_xdp.rst; bpf/xsk_redirect.bpf.c,
// bpf/forward.bpf.c, bpf/nobody.h, bpf/lost.bpf.c.
//
// A frame's life: pool → fill ring → kernel → receive ring → packet → transmit
// ring → kernel → completion ring → pool. A Packet struct is with it only
// between the receive and the transmit ring.
//
// Needs Linux 5.9. Three modes, best first: zero-copy (the device reads and
// writes the pool), native copy (the program runs in the driver, which copies),
// generic copy (the program runs behind the driver, any interface).
package afxdp

// Package tap is the Linux twin of a port: a TAP device through which the host's own
// programs (routing daemons, sshd) send and receive on the wire that the port
// drives. What the driver transmits, Linux receives, and what Linux sends there,
// the driver receives.
//
// Enters: frames that Linux sends on the twin, whole super-frames among them.
// Leaves: packets of the worker's pool, with CsumPartial and GSO as the kernel
// says; VLAN tags are in the frame.
// Owns: a Queue is worker-owned. A Device is the director's.
// Drops: PortRxRingFull, PortRxTruncated, PortRxError, PoolEmpty; PortTxFull,
// PortTxError, PortDown, WalkFault.
//
// Linux receives a frame within the write that brings it, up to the socket that it
// is for. That time is the worker's; no call waits for anything.
//
// See: the kernel's Documentation/networking/tuntap.rst; struct virtio_net_hdr
// (virtio 1.2, 5.1.6); contrib/kni for what keeps NetworkManager and udev away.
package tap

// Package afpacket drives Linux interfaces through packet sockets: every kernel,
// every device, slower than AF_XDP but with the kernel's offloads: a GSO frame
// comes and goes whole, and the kernel completes checksums.
//
// Enters: frames that the kernel has received, behind its GRO.
// Leaves: packets of the worker's pool, with CsumPartial and GSO as the kernel
// says; a VLAN tag that the device took off is back in the frame.
// Owns: a Queue is worker-owned. A Group (one per interface) is shared, guarded
// by its lock, and used only to open and close. A Takeover is the director's.
// Drops: PortRxRingFull, PortRxTruncated, PortRxError, PoolEmpty; PortTxFull,
// PortTxTooBig, PortTxError, PortDown.
// See: packet(7); the kernel's Documentation/networking/packet_mmap.rst for
// fanout; struct virtio_net_hdr (virtio 1.2, 5.1.6).
package afpacket

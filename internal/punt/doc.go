// Package punt is the way to the host's own kernel and back: each port has a .kni twin,
// a TAP, on which Linux receives what no stage of the walk is interested in, and sends
// what is to leave on the port's wire.
//
// Enters: packets of the walk as they came in, link header and VLAN tag included; frames
// that Linux sent.
// Leaves: to the twin, a few in each breath; to the port that the twin is of, with
// headers found for who completes checksums.
// Owns: Twins are worker-owned, with a queue of each twin.
// Drops: PuntFull, of a port without a twin what the packet came for, L4Malformed; EtherShort of what Linux sent.
//
// See: docs/kni.md for what goes where; package port/tap for the device.
package punt

// Package worker is where packets meet the stages: a worker breathes in bursts,
// walks each packet through the house, and breathes out. It alone knows the order.
//
// Enters: bursts from the queues a worker serves.
// Leaves: packets on the queues of other ports, and on .kni twins; drops, each under a
// reason.
// Owns: a Worker is worker-owned, by whatever Thread runs it; a Snapshot is immutable.
// Drops: all drops of all stages are counted and freed in one place (leave);
// its own reasons are PortDown, HandoffFull, WalkFault.
package worker

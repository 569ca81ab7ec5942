// Package pipe is a port made of memory: what goes in at one end comes out at
// the other. It is for tests, benchmarks and hosts in memory; no packet of a
// user ever meets it.
//
// Enters: frames that a test injects, that a Source makes, or that the other
// end of a joined pipe sends.
// Leaves: frames that a test takes, that a Sink swallows, or that the other end
// of a joined pipe receives.
// Owns: a Queue is worker-owned. The wires between queues and the world outside
// are shared, guarded by a lock that is taken once a burst; with Source and Sink
// there is no wire and no lock.
// Drops: PortTxFull and PortRxRingFull for a full wire, PortTxTooBig beyond the
// MTU, PoolEmpty.
// See: package port for the contract of Queue.
package pipe

// Package bond makes one port of several: it balances what leaves over them, and goes on
// with the others when a cable is cut.
//
// Enters: bursts of the members' queues, and for the walk's port bursts that leave.
// Leaves: packets with In set to the bond's port; frames of LACP copied into a ring for
// the control side; bursts on the members' queues.
// Owns: a [Queue] is worker-owned, one for each worker. [Bond] is shared: an atomic pointer to an
// immutable [Table] says who may send and receive. [Control] decides that; it is for
// one goroutine, outside of the walk, and has no clock.
// Drops: what comes on a member that may not receive (BondInactive), what leaves while no
// member may send (BondNoMember), frames of LACP that come too fast (BondSlowFull).
// See: internal/lacp; Linux's Documentation/networking/bonding.rst for modes and policies.
package bond

// Package route says where a packet goes: which addresses are ours, which port
// and gateway lead to the others, and which source address we use there.
//
// Enters: the ports, and the addresses and routes of a spec.Spec.
// Leaves: an immutable Table; looking up allocates nothing and takes no lock.
// Owns: a Table belongs to nobody once built: any goroutine may read it.
// Drops: nothing; what can't be built is refused with a sentence that names the
// entry and wraps one of the Err sentinels.
// See: packages ip and neigh, which ask it; package director, which builds it.
package route

// Package packet is the parcel that walks through the director, the memory it
// lies in, and the words a stage answers with.
//
// Enters: frame memory handed over by a port driver.
// Leaves: a Verdict for every packet, and a Reason with every Drop.
// Owns: a Pool is worker-owned: one worker gets and puts, nobody else. Whoever
// holds a *Packet owns it and its memory; passing it on gives it away.
// Drops: nothing itself; it names the reasons all others use.
package packet

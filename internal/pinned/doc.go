// Package pinned is what outlives the process: BPF array maps, and links of programs to
// interfaces, pinned in a folder of a bpffs that one director at a time holds. What
// `kill -9` leaves there the next director finds.
//
// Enters: the path of the folder; names and sizes of what is to be kept.
// Leaves: mappings, shared with whoever maps the same, and with programs in the kernel;
// records, which are replaced as a whole.
// Owns: the folder with all that is in it, while it holds the folder's lock. The
// mappings are their users'.
// Drops: nothing.
// See: bpf(2), docs/flow-table.md, docs/operations.md.
package pinned

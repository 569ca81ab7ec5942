// Package dpvsconf reads dpvs.conf: the devices, workers, sizes and settings
// that the director starts with.
//
// Enters: a file in the grammar of DPVS, with the keywords that Weir adds.
// Leaves: spec.Boot and spec.Tunables, with a warning for each keyword that
// Weir has no use for or does not know.
// Owns: nothing; a Config belongs to whoever asked for it.
// Drops: keywords that DPVS needs and Weir does not, each with a warning; a bad
// value of any other keyword refuses the whole file and names all such lines.
// See: docs/dpvs.conf.md, which lists every keyword, range and default.
package dpvsconf

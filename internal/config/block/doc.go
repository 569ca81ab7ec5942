// Package block reads files of the form "keyword value { … }", the form of
// dpvs.conf and keepalived.conf, into a tree of nodes. It knows no keyword but
// include; what the words mean is the business of the dialects built on it.
//
// Enters: the bytes of a file and of the files it includes.
// Leaves: nodes in the order of the file, each with its position.
// Owns: nothing; a tree belongs to whoever asked for it.
// Drops: comments and text between '<' and '>'; what is not well formed is
// refused with a position and a sentence that says what to do.
// See: the pages of internal/config/dpvsconf.
package block

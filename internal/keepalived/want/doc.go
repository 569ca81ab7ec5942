// Package want turns a keepalived.conf, and what is known of the health of its real
// servers, into the services that the director shall have, and says which changes
// lead there from those it has.
//
// Enters: a keepalivedconf.Config; what each real server weighs now; what the
// director lists.
// Leaves: spec.Service values, and the steps of rpc Apply between two lots of them.
// Owns: nothing: all of it are values and pure functions.
// Drops: what the director would refuse whatever its state, as an error with file
// and line, before anything was asked of it.
// See: internal/spec, whose edits judge the file; docs/keepalived.md.
package want

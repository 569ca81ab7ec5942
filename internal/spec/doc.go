// Package spec is the wanted state as plain comparable values: what files, the
// API and the runtime share, and nothing else.
//
// Enters: values from dpvs.conf, the API, saved state.
// Leaves: a validated Spec.
// Owns: nothing; a Spec is immutable once handed over: changes are made on a Clone.
// Drops: nothing; what is wrong is refused with a sentence that says what to do.
package spec

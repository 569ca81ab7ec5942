// Package ipvsadm is the command of the same name: services, real servers and
// local addresses in DPVS's grammar, as one call to the director's API.
//
// Enters: the words of a command line, or the lines of a saved file; answers of the director.
// Leaves: one call that changes something, or listings, on standard output; sentences on standard error; an exit code.
// Owns: nothing; the state is the director's.
// Drops: nothing; a line that is wrong, or asks for what Weir cannot do yet, is refused before any call that changes something.
// See: api/weirv1/director.proto, api/client; internal/cli/dpip for addresses, routes and neighbours.
//
// A line is read in three steps: getopt.go splits it into options, words.go says
// what each means, check.go which of them go together. Exit codes: 0 done; 2 a wrong
// line, no director, or a refusal without a code; 255 an unknown option or no
// command; else the low byte of DPVS's (negative) error code.
package ipvsadm

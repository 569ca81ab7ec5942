// Package dpip is the command `dpip`: addresses, routes, links and neighbours of
// the director, in the grammar of DPVS's dpip, which is that of iproute2.
//
// A line is read in two steps. First the whole of it is parsed and checked into
// an action; then the action calls the director. So a line that is refused here
// has sent nothing. The files follow a line: run.go, options.go, object.go,
// words.go and values.go, then one file for each object.
//
// Enters: the words of a command line.
// Leaves: calls of the director's API; text on stdout, errors and help on stderr; an exit code.
// Owns: nothing; the state is the director's.
// Drops: nothing; a wrong line is refused with a sentence that says what to do.
// See: api/weirv1/director.proto, api/client, docs/.
package dpip

// Package health asks real servers whether they live, as keepalived's checkers
// do, and says when the answer changes. It knows nothing of services or of the
// director: whoever uses it implements [Notices] and does what they mean.
//
// A [Check] is a [Probe] (how to ask: [TCP], [HTTP], [UDP], [DNS], [SMTP], [Ping],
// [Misc]) with its timing. A [Schedule] runs the checks of all servers: one
// goroutine keeps the time, and each check that is under way has one of its own.
// Each asks within a deadline. [Quorum] and [Place] turn what was learned into what
// a service's list of destinations shall be; they are pure functions.
//
// Enters: the servers with their checks ([Schedule.Set]); what the servers answer.
// Leaves: [Notices], in order, from one goroutine; what the checks send, from the
// address, port, device and with the mark that a [Way] says.
// Owns: the state of each check; its sockets and programs, none of which outlives
// [Schedule.Stop].
// Drops: nothing; answers of checks that were removed meanwhile are forgotten.
// See: keepalived.conf(5), the checkers of real_server; design.md §2.
package health

// Package keepalived makes the director do what a keepalived.conf says: it checks the
// real servers, keeps the services as their health has them, and brings the addresses
// of VRRP instances to their ports while the instance is master.
//
// One goroutine, Daemon.Run, owns all state. What happens elsewhere (a check's result,
// a state of VRRP, the end of a script, the director's coming and going) reaches it
// through one queue, and when the queue is empty what has changed goes to the director
// as one change.
//
// Enters: a File; signals to read it again; health.Notices; vrrp states; the
// director's answers.
// Leaves: changes of the director (rpc Apply), addresses held (rpc HoldAddresses),
// scripts run, lines of a log.
// Owns: the schedule of checks, the stock keepalived, the streams to the director.
// Drops: nothing; what the director refuses is told once, and tried again.
// See: docs/keepalived.md; keepalived.conf(5).
package keepalived

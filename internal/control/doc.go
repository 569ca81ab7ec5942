// Package control serves the API over the director: a Unix socket, the Connect
// protocol (gRPC, and JSON over HTTP).
//
// Enters: requests of CLIs and other clients.
// Leaves: answers; refusals with DPVS's code and a sentence that says what to do.
// Owns: the socket. Requests run at the same time; the director orders changes.
// Drops: nothing.
package control

// Package host is a machine in memory with a real TCP/IP stack (gVisor's), at
// the other end of a director's pipe port. It speaks IPv4 and, if it has an
// address of it, IPv6 with neighbour discovery. The wire between them may lose
// frames and change their order.
//
// Enters: frames that the port sent. Leaves: frames for the port to receive.
// Owns: a [Host] its stack, and the goroutines that carry frames, until Close.
// Drops: what the wire loses, by a seeded coin; frames before a full port.
// See: RFC 9293; gvisor.dev/gvisor/pkg/tcpip.
package host

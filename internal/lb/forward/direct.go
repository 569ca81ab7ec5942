package forward

import "weir/internal/flow"

// Direct makes the half-flow of direct routing (DR): inbound, everything stays as
// the client sent it, and the frame goes to the real server's MAC. The real
// server, which has the VIP on an interface of its own, answers the client
// itself: there is no outbound half.
func Direct(e *Ends) flow.Flow {
	return flowOf(e.Proto, e.Client, e.Virtual, e.ClientPort, e.VirtualPort, e.Client, e.Virtual, e.ClientPort, e.VirtualPort)
}

// Tunnel makes the half-flow of IP tunnelling: inbound, the client's packet goes
// as it is into an IP packet from an address of the director's to the real
// server, which unpacks it and answers the client itself. The half-flow's new
// addresses are the outer ones.
func Tunnel(e *Ends, from uint32) flow.Flow {
	f := Direct(e)
	f.NewAddrs = uint64(from) | uint64(e.Real)<<32
	f.Tunnel = true
	return f
}

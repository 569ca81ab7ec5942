package forward

import "weir/internal/flow"

// Direct makes the half-flow of direct routing (DR): inbound, everything stays as
// the client sent it, and the frame goes to the real server's MAC. The real
// server, which has the VIP on an interface of its own, answers the client
// itself: there is no outbound half.
func Direct(e *Ends) flow.Flow {
	same := tuple{e.Client, e.Virtual, e.ClientPort, e.VirtualPort}
	return flowOf(e.Proto, same, same)
}

// Tunnel makes the half-flow of IP tunnelling: inbound, the client's packet goes
// as it is into an IP packet from an address of the director's to the real
// server, which unpacks it and answers the client itself. The half-flow's new
// addresses are the outer ones, of either family.
func Tunnel(e *Ends, from flow.Addr) flow.Flow {
	f := Direct(e)
	f.Tunnel, f.Cross = true, e.Client.Is4() != e.Real.Is4()
	f.NewAddrs, f.NewSrc, f.NewDst = 0, flow.Addr{}, flow.Addr{}
	if e.Real.Is4() {
		f.NewAddrs = uint64(from.V4()) | uint64(e.Real.V4())<<32
	} else {
		f.NewSrc, f.NewDst = from, e.Real
	}
	return f
}

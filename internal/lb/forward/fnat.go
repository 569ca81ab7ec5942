package forward

import "weir/internal/flow"

// Ends are the four ends of a connection, as on the wire, read little-endian.
type Ends struct {
	Proto                                        uint8
	Client, Virtual, Local, Real                 uint32
	ClientPort, VirtualPort, LocalPort, RealPort uint16
}

// FullNAT makes the half-flows of full-NAT: inbound, client > VIP becomes
// LIP > RS; outbound, RS > LIP becomes VIP > client.
func FullNAT(e *Ends) (in, out flow.Flow) {
	in = flowOf(e.Proto, e.Client, e.Virtual, e.ClientPort, e.VirtualPort, e.Local, e.Real, e.LocalPort, e.RealPort)
	out = flowOf(e.Proto, e.Real, e.Local, e.RealPort, e.LocalPort, e.Virtual, e.Client, e.VirtualPort, e.ClientPort)
	out.Reply = true
	return in, out
}

package forward

import "weir/internal/flow"

// Ends are the four ends of a connection, ports as on the wire, read little-endian.
// Client and Virtual are of one family, Local and Real of one.
type Ends struct {
	Proto                                        uint8
	Client, Virtual, Local, Real                 flow.Addr
	ClientPort, VirtualPort, LocalPort, RealPort uint16
}

// FullNAT makes the half-flows of full-NAT: inbound, client > VIP becomes
// LIP > RS; outbound, RS > LIP becomes VIP > client. With ends of two families it
// is NAT64 or NAT46.
func FullNAT(e *Ends) (in, out flow.Flow) {
	in = flowOf(e.Proto, tuple{e.Client, e.Virtual, e.ClientPort, e.VirtualPort}, tuple{e.Local, e.Real, e.LocalPort, e.RealPort})
	out = flowOf(e.Proto, tuple{e.Real, e.Local, e.RealPort, e.LocalPort}, tuple{e.Virtual, e.Client, e.VirtualPort, e.ClientPort})
	out.Reply = true
	return in, out
}

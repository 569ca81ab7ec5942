package forward

import "weir/internal/flow"

// NAT makes the half-flows of network address translation: inbound, client > VIP
// becomes client > RS; outbound, RS > client becomes VIP > client. The real
// server's way to its clients has to lead through the director.
func NAT(e *Ends) (in, out flow.Flow) {
	in = flowOf(e.Proto, tuple{e.Client, e.Virtual, e.ClientPort, e.VirtualPort}, tuple{e.Client, e.Real, e.ClientPort, e.RealPort})
	out = flowOf(e.Proto, tuple{e.Real, e.Client, e.RealPort, e.ClientPort}, tuple{e.Virtual, e.Client, e.VirtualPort, e.ClientPort})
	out.Reply = true
	return in, out
}

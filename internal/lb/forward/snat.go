package forward

import "weir/internal/flow"

// SNAT makes the half-flows of source NAT: inside host > remote becomes WAN >
// remote; remote > WAN becomes remote > inside host. Here the client is the inside
// host and the virtual end is the remote one, which stays; Local is the WAN
// address. Of ICMP echoes the id stands for the port of who asks, and the other is 0.
func SNAT(e *Ends) (in, out flow.Flow) {
	in = flowOf(e.Proto, tuple{e.Client, e.Virtual, e.ClientPort, e.VirtualPort}, tuple{e.Local, e.Virtual, e.LocalPort, e.VirtualPort})
	out = flowOf(e.Proto, tuple{e.Virtual, e.Local, e.VirtualPort, e.LocalPort}, tuple{e.Virtual, e.Client, e.VirtualPort, e.ClientPort})
	out.Reply = true
	return in, out
}

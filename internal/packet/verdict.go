package packet

// Verdict is what a stage decided about a packet. The stage never calls the
// next one: the walk (internal/worker/walk.go) reads the verdict and does.
type Verdict uint8

// The verdicts, in the order in which a packet may meet them.
const (
	Drop        Verdict = iota // Packet.Reason says why; the walk counts and frees it
	Refuse                     // as Drop, but first ip.Refuse sends the ICMP error that Reason calls for
	Continue                   // on to the next stage
	Neighbour                  // ARP, or neighbour discovery of IPv6: for the neighbour table
	Fragment                   // of a datagram: put together with the others (ip.Join)
	Decapsulate                // a packet in a packet to us: for the tunnel devices, and then again as what was in it
	Elsewhere                  // out of a tunnel: another worker goes on, so that all share a tunnel's work
	OuterError                 // an ICMP error about a packet that carried another: for the tunnel devices
	Anew                       // as Output, of a packet that waited while routes changed: its connection may know the way better than its destination
	Output                     // destination settled, NextHop may be set: go to IP output
	Follow                     // as Output, but first goes what the stage laid into the outbox
	Transmit                   // link header complete, Out is set: go to the port
	Punt                       // for the host kernel: to the .kni twin of the port it came in on
	Stolen                     // the stage holds the packet now and answers for it
)

var verdictNames = [...]string{"drop", "refuse", "continue", "neighbour", "fragment", "decapsulate", "elsewhere", "outer error", "anew", "output", "follow", "transmit", "punt", "stolen"}

// String returns the word used in stories and traces.
func (v Verdict) String() string {
	if int(v) < len(verdictNames) {
		return verdictNames[v]
	}
	return "unknown"
}

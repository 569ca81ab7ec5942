// Package stat counts what a worker did with packets.
//
// Enters: nothing. Leaves: totals for `weir stats`.
// Owns: a Worker's counters are worker-owned; readers get a copy through the
// worker's mailbox between two breaths, so that counting costs a plain add.
// Drops: it is where drops are counted.
package stat

import "weir/internal/packet"

// MaxPorts is port.Max.
const MaxPorts = 64

// PortCount is what went through a port: packets, and their bytes with the link header,
// but without tag and outer headers.
type PortCount struct {
	RxPackets, RxBytes uint64
	TxPackets, TxBytes uint64
}

// Worker holds one worker's counters.
type Worker struct {
	Drops            [packet.NumReasons]uint64
	Breaths          uint64 // rounds
	Bursts           uint64 // receive calls that brought packets
	Forwarded        uint64 // packets of connections that left
	Answered         uint64 // ARP and ICMP answers, RST: packets made or turned round here
	Consumed         uint64 // packets that ended here without loss (ARP learnt)
	ConsumedND       uint64 // the same of neighbour discovery
	NewConns         uint64
	Expired          uint64
	Express          uint64 // of the forwarded, those that needed no stage (worker/express.go)
	RoutedAnew       uint64 // flows that looked up their route again
	TOASent          uint64 // packets that carried the client's address
	TOAFailed        uint64 // packets that should have but had no room
	UOASent          uint64 // datagrams that carried the client's address, or that one with it went ahead of
	SentAhead        uint64 // packets made to tell it ahead of one that had no room
	UOAFailed        uint64 // datagrams that went without for lack of memory
	ProxySent        uint64 // packets that carried a PROXY header
	ProxyTaken       uint64 // PROXY headers of clients that were taken out or replaced
	ClaimsTaken      uint64 // TOA and UOA options of clients that were taken out
	RSTSent          uint64
	HalfOpenEvicted  uint64 // half-open connections ended to make room
	CsumCompleted    uint64 // partial checksums completed in software
	GSOSegmented     uint64 // super-frames cut up in software
	Reassembled      uint64 // datagrams put together from fragments
	FragmentsJoined  uint64 // fragments that they came in
	Fragmented       uint64 // datagrams that left in fragments
	FragmentsMade    uint64 // fragments that they left in
	TemplatesMade    uint64 // persistence templates made
	TemplatesMoved   uint64 // persistence templates whose real server was unavailable and that got another
	TemplatesEvicted uint64 // persistence templates that went before their time to make room
	TemplatesFull    uint64 // connections made without a persistence template: the store was full
	QuiescentEnded   uint64 // connections ended because their real server was deleted, had no weight or was inhibited (--expire-quiescent)
	FromLinux        uint64 // packets that Linux sent on a .kni twin, and that left
	TakenOver        uint64 // connections that began in the middle: flows that came by another director before
	DestsDown        uint64 // times that a real server was found down (--dest-check)

	// Punts are packets given to Linux, by what they would have been dropped for if the
	// port had no .kni twin.
	Punts [packet.NumReasons]uint64

	// Virtual is what went through VLANs and tunnels, by port: they have no queues that count.
	Virtual [MaxPorts]PortCount

	// Of IPv6 alone (RFC 4293); bytes count from the IP header. What is counted above
	// is of both families.
	In6            uint64 // packets that came
	In6Bytes       uint64
	Delivered6     uint64 // of them, for addresses of the director's own that no service wanted
	Fragments6     uint64 // of them, fragments
	Reassembled6   uint64 // datagrams put together from these
	Out6           uint64 // packets that left
	Made6          uint64 // of them, made here
	Out6Bytes      uint64
	Fragmented6    uint64 // datagrams that left in fragments
	FragmentsMade6 uint64 // fragments that they left in
	Drops6         [packet.NumReasons]uint64
}

// Add adds o to w.
func (w *Worker) Add(o *Worker) {
	for i, n := range o.Drops {
		w.Drops[i] += n
	}
	for i, n := range o.Drops6 {
		w.Drops6[i] += n
	}
	for i, n := range o.Punts {
		w.Punts[i] += n
	}
	for i := range o.Virtual {
		v, n := &w.Virtual[i], &o.Virtual[i]
		v.RxPackets += n.RxPackets
		v.RxBytes += n.RxBytes
		v.TxPackets += n.TxPackets
		v.TxBytes += n.TxBytes
	}
	w.In6 += o.In6
	w.In6Bytes += o.In6Bytes
	w.Delivered6 += o.Delivered6
	w.Fragments6 += o.Fragments6
	w.Reassembled6 += o.Reassembled6
	w.Out6 += o.Out6
	w.Made6 += o.Made6
	w.Out6Bytes += o.Out6Bytes
	w.Fragmented6 += o.Fragmented6
	w.FragmentsMade6 += o.FragmentsMade6
	w.Breaths += o.Breaths
	w.Bursts += o.Bursts
	w.Forwarded += o.Forwarded
	w.Answered += o.Answered
	w.Consumed += o.Consumed
	w.ConsumedND += o.ConsumedND
	w.NewConns += o.NewConns
	w.Expired += o.Expired
	w.Express += o.Express
	w.RoutedAnew += o.RoutedAnew
	w.TOASent += o.TOASent
	w.TOAFailed += o.TOAFailed
	w.UOASent += o.UOASent
	w.SentAhead += o.SentAhead
	w.UOAFailed += o.UOAFailed
	w.ProxySent += o.ProxySent
	w.ProxyTaken += o.ProxyTaken
	w.ClaimsTaken += o.ClaimsTaken
	w.RSTSent += o.RSTSent
	w.HalfOpenEvicted += o.HalfOpenEvicted
	w.TemplatesMade += o.TemplatesMade
	w.TemplatesMoved += o.TemplatesMoved
	w.TemplatesEvicted += o.TemplatesEvicted
	w.TemplatesFull += o.TemplatesFull
	w.QuiescentEnded += o.QuiescentEnded
	w.TakenOver += o.TakenOver
	w.DestsDown += o.DestsDown
	w.FromLinux += o.FromLinux
	w.CsumCompleted += o.CsumCompleted
	w.GSOSegmented += o.GSOSegmented
	w.Reassembled += o.Reassembled
	w.FragmentsJoined += o.FragmentsJoined
	w.Fragmented += o.Fragmented
	w.FragmentsMade += o.FragmentsMade
}

// Punted is how many packets Linux was given in all.
func (w *Worker) Punted() (n uint64) {
	for _, of := range w.Punts {
		n += of
	}
	return n
}

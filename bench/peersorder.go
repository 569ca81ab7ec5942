package main

import (
	"net/netip"
	"time"
)

// What the web's client is told to do, and what it answers: JSON lines.

// webOrder is what the client shall do.
type webOrder struct {
	To      netip.AddrPort
	Conns   int
	Close   bool          // a connection for each request
	Every   time.Duration // between two requests, kept connections, whose delays are measured; 0: as fast as can be
	For     time.Duration // 0: open the connections, ask once on each and keep them until an order that is not such
	Stay    bool          // keep the connections, and go on with them at the next order that is the same but for its time
	From    []netip.Addr  // the connections leave from these in turn; none: from where Linux likes
	Clients []int         // process ids: generator's and server's
	Between []int         // and those of the balancer
	Netns   uint32        // the balancer's network namespace (netnsOf), if it shall be known what is the balancer's of the time
	Calm    calmOrder     // what is counted of the time
}

// webPhase is what came of it.
type webPhase struct {
	Err             string `json:",omitempty"`
	Took            time.Duration
	Calmed          calmTime
	Requests        uint64
	Failures        uint64
	Ends, Balancer  time.Duration // processor time: of generator and server, of the balancer's processes
	Softirqd        time.Duration // of ksoftirqd and interrupts
	Lent, Borrowed  time.Duration // receiving of others that is in Balancer, and of the balancer that is not
	Delays          delays        `json:",omitempty"`
	FailedBecauseOf string        `json:",omitempty"`
}

// all is the processor time of all who worked on the requests.
func (w *webPhase) all() time.Duration { return w.Ends + w.Balancer + w.Softirqd }

// balancer is the processor time of the balancer: of its processes, but not what others' frames
// needed there when they were received, and of what its interfaces received elsewhere.
func (w *webPhase) balancer() time.Duration { return w.Balancer - w.Lent + w.Borrowed }

// webKind tells orders apart whose connections stay.
type webKind struct {
	to           netip.AddrPort
	conns        int
	close, paced bool
}

func kindOf(o *webOrder) webKind { return webKind{o.To, o.Conns, o.Close, o.Every > 0} }

package proto

import (
	"strings"
	"testing"

	"weir/internal/clock"
	"weir/internal/spec"
)

// reference is the table of LVS as text, in the order of its documentation:
// direction and segment, then the next state from each state of the first line. One
// entry is ours: "one ACK" from NONE, a flow that another director had, which LVS calls
// established if it is told to be sloppy and we half-open.
const reference = `
state    NONE EST SYN_SENT SYN_RECV FIN_WAIT TIME_WAIT CLOSE CLOSE_WAIT LAST_ACK LISTEN SYNACK
in SYN   SR   ES  ES       SR       SR       SR        SR    SR         SR       SR     SR
in FIN   CL   CW  SS       TW       TW       TW        CL    CW         LA       LI     TW
in ACK   CL   ES  SS       ES       FW       TW        CL    CW         CL       LI     ES
in RST   CL   CL  CL       SR       CL       CL        CL    CL         LA       LI     SR
out SYN  SS   ES  SS       SR       SS       SS        SS    SS         SS       LI     SR
out FIN  TW   FW  SS       TW       FW       TW        CL    TW         LA       LI     TW
out ACK  ES   ES  SS       ES       FW       TW        CL    CW         LA       ES     ES
out RST  CL   CL  SS       CL       CL       TW        CL    CL         CL       CL     CL
one SYN  SR   ES  ES       SR       SR       SR        SR    SR         SR       SR     SR
one FIN  CL   FW  SS       TW       FW       TW        CL    CW         LA       LI     TW
one ACK  SR   ES  SS       ES       FW       TW        CL    CW         CL       LI     ES
one RST  CL   CL  CL       SR       CL       CL        CL    CL         LA       LI     CL
`

var short = map[string]State{
	"NO": TCPNone, "ES": TCPEstablished, "SS": TCPSynSent, "SR": TCPSynRecv, "FW": TCPFinWait, "TW": TCPTimeWait,
	"CL": TCPClose, "CW": TCPCloseWait, "LA": TCPLastAck, "LI": TCPListen, "SA": TCPSynAck,
}

var columns = []State{
	TCPNone, TCPEstablished, TCPSynSent, TCPSynRecv, TCPFinWait, TCPTimeWait, TCPClose, TCPCloseWait, TCPLastAck, TCPListen, TCPSynAck,
}

const (
	fin = 1 << iota
	syn
	rst
	psh
	ack
	urg
	ece
	cwr
)

// TestTable holds the table to the reference, for every combination of flags:
// RST counts before SYN, SYN before FIN, FIN before ACK.
func TestTable(t *testing.T) {
	rows := map[string][]string{}
	for _, line := range strings.Split(strings.TrimSpace(reference), "\n")[1:] {
		w := strings.Fields(line)
		rows[w[0]+" "+w[1]] = w[2:]
	}
	if len(rows) != 12 {
		t.Fatalf("%d rows", len(rows))
	}
	for flags := range 256 {
		kind := ""
		switch {
		case flags&rst != 0:
			kind = "RST"
		case flags&syn != 0:
			kind = "SYN"
		case flags&fin != 0:
			kind = "FIN"
		case flags&ack != 0:
			kind = "ACK"
		}
		for d, direction := range []string{"in", "out", "one"} {
			for i, from := range columns {
				want := from // without any of the four nothing happens
				if kind != "" {
					want = short[rows[direction+" "+kind][i]]
				}
				if got := NextTCP(from, uint8(flags), Direction(d)); got != want {
					t.Errorf("%s %s (flags %#x) in %s: %s, want %s", direction, kind, flags, Name(from), Name(got), Name(want))
				}
			}
		}
	}
}

// TestSettled: in the states that are settled nothing but FIN, SYN and RST says anything.
func TestSettled(t *testing.T) {
	for d, want := range [][]string{{"ES", "FW", "TW", "CL", "CW"}, {"ES", "FW", "TW", "CL", "CW", "LA"}, {"ES", "FW", "TW", "CL", "CW"}} {
		is := map[State]bool{}
		for _, name := range want {
			is[short[name]] = true
		}
		for s := range State(255) {
			if got := Settled(s, Direction(d)); got != is[s] {
				t.Errorf("direction %d, %s: settled %v", d, Name(s), got)
			}
			for flags := range 256 {
				if got := NextTCP(s, uint8(flags), Direction(d)); is[s] && flags&(fin|syn|rst) == 0 && got != s {
					t.Errorf("direction %d: flags %#x in %s lead to %s", d, flags, Name(s), Name(got))
				}
			}
		}
	}
	if Settled(TCPEstablished, numDirections) {
		t.Error("a direction that is none is settled")
	}
}

func TestStatesOfUDPStay(t *testing.T) {
	for _, s := range []State{UDPOneWay, UDPNormal, numTCP, 255} {
		if got := NextTCP(s, syn, Inbound); got != s {
			t.Errorf("%s became %s by a SYN", Name(s), Name(got))
		}
	}
}

func TestNames(t *testing.T) {
	for s, want := range map[State]string{TCPNone: "TCP_NONE", TCPEstablished: "TCP_EST", TCPSynRecv: "SYN_RECV", TCPSynAck: "SYNACK", UDPOneWay: "UDP_ONEWAY", UDPNormal: "UDP_NORM", 200: "?"} {
		if got := Name(s); got != want {
			t.Errorf("state %d is called %s, want %s", s, got, want)
		}
	}
}

// TestTimeouts: each state has the one that is set for it, in ticks; a service's
// own replaces those of established TCP and all of UDP.
func TestTimeouts(t *testing.T) {
	set := spec.Timeouts{
		TCP: spec.TCPTimeouts{None: 1, Established: 2, SynSent: 3, SynRecv: 4, FinWait: 5, TimeWait: 6, Close: 7, CloseWait: 8, LastAck: 9, Listen: 10, SynAck: 11},
		UDP: spec.UDPTimeouts{OneWay: 12, Normal: 13},
	}
	o := NewTimeouts(set)
	own := clock.FromSeconds(99)
	for s, want := range map[State]struct {
		seconds  uint32
		replaced bool
	}{
		TCPNone: {1, false}, TCPEstablished: {2, true}, TCPSynSent: {3, false}, TCPSynRecv: {4, false}, TCPFinWait: {5, false}, TCPTimeWait: {6, false},
		TCPClose: {7, false}, TCPCloseWait: {8, false}, TCPLastAck: {9, false}, TCPListen: {10, false}, TCPSynAck: {11, false},
		UDPOneWay: {12, true}, UDPNormal: {13, true},
	} {
		if got := o.Of(s, 0); got != clock.FromSeconds(want.seconds) {
			t.Errorf("%s lasts %d ticks, want those of %d s", Name(s), got, want.seconds)
		}
		if got := o.Of(s, own) == own; got != want.replaced {
			t.Errorf("%s: the service's own timeout replaces it: %v", Name(s), got)
		}
	}
}

package proto

import (
	"slices"

	"weir/internal/wire"
)

// The states of SCTP, as the real server is in them; those of LVS. Beside those of
// RFC 9260, section 4: INIT1 is a first INIT, whose client may not be there; INIT a
// repeated one; COOKIE_SENT and COOKIE_REPLIED a handshake half done; REJECTED an INIT
// that the real server aborted. COOKIE_WAIT, COOKIE and COOKIE_ECHOED are those of a
// handshake that the real server began.
const (
	SCTPNone State = numUDP + iota
	SCTPInit1
	SCTPInit
	SCTPCookieSent
	SCTPCookieReplied
	SCTPCookieWait
	SCTPCookie
	SCTPCookieEchoed
	SCTPEstablished
	SCTPShutdownSent
	SCTPShutdownReceived
	SCTPShutdownAckSent
	SCTPRejected
	SCTPClosed
	numStates
)

// numSCTP is how many there are.
const numSCTP = numStates - SCTPNone

var sctpNames = [numSCTP]string{
	"SCTP_NONE", "SCTP_INIT1", "SCTP_INIT", "SCTP_COOKIE_SENT", "SCTP_COOKIE_REPLIED", "SCTP_COOKIE_WAIT", "SCTP_COOKIE",
	"SCTP_COOKIE_ECHOED", "SCTP_ESTABLISHED", "SCTP_SHUTDOWN_SENT", "SCTP_SHUTDOWN_RECEIVED", "SCTP_SHUTDOWN_ACK_SENT", "SCTP_REJECTED", "SCTP_CLOSED",
}

// SCTPSeconds are the timeouts of SCTP, from SCTPNone on: LVS's, which no file sets.
// 4 is the first retransmission timeout and one (RFC 9260, 16), 61 the longest and one.
var SCTPSeconds = [numSCTP]uint32{2, 4, 61, 61, 61, 61, 61, 61, 900, 61, 61, 61, 4, 61}

// SCTPEvent is what an SCTP packet says by its chunks.
type SCTPEvent uint8

// The events. SCTPOther is all that moves nothing by itself: DATA, SACK, HEARTBEAT
// and chunks that nobody here knows.
const (
	SCTPOther SCTPEvent = iota
	SCTPInits
	SCTPInitAcked
	SCTPCookieEchoes
	SCTPCookieAcked
	SCTPShutsDown
	SCTPShutdownAcked
	SCTPShutdownCompletes
	SCTPErrs
	SCTPAborts
	numSCTPEvents
)

// maxChunks is how many chunks of a packet are looked at.
const maxChunks = 8

// SCTPEventOf returns what a packet says: its first chunk does, unless ABORT or SHUTDOWN,
// which may stand behind others (RFC 9260, 3.3.7 and 6.10), is among the first 8.
func SCTPEventOf(p wire.SCTP) SCTPEvent {
	first := SCTPOther
	c, rest, ok := wire.NextSCTPChunk(p.Chunks())
	for n := 0; ok && n < maxChunks; n++ {
		switch e := sctpEvent(c.Type); {
		case n == 0:
			first = e
		case e == SCTPAborts, e == SCTPShutsDown && first == SCTPOther:
			return e
		}
		c, rest, ok = wire.NextSCTPChunk(rest)
	}
	return first
}

func sctpEvent(chunk uint8) SCTPEvent {
	switch chunk {
	case wire.SCTPInit:
		return SCTPInits
	case wire.SCTPInitAck:
		return SCTPInitAcked
	case wire.SCTPAbort:
		return SCTPAborts
	case wire.SCTPShutdown:
		return SCTPShutsDown
	case wire.SCTPShutdownAck:
		return SCTPShutdownAcked
	case wire.SCTPError:
		return SCTPErrs
	case wire.SCTPCookieEcho:
		return SCTPCookieEchoes
	case wire.SCTPCookieAck:
		return SCTPCookieAcked
	case wire.SCTPShutdownComplete:
		return SCTPShutdownCompletes
	}
	return SCTPOther
}

// A sctpRule takes an event from each of some states to another one. What no rule is
// for changes nothing.
type sctpRule struct {
	e    SCTPEvent
	to   State
	from []State
}

// Groups of states that rules begin in. Nobody changes them.
var (
	sctpFresh   = []State{SCTPNone, SCTPInit1, SCTPInit}
	sctpClients = []State{SCTPNone, SCTPInit1, SCTPInit, SCTPCookieSent, SCTPCookieReplied} // the client's handshake
	sctpOpening = slices.Concat(sctpClients, []State{SCTPCookieWait, SCTPCookie, SCTPCookieEchoed})
	sctpClosing = []State{SCTPShutdownSent, SCTPShutdownReceived, SCTPShutdownAckSent}
)

// sctpAllBut are all states but one.
func sctpAllBut(not State) (all []State) {
	for s := SCTPNone; s < numStates; s++ {
		if s != not {
			all = append(all, s)
		}
	}
	return all
}

// sctpRules are LVS's transitions. Of a packet that is the first to be seen of its
// association (SCTPNone) they believe what it says.
var sctpRules = [numDirections][]sctpRule{
	Inbound: {
		{SCTPOther, SCTPEstablished, []State{SCTPNone}},
		{SCTPInits, SCTPInit1, []State{SCTPNone}},
		{SCTPInits, SCTPInit, []State{SCTPInit1, SCTPRejected, SCTPClosed}},
		{SCTPInitAcked, SCTPCookieWait, sctpFresh},
		{SCTPInitAcked, SCTPCookie, []State{SCTPCookieWait}},
		{SCTPCookieEchoes, SCTPCookieReplied, []State{SCTPNone, SCTPCookieSent}},
		{SCTPCookieEchoes, SCTPInit, []State{SCTPInit1}},
		{SCTPCookieAcked, SCTPEstablished, []State{SCTPNone, SCTPCookieEchoed}},
		{SCTPShutsDown, SCTPShutdownReceived, []State{SCTPNone, SCTPEstablished}},
		{SCTPShutdownAcked, SCTPClosed, []State{SCTPNone, SCTPShutdownSent, SCTPShutdownAckSent}},
		{SCTPShutdownAcked, SCTPInit, []State{SCTPInit1}},
		{SCTPShutdownCompletes, SCTPClosed, slices.Concat(sctpFresh, []State{SCTPShutdownAckSent})},
		{SCTPErrs, SCTPClosed, []State{SCTPNone, SCTPCookieEchoed}},
		{SCTPAborts, SCTPClosed, sctpAllBut(SCTPCookieWait)},
		{SCTPAborts, SCTPRejected, []State{SCTPCookieWait}},
	},
	Outbound: {
		{SCTPOther, SCTPEstablished, []State{SCTPNone}},
		{SCTPInits, SCTPCookieWait, sctpAllBut(SCTPEstablished)},
		{SCTPInitAcked, SCTPCookieSent, sctpFresh},
		{SCTPCookieEchoes, SCTPCookieEchoed, sctpOpening},
		{SCTPCookieAcked, SCTPEstablished, sctpOpening},
		{SCTPShutsDown, SCTPShutdownSent, slices.Concat(sctpOpening, []State{SCTPEstablished})},
		{SCTPShutdownAcked, SCTPShutdownAckSent, slices.Concat(sctpClients, sctpClosing)},
		{SCTPShutdownCompletes, SCTPClosed, []State{SCTPNone}},
		{SCTPErrs, SCTPClosed, sctpClients},
		{SCTPAborts, SCTPClosed, sctpAllBut(SCTPInit1)},
		{SCTPAborts, SCTPRejected, []State{SCTPInit1}},
	},
	OneWay: { // the client's COOKIE ECHO says that it got an INIT ACK
		{SCTPOther, SCTPEstablished, []State{SCTPNone, SCTPCookieWait}},
		{SCTPInits, SCTPInit1, []State{SCTPNone}},
		{SCTPInits, SCTPInit, []State{SCTPInit1, SCTPCookieSent, SCTPCookieReplied, SCTPCookieWait, SCTPRejected, SCTPClosed}},
		{SCTPInitAcked, SCTPCookieEchoed, slices.Concat(sctpClients, []State{SCTPCookieWait})},
		{SCTPCookieEchoes, SCTPEstablished, slices.Concat(sctpClients, []State{SCTPCookieWait})},
		{SCTPCookieAcked, SCTPEstablished, []State{SCTPNone, SCTPCookieSent, SCTPCookieReplied, SCTPCookie, SCTPCookieEchoed}},
		{SCTPShutsDown, SCTPShutdownReceived, []State{SCTPNone, SCTPEstablished}},
		{SCTPShutdownAcked, SCTPClosed, []State{SCTPNone, SCTPEstablished, SCTPShutdownSent, SCTPShutdownAckSent}},
		{SCTPShutdownAcked, SCTPInit, []State{SCTPInit1}},
		{SCTPShutdownCompletes, SCTPClosed, slices.Concat(sctpClients, []State{SCTPShutdownReceived, SCTPShutdownAckSent})},
		{SCTPErrs, SCTPClosed, []State{SCTPNone}},
		{SCTPAborts, SCTPClosed, sctpAllBut(SCTPCookieWait)},
		{SCTPAborts, SCTPRejected, []State{SCTPCookieWait}},
	},
}

// sctpNext is the rules as a table.
var sctpNext = func() (next [numDirections][numSCTPEvents][numSCTP]State) {
	for d := range next {
		for e := range next[d] {
			for s := range next[d][e] {
				next[d][e][s] = SCTPNone + State(s)
			}
		}
		for _, r := range sctpRules[d] {
			for _, s := range r.from {
				next[d][r.e][s-SCTPNone] = r.to
			}
		}
	}
	return next
}()

// NextSCTP returns the state after a packet that says e.
func NextSCTP(s State, e SCTPEvent, d Direction) State {
	if s < SCTPNone || s >= numStates || d >= numDirections || e >= numSCTPEvents {
		return s
	}
	return sctpNext[d][e][s-SCTPNone]
}

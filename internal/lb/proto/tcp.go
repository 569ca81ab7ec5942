// Package proto holds the state machines of TCP, UDP and SCTP as a balancer in the
// middle sees them.
//
// Enters: a state, a direction, a packet's flags or chunks.
// Leaves: the next state and its timeout.
// Owns: nothing: tables of constants.
// Drops: nothing.
// See: the table of LVS (net/netfilter/ipvs), which DPVS keeps.
package proto

import (
	"weir/internal/clock"
	"weir/internal/spec"
)

// State is a protocol state of a connection.
type State = uint8

// The states of TCP, in the order of the table below.
const (
	TCPNone State = iota
	TCPEstablished
	TCPSynSent
	TCPSynRecv
	TCPFinWait
	TCPTimeWait
	TCPClose
	TCPCloseWait
	TCPLastAck
	TCPListen
	TCPSynAck
	numTCP
	// The states of UDP follow, so that a state names its protocol.
	UDPOneWay
	UDPNormal
	numUDP // and then those of SCTP
)

var stateNames = [numUDP]string{
	"TCP_NONE", "TCP_EST", "SYN_SENT", "SYN_RECV", "FIN_WAIT", "TIME_WAIT", "TCP_CLOSE",
	"CLOSE_WAIT", "LAST_ACK", "LISTEN", "SYNACK", "", "UDP_ONEWAY", "UDP_NORM",
}

// Name returns ipvsadm's word for a state.
func Name(s State) string {
	switch {
	case s < numUDP:
		return stateNames[s]
	case s < numStates:
		return sctpNames[s-SCTPNone]
	}
	return "?"
}

// Rows of the table: what a segment says, by priority.
const (
	rowSYN = iota
	rowFIN
	rowACK
	rowRST
	rowNone
	numRows
)

// Short names, as in LVS.
const (
	sNO = TCPNone
	sES = TCPEstablished
	sSS = TCPSynSent
	sSR = TCPSynRecv
	sFW = TCPFinWait
	sTW = TCPTimeWait
	sCL = TCPClose
	sCW = TCPCloseWait
	sLA = TCPLastAck
	sLI = TCPListen
	sSA = TCPSynAck
)

// Direction is whose segment moves the state.
type Direction uint8

// The directions. OneWay is inbound where the director never sees an answer (DR,
// Tunnel): a FIN of the client has to do for both.
const (
	Inbound Direction = iota
	Outbound
	OneWay
	numDirections
)

// tcpNext[direction][row][state] is the next state.
var tcpNext = [numDirections][numRows][numTCP]State{
	{ //         NO   ES   SS   SR   FW   TW   CL   CW   LA   LI   SA
		rowSYN:  {sSR, sES, sES, sSR, sSR, sSR, sSR, sSR, sSR, sSR, sSR},
		rowFIN:  {sCL, sCW, sSS, sTW, sTW, sTW, sCL, sCW, sLA, sLI, sTW},
		rowACK:  {sCL, sES, sSS, sES, sFW, sTW, sCL, sCW, sCL, sLI, sES},
		rowRST:  {sCL, sCL, sCL, sSR, sCL, sCL, sCL, sCL, sLA, sLI, sSR},
		rowNone: {sNO, sES, sSS, sSR, sFW, sTW, sCL, sCW, sLA, sLI, sSA},
	},
	{ //         NO   ES   SS   SR   FW   TW   CL   CW   LA   LI   SA
		rowSYN:  {sSS, sES, sSS, sSR, sSS, sSS, sSS, sSS, sSS, sLI, sSR},
		rowFIN:  {sTW, sFW, sSS, sTW, sFW, sTW, sCL, sTW, sLA, sLI, sTW},
		rowACK:  {sES, sES, sSS, sES, sFW, sTW, sCL, sCW, sLA, sES, sES},
		rowRST:  {sCL, sCL, sSS, sCL, sCL, sTW, sCL, sCL, sCL, sCL, sCL},
		rowNone: {sNO, sES, sSS, sSR, sFW, sTW, sCL, sCW, sLA, sLI, sSA},
	},
	{ //         NO   ES   SS   SR   FW   TW   CL   CW   LA   LI   SA
		// An ACK begins a connection that another director had: it is half-open, where
		// sloppy LVS takes it for established, until the next one.
		rowSYN:  {sSR, sES, sES, sSR, sSR, sSR, sSR, sSR, sSR, sSR, sSR},
		rowFIN:  {sCL, sFW, sSS, sTW, sFW, sTW, sCL, sCW, sLA, sLI, sTW},
		rowACK:  {sSR, sES, sSS, sES, sFW, sTW, sCL, sCW, sCL, sLI, sES},
		rowRST:  {sCL, sCL, sCL, sSR, sCL, sCL, sCL, sCL, sLA, sLI, sCL},
		rowNone: {sNO, sES, sSS, sSR, sFW, sTW, sCL, sCW, sLA, sLI, sSA},
	},
}

// rowOf gives the row for the low five flag bits (FIN SYN RST PSH ACK):
// RST before SYN before FIN before ACK.
var rowOf = func() (rows [32]uint8) {
	for f := range rows {
		switch {
		case f&0x04 != 0:
			rows[f] = rowRST
		case f&0x02 != 0:
			rows[f] = rowSYN
		case f&0x01 != 0:
			rows[f] = rowFIN
		case f&0x10 != 0:
			rows[f] = rowACK
		default:
			rows[f] = rowNone
		}
	}
	return rows
}()

// NextTCP returns the state after a segment with these flags.
func NextTCP(s State, flags uint8, d Direction) State {
	if s >= numTCP || d >= numDirections {
		return s
	}
	return tcpNext[d][rowOf[flags&31]][s]
}

// settled[direction][state]: see Settled.
var settled = func() (t [numDirections][numTCP]bool) {
	for d := range t {
		for _, s := range [...]State{sES, sFW, sTW, sCL, sCW, sLA} { // others are of the handshake
			t[d][s] = tcpNext[d][rowACK][s] == s && tcpNext[d][rowNone][s] == s
		}
	}
	return t
}()

// Settled reports whether the handshake is over and segments without SYN, FIN and RST leave
// the state as it is: all after that, but for LAST_ACK, which the client's ACK ends.
func Settled(s State, d Direction) bool { return s < numTCP && d < numDirections && settled[d][s] }

// Timeouts are the idle times of all states in ticks.
type Timeouts [numStates]uint32

// NewTimeouts turns seconds into ticks.
func NewTimeouts(t spec.Timeouts) *Timeouts {
	o := &Timeouts{}
	for s, sec := range map[State]uint32{
		TCPNone: t.TCP.None, TCPEstablished: t.TCP.Established, TCPSynSent: t.TCP.SynSent,
		TCPSynRecv: t.TCP.SynRecv, TCPFinWait: t.TCP.FinWait, TCPTimeWait: t.TCP.TimeWait,
		TCPClose: t.TCP.Close, TCPCloseWait: t.TCP.CloseWait, TCPLastAck: t.TCP.LastAck,
		TCPListen: t.TCP.Listen, TCPSynAck: t.TCP.SynAck,
		UDPOneWay: t.UDP.OneWay, UDPNormal: t.UDP.Normal,
	} {
		o[s] = clock.FromSeconds(sec)
	}
	for i, sec := range SCTPSeconds {
		o[SCTPNone+State(i)] = clock.FromSeconds(sec)
	}
	return o
}

// Of returns a state's timeout. conn is the service's own (--conn-timeout) in
// ticks, 0 for none: it replaces established TCP and SCTP, and all of UDP.
func (t *Timeouts) Of(s State, conn uint32) uint32 {
	if conn != 0 && (s == TCPEstablished || s > numTCP && s < numUDP || s == SCTPEstablished) {
		return conn
	}
	return t[s]
}

package lacp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// Of the slow protocols (IEEE Std 802.3, annex 57A).
const (
	EtherType = 0x8809

	subtypeLACP   = 1
	subtypeMarker = 2
	version       = 1
)

// Group is where frames of the slow protocols go. No bridge forwards it.
var Group = [6]byte{0x01, 0x80, 0xc2, 0x00, 0x00, 0x02}

// State is the state of a port as it is told to the partner (6.4.2.3).
type State uint8

// The bits of a state.
const (
	Activity        State = 1 << iota // speaks of its own accord
	Timeout                           // short: wants to hear from the partner every second, not every 30
	Aggregation                       // may share its traffic with other links; if not, it is an individual
	Synchronization                   // belongs to the right aggregator
	Collecting                        // takes frames
	Distributing                      // sends frames
	Defaulted                         // nothing was heard: the partner is what is assumed
	Expired                           // nothing was heard for a while
)

var stateNames = [...]string{"activity", "short-timeout", "aggregation", "synchronization", "collecting", "distributing", "defaulted", "expired"}

// String lists the bits that are set, with commas.
func (s State) String() string {
	var on []string
	for i, name := range stateNames {
		if s&(1<<i) != 0 {
			on = append(on, name)
		}
	}
	if len(on) == 0 {
		return "none"
	}
	return strings.Join(on, ",")
}

// SystemID names a system: of two, the one whose priority and address are less decides.
type SystemID struct {
	Priority uint16
	MAC      [6]byte
}

// String returns "priority,mac".
func (s SystemID) String() string {
	m := s.MAC
	return fmt.Sprintf("%d,%02x:%02x:%02x:%02x:%02x:%02x", s.Priority, m[0], m[1], m[2], m[3], m[4], m[5])
}

// Info is what is told of a port.
type Info struct {
	System       SystemID
	Key          uint16 // ports of one key may be aggregated
	PortPriority uint16
	Port         uint16 // from 1; 0: unknown
	State        State
}

// PDU is a message of LACP (6.4.2.3):
//
//	offset  octets
//	  0       1    subtype 1
//	  1       1    version 1
//	  2       1    TLV 1, actor
//	  3       1    length 20
//	  4       2    actor system priority
//	  6       6    actor system
//	 12       2    actor key
//	 14       2    actor port priority
//	 16       2    actor port
//	 18       1    actor state
//	 19       3    reserved
//	 22      20    TLV 2, length 20: partner, as the actor
//	 42       1    TLV 3, collector
//	 43       1    length 16
//	 44       2    collector max delay, in tens of microseconds
//	 46      12    reserved
//	 58       2    TLV 0, terminator, length 0
//	 60      50    reserved
type PDU struct {
	Actor, Partner Info
	MaxDelay       uint16 // of the collector, in tens of microseconds
}

// Length is the length of LACP's and Marker's messages in octets, behind the ethertype.
const Length = 110

const (
	tlvActor     = 1
	tlvPartner   = 2
	tlvCollector = 3

	actorAt, partnerAt, collectorAt = 2, 22, 42

	infoLength      = 20
	collectorLength = 16
)

// Append appends the message to b.
func (m *PDU) Append(b []byte) []byte {
	at := len(b)
	b = append(b, make([]byte, Length)...)
	p := b[at:]
	p[0], p[1] = subtypeLACP, version
	m.Actor.put(p[actorAt:], tlvActor)
	m.Partner.put(p[partnerAt:], tlvPartner)
	p[collectorAt], p[collectorAt+1] = tlvCollector, collectorLength
	binary.BigEndian.PutUint16(p[collectorAt+2:], m.MaxDelay)
	return b
}

func (i *Info) put(b []byte, tlv byte) {
	b[0], b[1] = tlv, infoLength
	binary.BigEndian.PutUint16(b[2:], i.System.Priority)
	copy(b[4:], i.System.MAC[:])
	binary.BigEndian.PutUint16(b[10:], i.Key)
	binary.BigEndian.PutUint16(b[12:], i.PortPriority)
	binary.BigEndian.PutUint16(b[14:], i.Port)
	b[16] = byte(i.State)
}

func infoOf(b []byte) Info {
	i := Info{
		System:       SystemID{Priority: binary.BigEndian.Uint16(b[2:])},
		Key:          binary.BigEndian.Uint16(b[10:]),
		PortPriority: binary.BigEndian.Uint16(b[12:]),
		Port:         binary.BigEndian.Uint16(b[14:]),
		State:        State(b[16]),
	}
	copy(i.System.MAC[:], b[4:])
	return i
}

// Why a message is not understood.
var (
	errShort   = errors.New("shorter than its fields")
	errSubtype = errors.New("not of LACP")
	errTLV     = errors.New("its actor and partner are not where they have to be")
)

// ParsePDU reads a message, from the subtype on. As the standard wants it, a later
// version is read as this one, and what is reserved is not looked at; so is all behind
// the partner, which is not acted upon.
func ParsePDU(b []byte) (PDU, error) {
	switch {
	case len(b) < 1 || b[0] != subtypeLACP:
		return PDU{}, errSubtype
	case len(b) < Length:
		return PDU{}, errShort
	case b[actorAt] != tlvActor || b[actorAt+1] != infoLength || b[partnerAt] != tlvPartner || b[partnerAt+1] != infoLength:
		return PDU{}, errTLV
	}
	return PDU{
		Actor: infoOf(b[actorAt:]), Partner: infoOf(b[partnerAt:]),
		MaxDelay: binary.BigEndian.Uint16(b[collectorAt+2:]),
	}, nil
}

// A Marker message (6.5.3.3) has behind subtype 2 and version 1 one TLV, of type 1 in
// the information, 2 in the response, and length 16: port, system and number of who
// asks. The response repeats them.
const (
	markerAt       = 2
	markerLength   = 16
	tlvMarker      = 1
	tlvMarkerReply = 2
)

// markerReply turns a Marker information into its response.
func markerReply(b []byte) ([]byte, bool) {
	if len(b) < Length || b[0] != subtypeMarker || b[markerAt] != tlvMarker || b[markerAt+1] != markerLength {
		return nil, false
	}
	out := make([]byte, Length)
	copy(out, b[:markerAt+markerLength])
	out[1], out[markerAt] = version, tlvMarkerReply
	return out, true
}

package spec

import (
	"net/netip"
	"strconv"
)

// Proto is an IP protocol number.
type Proto uint8

// The protocols a service may have.
const (
	TCP    Proto = 6
	UDP    Proto = 17
	SCTP   Proto = 132
	ICMP   Proto = 1
	ICMPv6 Proto = 58
)

// String returns ipvsadm's word.
func (p Proto) String() string {
	switch p {
	case TCP:
		return "TCP"
	case UDP:
		return "UDP"
	case SCTP:
		return "SCTP"
	case ICMP:
		return "ICMP"
	case ICMPv6:
		return "ICMPv6"
	}
	return "proto" + strconv.Itoa(int(p))
}

// Forward is a forwarding mode.
type Forward uint8

// The forwarding modes of LVS and DPVS.
const (
	Masq        Forward = iota // NAT
	Local                      // the director itself
	Tunnel                     // IP in IP
	DirectRoute                // direct routing (DR)
	FullNAT                    // source and destination NAT
	SNAT                       // source NAT for outbound traffic
)

var forwardNames = [...]string{"Masq", "Local", "Tunnel", "Route", "FullNat", "SNAT"}

// String returns the word that ipvsadm lists.
func (f Forward) String() string {
	if int(f) < len(forwardNames) {
		return forwardNames[f]
	}
	return "unknown"
}

// ServiceKey identifies a service: protocol, virtual address and port, or what
// packets it matches.
type ServiceKey struct {
	Proto   Proto
	Virtual netip.AddrPort
	Match   Match // of a service without virtual address
}

// String returns "TCP 10.0.0.100:80".
func (k ServiceKey) String() string {
	if k.IsMatch() {
		return "MATCH " + k.matchString()
	}
	return k.Proto.String() + " " + k.Virtual.String()
}

// Service is a virtual service with its real servers and local addresses.
type Service struct {
	ServiceKey
	Scheduler string // "rr", "wrr", "wlc", "lc", "sed", "nq", "fo", "sh", "dh", "mh", "conhash"

	Persistent      uint32     // seconds; 0: not persistent
	PersistentMask  netip.Addr // of the VIP's family, as Mask makes it; zero: whole address
	OnePacket       bool       // -o
	PE              string     // --pe, stored and listed only
	SynProxy        bool
	HashTarget      string // of conhash: "" or "sip", "qid"
	ExpireQuiescent bool
	QUIC            bool   // UDP: a connection id may name the real server
	ConnTimeout     uint32 // seconds; 0: the protocol's
	DestCheck       []string

	// How the real server gets to know the client's address.
	ProxyProtocol string // "", "v1", "v2", "v1-insecure", "v2-insecure"; then there is no TOA
	NoTOA         bool   // TCP: segments carry no TOA option
	UOA           string // UDP: "", "ipo" (IPv4 option; "opp" if an end is of IPv6), "opp" (IP protocol 248)

	// EndpointIndependent: of a match service. An inside address and port has one WAN
	// address and port toward everybody (RFC 4787, REQ-1), not one toward each.
	EndpointIndependent bool

	Dests  []Dest         // in order of insertion
	Locals []LocalAddress // in order of insertion

	// Clients that are denied, and if there are any the only ones that are not; see
	// AddListed.
	Blacklist, Whitelist []netip.Addr
}

// Dest is a real server of a service. Its key within the service is Addr.
type Dest struct {
	Addr       netip.AddrPort
	Forward    Forward
	Weight     uint32 // 0..65535; 0: no new connections
	UThreshold uint32 // most connections; 0: no bound
	LThreshold uint32 // below it an overloaded server takes new ones again
}

// LocalAddress binds a local address (LIP) on a port to a service.
type LocalAddress struct {
	Addr netip.Addr
	Port string
}

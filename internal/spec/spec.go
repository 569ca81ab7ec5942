package spec

import (
	"maps"
	"net/netip"
	"slices"
)

// Spec is the whole wanted state that changes at run time. What is fixed at boot
// (devices, workers, sizes) is in Boot. Slices keep the order of insertion,
// which listings and tie-breaks show.
type Spec struct {
	Ports      []string // names of the devices: those of dpvs.conf in its order, then VLANs and tunnels as they came
	VLANs      []VLAN
	Tunnels    []TunnelDevice
	Addresses  []Address
	Routes     []Route
	Neighbours []Neighbour
	Services   []Service
	Links      map[string]Link // switches set with `dpip link set`, by port name
	Bonds      []Bond          // in the order of dpvs.conf; members are not in Ports
	// SetTimeouts stand in the place of those of dpvs.conf.
	SetTimeouts SetTimeouts
	Forwarding  bool // forward packets that are not for a service
	DefaultTTL  uint8
}

// Clone returns a deep copy that may be changed.
func (s *Spec) Clone() *Spec {
	c := *s
	c.Ports = slices.Clone(s.Ports)
	c.VLANs = slices.Clone(s.VLANs)
	c.Tunnels = slices.Clone(s.Tunnels)
	c.Addresses = slices.Clone(s.Addresses)
	c.Routes = slices.Clone(s.Routes)
	c.Neighbours = slices.Clone(s.Neighbours)
	c.Services = slices.Clone(s.Services)
	for i := range c.Services {
		c.Services[i].Dests = slices.Clone(c.Services[i].Dests)
		c.Services[i].Locals = slices.Clone(c.Services[i].Locals)
	}
	c.Links = maps.Clone(s.Links)
	c.Bonds = slices.Clone(s.Bonds)
	for i := range c.Bonds {
		c.Bonds[i] = s.Bonds[i].clone()
	}
	return &c
}

// Scope of an address or a route.
type Scope uint8

// The scopes, in the words of dpip.
const (
	ScopeGlobal Scope = iota
	ScopeLink
	ScopeHost
	ScopeKNIHost
	ScopeSite
)

var scopeNames = [...]string{"global", "link", "host", "kni_host", "site"}

// String returns dpip's word.
func (s Scope) String() string {
	if int(s) < len(scopeNames) {
		return scopeNames[s]
	}
	return "unknown"
}

// Address is an address of a port. Its key is (Prefix.Addr(), Port).
type Address struct {
	Port      string
	Prefix    netip.Prefix // address with the prefix length of its link
	Broadcast netip.Addr   // zero: none
	Scope     Scope
	SAPool    bool // a local address: its ports are a pool for full-NAT and SNAT
	// Lifetimes in seconds; 0 means forever.
	ValidLft, PreferredLft uint32

	Held Held // by whom, beside what was added by hand
}

// Held says that an address is wanted for as long as somebody holds it (rpc
// HoldAddresses: keepalived for a virtual IP while its instance is master).
type Held struct {
	Holders uint32 // 0: it was added by hand, and stays until it is deleted
	Only    bool   // nobody added it by hand: it leaves with the last holder
	// As the first holder wanted it, which is what an address is that was deleted by
	// hand and is held still.
	Prefix netip.Prefix
	SAPool bool
}

// Route is a configured route. Its key is (Prefix, Port for link routes).
// Routes that follow from addresses are not in the Spec: the runtime derives them.
type Route struct {
	Prefix netip.Prefix // masked
	Via    netip.Addr   // gateway; zero: on link
	Port   string
	Scope  Scope
	Src    netip.Addr // preferred source address; zero: none
	MTU    int        // 0: the port's
	Metric uint32
}

// Neighbour is a static neighbour entry. Its key is (Addr, Port).
type Neighbour struct {
	Addr netip.Addr
	Port string
	MAC  [6]byte
}

// Link holds the switches of a port.
type Link struct {
	Promisc, AllMulticast, Forward2KNI, TCEgress, TCIngress, LLDP bool
	Down                                                          bool
}

// Timeouts are the connection timeouts in seconds, by protocol and state.
type Timeouts struct {
	TCP TCPTimeouts
	UDP UDPTimeouts
}

// TCPTimeouts in seconds, in the order of the states.
type TCPTimeouts struct {
	None, Established, SynSent, SynRecv, FinWait, TimeWait, Close, CloseWait, LastAck, Listen, SynAck uint32
}

// UDPTimeouts in seconds.
type UDPTimeouts struct {
	OneWay, Normal uint32
}

// DefaultTimeouts are DPVS's, except that an established TCP connection lives
// 900 s instead of 90: 90 s reset idle sessions, its users' most common surprise.
func DefaultTimeouts() Timeouts {
	return Timeouts{
		TCP: TCPTimeouts{
			None: 2, Established: 900, SynSent: 3, SynRecv: 30, FinWait: 7, TimeWait: 7,
			Close: 3, CloseWait: 7, LastAck: 7, Listen: 120, SynAck: 30,
		},
		UDP: UDPTimeouts{OneWay: 300, Normal: 300},
	}
}

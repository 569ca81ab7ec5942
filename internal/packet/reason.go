package packet

// Reason names why a packet was dropped, or refused before it came to us. Each
// has a counter per worker; `weir stats` prints those that are not zero.
type Reason uint8

// The reasons, in the order of the walk. A new one is added here with its name
// and a sentence in reasonTexts; a test reaches every one of them.
const (
	NoReason Reason = iota

	// Ports, receiving.
	PortRxRingFull  // the kernel had no room in the receive ring or socket buffer
	PortRxNoFrame   // the kernel had no empty frame to receive into
	PortRxTooBig    // frame larger than a frame buffer (a GSO frame in generic XDP)
	PortRxTruncated // the kernel gave a truncated frame
	PortRxNoQueue   // arrived on a receive queue that nobody serves
	PortRxNobody    // for an address or a connection of ours, while no director ran
	PortRxError     // any other receive error of the kernel
	PoolEmpty       // no free packet memory
	BondInactive    // came on a member of a bond that may not receive
	BondSlowFull    // a frame of LACP, of which too many wait

	// Link layer.
	EtherShort     // shorter than its link header
	EtherOtherHost // destination MAC is neither ours nor broadcast nor multicast
	EtherVLAN      // VLAN tag for which there is no VLAN device
	EtherType      // ethertype nobody wants
	EtherLoop      // source MAC is our own: the frame came back

	// Neighbours.
	ARPMalformed   // not Ethernet/IPv4, too short, or a bad sender
	ARPNotOurs     // asks for an address that is not ours on this port
	ARPConsumed    // answered or learnt: nothing is left to forward (not a loss)
	NDMalformed    // neighbour discovery with a wrong checksum, code, option or address
	NDNotOurs      // asks for an address that is not ours on this port, or is for another or from a router
	NDConsumed     // learnt from: nothing is left to forward (not a loss)
	NeighQueueFull // too many packets wait for this neighbour already
	NeighFailed    // the neighbour did not answer
	NeighTableFull // no room for another neighbour
	NeighNoSource  // no address of our own to ask for the neighbour from

	// IP.
	IPHeader        // malformed IP header
	IPChecksum      // wrong IP header checksum
	IPSource        // impossible source address (RFC 1812, 5.3.7)
	IPDestination   // impossible destination address (the same)
	IPExtension     // IPv6 extension headers that are malformed, too many, or in a wrong order
	IPRouting       // IPv6 routing header of type 0 (RFC 5095), or one that wants to go on from here; IPv4 source route toward IPv6
	IPFragment      // malformed fragment
	IPFragTiny      // first fragment without its whole TCP header (RFC 1858)
	IPFragOverlap   // overlaps another fragment of its datagram: all are refused (RFC 5722)
	IPFragDuplicate // the same fragment again
	IPFragTimeout   // others of its datagram did not come in time
	IPFragFull      // made room for newer datagrams
	IPFragTooMany   // of a datagram in more than 128 pieces
	IPTTL           // TTL ran out
	IPVersion       // not the version of IP that the ethertype says
	IPMulticast     // multicast or broadcast that nobody wants
	IPTooBig        // larger than the next hop's MTU with DF set, an ICMP error was sent
	IPNoRoute       // no route to the destination
	IPScope         // from or to a link-local address: never goes to another link (RFC 4291, 2.5.6)
	IPNotOurs       // for another machine and forwarding is off
	IPNoListener    // for one of our addresses, but no service has that port
	KNIAddress      // for an address of Linux's, and this port has no .kni twin, or it is down
	IPGSONoOffload  // a GSO frame for a port that can't segment it
	ICMPMalformed   // ICMP shorter than its header or wrong checksum
	ICMPUnrelated   // ICMP error about a connection we don't know
	ICMPTunnel      // ICMP error about a packet in a tunnel that was noted, and whose sender it does not name (not a loss)
	ICMPUnwanted    // ICMP type we don't answer
	ICMPHopLimit    // neighbour discovery that came over a router: its hop limit is not 255 (RFC 4861, 6.1 and 7.1)
	ICMPRateLimit   // an ICMP error was due, but too many were sent

	// Tunnel devices.
	TunnelMalformed   // no GRE header that is known here, or no whole packet behind it
	TunnelProtocol    // GRE that carries neither IPv4 nor IPv6
	TunnelKey         // between the ends of a tunnel, but with another key
	TunnelChecksum    // GRE with a wrong checksum, or without one where it has to be
	TunnelSequence    // GRE that came after what was sent later, or without a number where it has to have one
	TunnelECN         // marked as congested on its way, which what it carries can't be told of (RFC 6040)
	TunnelNested      // another packet of a tunnel in a packet of a tunnel
	TunnelNoRemote    // to leave by a tunnel that only receives: it has no remote address
	TunnelNoRoute     // no route to the tunnel's other end
	TunnelLoop        // the route to the tunnel's other end leads through a tunnel
	TunnelUnreachable // an ICMP error says that the tunnel's other end can't be reached

	// Load balancer.
	L4Malformed         // TCP, UDP or SCTP header cut short or lying about its length
	LBNoService         // for a VIP, but no service on that port
	LBNoConn            // not a first packet, and no connection is known
	LBBlacklisted       // the client is on the service's blacklist
	LBNotWhitelisted    // the service has a whitelist and the client is not on it
	LBDefenceTCP        // defence_tcp_drop: for a VIP, and neither a connection nor the first packet of one
	LBDefenceUDP        // defence_udp_drop: for a VIP that has no UDP service on that port
	LBNoDest            // the service has no usable real server
	LBNoLocalAddr       // full-NAT service without local address
	LBNoLocalPort       // every port of the service's local addresses is used up
	LBMappingsFull      // no room for another endpoint-independent mapping
	LBNoRouteToDest     // no route to the real server
	LBDestNotOnLink     // DR, but the route to the real server leads through a gateway
	LBNoTunnelFrom      // Tunnel, but no address to send from toward the real server
	LBTunnelUnreachable // a router on the way to a tunnel's real server can't reach it; the client was told
	LBNoRouteBack       // no route to the client
	LBTableFull         // the flow table has no place for the connection
	LBNATClash          // NAT: the client has this port in use toward the real server by way of another VIP
	LBConnRace          // two workers made the same connection at once; the sender repeats
	LBProxyWait         // insecure PROXY: came before the segment with the header, or too short to hold it; the sender repeats
	LBLateRewrite       // the connection changed hands while the packet was in flight

	// Ports, sending.
	BondNoMember   // no member of the bond may send
	PortTxFull     // the transmit ring stayed full
	PortTxError    // the kernel refused the frame
	PortTxTooBig   // frame larger than the port's MTU
	PortDown       // the port is down or gone
	OffloadFull    // the XDP engine sent it, and the driver had no room
	OffloadRefused // the XDP engine sent it, and the driver would not take it
	HandoffFull    // the ring to the worker that owns the port's queue is full

	PuntFull  // for Linux, but more wait for its twin already than a worker keeps
	WalkFault // a defect in the director met while walking this packet: please report

	NumReasons
)

// reasonTexts gives each reason its name in `weir stats` and what it means to
// an operator.
var reasonTexts = [NumReasons]struct{ name, text string }{
	NoReason:            {"none", "no reason was given: a defect, please report"},
	PortRxRingFull:      {"port_rx_ring_full", "the workers were too slow: the kernel's receive ring was full"},
	PortRxNoFrame:       {"port_rx_no_frame", "the workers were too slow, or were not given a processor: no empty frame was left to receive into (descriptor_number of rx)"},
	PortRxTooBig:        {"port_rx_too_big", "frame larger than a buffer: switch off offloads on the sender (ethtool -K IF tso off gso off gro off)"},
	PortRxTruncated:     {"port_rx_truncated", "the kernel handed over a truncated frame"},
	PortRxNoQueue:       {"port_rx_no_queue", "a frame came on a receive queue that nobody serves: a few at the start are normal; else queues were changed (ethtool -L): restart weir"},
	PortRxNobody:        {"port_rx_nobody", "it came while no weir ran, for an address or a connection of it, and was no packet that XDP forwards"},
	PortRxError:         {"port_rx_error", "the kernel counted a receive error"},
	PoolEmpty:           {"pool_empty", "no free packet memory: raise pktpool_size"},
	BondInactive:        {"bond_inactive", "came on a member of a bond that carries no traffic now: dpip link show BOND status"},
	BondSlowFull:        {"bond_slow_full", "frames of LACP came faster than they are looked at"},
	EtherShort:          {"ether_short", "frame shorter than its link header"},
	EtherOtherHost:      {"ether_other_host", "for another machine's MAC address"},
	EtherVLAN:           {"ether_vlan", "VLAN tag for which no VLAN device exists"},
	EtherType:           {"ether_type", "ethertype that is not used here"},
	EtherLoop:           {"ether_loop", "our own frame came back: look for a loop in the network"},
	ARPMalformed:        {"arp_malformed", "malformed ARP packet"},
	ARPNotOurs:          {"arp_not_ours", "ARP about an address that is not ours"},
	ARPConsumed:         {"arp_consumed", "ARP learnt from or answered (not a loss)"},
	NDMalformed:         {"nd_malformed", "malformed neighbour discovery (IPv6)"},
	NDNotOurs:           {"nd_not_ours", "neighbour discovery (IPv6) about an address that is not ours, or by a router"},
	NDConsumed:          {"nd_consumed", "neighbour discovery (IPv6) learnt from (not a loss)"},
	NeighQueueFull:      {"neigh_queue_full", "too many packets waited for a neighbour's answer (unres_queue_length)"},
	NeighFailed:         {"neigh_failed", "the neighbour did not answer ARP or neighbour solicitations: is the machine up and on this link?"},
	NeighTableFull:      {"neigh_table_full", "the neighbour table is full"},
	NeighNoSource:       {"neigh_no_source", "the director has no address of that family to ask for neighbours from: dpip addr add"},
	IPHeader:            {"ip_header", "malformed IP header"},
	IPChecksum:          {"ip_checksum", "wrong IP header checksum"},
	IPSource:            {"ip_source", "impossible source address"},
	IPDestination:       {"ip_destination", "impossible destination address"},
	IPExtension:         {"ip_extension", "IPv6 extension headers that are malformed, too many, or in a wrong order"},
	IPRouting:           {"ip_routing", "IPv6 routing header of type 0, or one that names more stations, or an IPv4 source route toward IPv6: source routing is refused"},
	IPFragment:          {"ip_fragment", "malformed IP fragment: empty, not a multiple of 8 bytes, or beyond 64 KiB"},
	IPFragTiny:          {"ip_frag_tiny", "first IP fragment without its whole TCP header: an attempt to get by a filter"},
	IPFragOverlap:       {"ip_frag_overlap", "IP fragments that overlap: an attack, or a sender that uses an identification again too soon"},
	IPFragDuplicate:     {"ip_frag_duplicate", "the same IP fragment came twice"},
	IPFragTimeout:       {"ip_frag_timeout", "IP fragment whose datagram did not become whole in time: the others were lost on the way here (ipv4_defs { fragment { ttl } })"},
	IPFragFull:          {"ip_frag_full", "IP fragment that made room for newer datagrams: a flood, or raise ipv4_defs { fragment { max_entries } }"},
	IPFragTooMany:       {"ip_frag_too_many", "IP fragment of a datagram in more than 128 pieces"},
	IPTTL:               {"ip_ttl", "TTL ran out: a loop, or traceroute"},
	IPVersion:           {"ip_version", "not IP at all, or not the version of IP that its frame says"},
	IPMulticast:         {"ip_multicast", "multicast or broadcast that nobody here wants"},
	IPTooBig:            {"ip_too_big", "too big for the way out and must not be fragmented; the sender was told"},
	IPNoRoute:           {"ip_no_route", "no route to the destination"},
	IPScope:             {"ip_scope", "from or to a link-local address: such packets are not forwarded to another link"},
	IPNotOurs:           {"ip_not_ours", "for another machine, and forwarding is off"},
	IPNoListener:        {"ip_no_listener", "for one of our addresses, but nothing serves that port"},
	KNIAddress:          {"kni_address", "for an address of the host's own kernel, but the port's .kni twin is down (ip link set PORT.kni up), or there is none (global_defs { kni })"},
	IPGSONoOffload:      {"ip_gso_no_offload", "a GSO frame for a port that can't segment it (ethtool -K IF tso off gso off on the sender)"},
	ICMPMalformed:       {"icmp_malformed", "malformed ICMP message"},
	ICMPUnrelated:       {"icmp_unrelated", "ICMP error about an unknown connection"},
	ICMPTunnel:          {"icmp_tunnel", "ICMP error about a packet in a tunnel, whose quote is too short to tell its sender; a path MTU was noted (not a loss)"},
	ICMPUnwanted:        {"icmp_unwanted", "ICMP message that is not answered"},
	ICMPHopLimit:        {"icmp_hop_limit", "neighbour discovery whose hop limit is not 255: it came over a router, so somebody pretends to be on the link"},
	ICMPRateLimit:       {"icmp_rate_limit", "an ICMP error was due but too many were sent lately"},
	TunnelMalformed:     {"tunnel_malformed", "GRE or IP in IP for a tunnel, with a malformed header, routing, or nothing in it"},
	TunnelProtocol:      {"tunnel_protocol", "GRE for a tunnel that carries neither IPv4 nor IPv6"},
	TunnelKey:           {"tunnel_key", "GRE between the ends of a tunnel, with a key that is not the tunnel's: dpip tunnel show, and look at the other end"},
	TunnelChecksum:      {"tunnel_checksum", "GRE with a wrong checksum, or without one for a tunnel with icsum"},
	TunnelSequence:      {"tunnel_sequence", "GRE out of order, or without a sequence number, for a tunnel with iseq"},
	TunnelECN:           {"tunnel_ecn", "a packet in a tunnel was marked as congested on its way, but knows no ECN: dropped, as RFC 6040 has it"},
	TunnelNested:        {"tunnel_nested", "a packet of a tunnel in a packet of a tunnel: one level is unpacked"},
	TunnelNoRemote:      {"tunnel_no_remote", "a route leads to a tunnel without a remote address, which only receives: dpip tunnel change NAME remote ADDR"},
	TunnelNoRoute:       {"tunnel_no_route", "no route to the other end of a tunnel: dpip route add, or dpip addr add for its link"},
	TunnelLoop:          {"tunnel_loop", "the route to the other end of a tunnel leads into a tunnel: dpip route add REMOTE/32 via another device"},
	TunnelUnreachable:   {"tunnel_unreachable", "a router, or the other end itself, says that the other end of a tunnel can't be reached: is the tunnel configured there?"},
	L4Malformed:         {"l4_malformed", "malformed TCP, UDP or SCTP header, or UDP over IPv6 without a checksum"},
	LBNoService:         {"lb_no_service", "for a VIP, but no service has that port"},
	LBNoConn:            {"lb_no_conn", "belongs to no known connection and can't begin one"},
	LBBlacklisted:       {"lb_blacklisted", "the client is on the service's blacklist: ipvsadm -B"},
	LBNotWhitelisted:    {"lb_not_whitelisted", "the service has a whitelist and the client is not on it: ipvsadm -W"},
	LBDefenceTCP:        {"lb_defence_tcp", "TCP for a VIP that begins no connection and belongs to none (defence_tcp_drop)"},
	LBDefenceUDP:        {"lb_defence_udp", "UDP for a VIP that has no such service (defence_udp_drop)"},
	LBNoDest:            {"lb_no_dest", "no usable real server: all gone, weight 0 or overloaded"},
	LBNoLocalAddr:       {"lb_no_laddr", "full-NAT service without local address: ipvsadm --add-laddr"},
	LBNoLocalPort:       {"lb_no_lport", "all ports of the local addresses are in use (sa_miss): add local addresses"},
	LBMappingsFull:      {"lb_mappings_full", "no room for another endpoint-independent mapping: raise conn_pool_size"},
	LBNoRouteToDest:     {"lb_no_route_to_dest", "no route to the real server: dpip route add"},
	LBDestNotOnLink:     {"lb_dest_not_on_link", "a DR real server must be on a link of the director, and the route to it has a gateway: use -i, -m or -b"},
	LBNoTunnelFrom:      {"lb_no_tunnel_source", "no address to send tunnelled packets from: dpip addr add, or a route with src"},
	LBTunnelUnreachable: {"lb_tunnel_unreachable", "a router on the way to a tunnelled real server says that it can't be reached; the client was told"},
	LBNoRouteBack:       {"lb_no_route_back", "no way back to the client"},
	LBTableFull:         {"lb_table_full", "the flow table is full: raise conn_pool_size, or conn_pool_ipv6"},
	LBNATClash:          {"lb_nat_clash", "NAT: the same client port is connected to the same real server by another service already; answers could not be told apart"},
	LBConnRace:          {"lb_conn_race", "two workers met the same new connection at once; the sender repeats"},
	LBProxyWait:         {"lb_proxy_wait", "came before the client's first bytes, which may hold a PROXY header; the sender repeats"},
	LBLateRewrite:       {"lb_late_rewrite", "the connection ended while the packet was in flight"},
	BondNoMember:        {"bond_no_member", "no member of the bond may send: dpip link show BOND status"},
	PortTxFull:          {"port_tx_full", "the transmit ring stayed full"},
	PortTxError:         {"port_tx_error", "the kernel refused the frame"},
	PortTxTooBig:        {"port_tx_too_big", "frame larger than the port's MTU"},
	PortDown:            {"port_down", "the port is down"},
	OffloadFull:         {"offload_full", "sent by XDP, and the driver, or on veth the other end, had no room: it is too slow for what comes"},
	OffloadRefused:      {"offload_refused", "sent by XDP, and the driver would not take it: the port went down, or on veth the other end's GRO was switched off: weir offload"},
	HandoffFull:         {"handoff_full", "the ring to another worker, which sends on this port or puts fragments together, was full"},
	PuntFull:            {"punt_full", "for the host's own kernel, but it takes them too slowly: a flood of packets that no service wants, or too much traffic on the .kni twin"},
	WalkFault:           {"walk_fault", "a defect in weir met while handling this packet: please report it"},
}

// String returns the counter's name.
func (r Reason) String() string {
	if r < NumReasons {
		return reasonTexts[r].name
	}
	return "unknown"
}

// Text returns a sentence an operator can act on.
func (r Reason) Text() string {
	if r < NumReasons {
		return reasonTexts[r].text
	}
	return "unknown reason"
}

// PuntText says of what is given to Linux what it is.
func (r Reason) PuntText() string {
	switch r {
	case KNIAddress:
		return "for an address on a .kni twin, or of a kni_host route"
	case EtherVLAN:
		return "with a VLAN tag for which no VLAN device exists"
	case EtherType:
		return "neither IP nor ARP"
	case ARPConsumed, NDConsumed:
		return "answers of neighbours, which Linux gets too"
	case ARPNotOurs:
		return "ARP about addresses that are not the director's"
	case NDNotOurs:
		return "neighbour discovery (IPv6) about addresses that are not the director's, or by routers"
	case IPMulticast:
		return "multicast and broadcast: OSPF, VRRP, IGMP and others"
	case IPSource:
		return "broadcast of machines that have no address yet: DHCP"
	case IPNoRoute:
		return "to where no route leads"
	case IPNoListener:
		return "for the director's addresses, where nothing serves that port or protocol; OSPF"
	case ICMPUnrelated:
		return "ICMP errors about unknown connections"
	case ICMPUnwanted:
		return "ICMP messages other than pings"
	case LBNoService:
		return "for a VIP, where no service has that port"
	case LBNoConn:
		return "for a local address, of no known connection"
	}
	return r.Text()
}

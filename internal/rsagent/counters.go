package rsagent

import (
	"fmt"

	"github.com/cilium/ebpf"
)

// counter is a number in the counters map.
type counter uint32

// The counters, in the order of bpf/rs/count.h.
const (
	toaACK counter = iota
	toaSYN
	toaNone
	toaUntrusted
	toaMalformed
	toaLate
	toaMPTCP
	peerClient
	peerFamily
	peerNone
	uoaNone
	uoaSaved
	uoaUntrusted
	uoaMalformed
	uoaRefused
	uoaEmpty
	oppIPv4
	oppIPv6
	oppUntrusted
	oppMalformed
	oppFragment
	uoaAskedHit
	uoaAskedMiss
	uoaAskedInvalid
	uoaAskedLast
	nat64Hit
	nat64Miss
	nat64Invalid
	udpRecvClient
	udpRecvNAT64
	udpSendClient
	udpPeerClient
	uoaExpired
	toaIPv6
	toaNAT64
	toaNAT46
	uoaIPv6
	uoaNAT64
	uoaNAT46
	udpRecvNAT46
	numCounters
)

// counterTexts are the counters' names and meanings.
var counterTexts = [numCounters]struct{ name, text string }{
	toaACK:          {"toa_ack", "connections whose client was named by the segment that completed the handshake"},
	toaSYN:          {"toa_syn", "connections whose client was named by the SYN alone"},
	toaNone:         {"toa_none", "connections without TOA"},
	toaUntrusted:    {"toa_untrusted", "connections with TOA from a source that is not in --trust: not believed"},
	toaMalformed:    {"toa_malformed", "connections with TCP options or TOA that can't be: not believed"},
	toaLate:         {"toa_late", "of toa_none: TOA came with a later segment"},
	toaMPTCP:        {"toa_mptcp", "of those with TOA: MPTCP connections"},
	peerClient:      {"peer_client", "accept, getpeername and the like showed the client"},
	peerFamily:      {"peer_family", "the client is IPv6 and the socket IPv4: the director's address was shown"},
	peerNone:        {"peer_none", "no TOA: what Linux says was shown"},
	uoaNone:         {"uoa_none", "datagrams without UOA"},
	uoaSaved:        {"uoa_saved", "datagrams whose UOA was saved"},
	uoaUntrusted:    {"uoa_untrusted", "datagrams with UOA from a source that is not in --trust: not believed"},
	uoaMalformed:    {"uoa_malformed", "datagrams with IP options or UOA that can't be: not believed"},
	uoaRefused:      {"uoa_refused", "datagrams whose UOA the table took not"},
	uoaEmpty:        {"uoa_empty", "of those saved: dropped, because they carried UOA alone"},
	oppIPv4:         {"opp_ipv4", "packets of the option protocol translated, IPv4"},
	oppIPv6:         {"opp_ipv6", "packets of the option protocol translated, IPv6"},
	oppUntrusted:    {"opp_untrusted", "packets of the option protocol from a source that is not in --trust: left as they are, Linux drops them"},
	oppMalformed:    {"opp_malformed", "packets of the option protocol that can't be: left as they are, Linux drops them"},
	oppFragment:     {"opp_fragment", "fragments of the option protocol: left as they are, Linux drops them"},
	uoaAskedHit:     {"uoa_asked_hit", "getsockopt 2048 gave the client"},
	uoaAskedMiss:    {"uoa_asked_miss", "getsockopt 2048 knew no client"},
	uoaAskedInvalid: {"uoa_asked_invalid", "getsockopt 2048 was asked with a buffer or family that can't be"},
	uoaAskedLast:    {"uoa_asked_last", "of these: answered for the last datagram received, because the question can't be read"},
	nat64Hit:        {"nat64_hit", "getsockopt 4096 gave the IPv6 client"},
	nat64Miss:       {"nat64_miss", "getsockopt 4096 knew no IPv6 client"},
	nat64Invalid:    {"nat64_invalid", "getsockopt 4096 was asked with a buffer that is too small"},
	udpRecvClient:   {"udp_recv_client", "datagrams received whose sender was shown as the client"},
	udpRecvNAT64:    {"udp_recv_nat64", "datagrams received of an IPv6 client by IPv4: the director's address was shown"},
	udpSendClient:   {"udp_send_client", "datagrams to a client, or sockets connected to one, that went by the director"},
	udpPeerClient:   {"udp_peer_client", "getpeername on a connected UDP socket showed the client"},
	uoaExpired:      {"uoa_expired", "look-ups of a UDP client that was not used for --uoa-timeout"},
	toaIPv6:         {"toa_ipv6", "of those with TOA: connections by IPv6 of IPv6 clients"},
	toaNAT64:        {"toa_nat64", "of those with TOA: connections by IPv4 of IPv6 clients"},
	toaNAT46:        {"toa_nat46", "of those with TOA: connections by IPv6 of IPv4 clients"},
	uoaIPv6:         {"uoa_ipv6", "of those saved: datagrams by IPv6 of IPv6 clients"},
	uoaNAT64:        {"uoa_nat64", "of those saved: datagrams by IPv4 of IPv6 clients"},
	uoaNAT46:        {"uoa_nat46", "of those saved: datagrams by IPv6 of IPv4 clients"},
	udpRecvNAT46:    {"udp_recv_nat46", "of udp_recv_client: an IPv4 client by IPv6, shown as 64:ff9b::a.b.c.d"},
}

// Counters returns the names of all counters.
func Counters() (names []string) {
	for _, t := range counterTexts {
		names = append(names, t.name)
	}
	return names
}

// Counter is a counter with its name. PerCPU has a number for each possible
// processor.
type Counter struct {
	Name   string   `json:"name"`
	Text   string   `json:"text"`
	Total  uint64   `json:"total"`
	PerCPU []uint64 `json:"per_cpu"`
}

// readCounters reads all counters.
func readCounters(m *ebpf.Map) ([]Counter, error) {
	all := make([]Counter, numCounters)
	for i := range all {
		t := counterTexts[i]
		all[i] = Counter{Name: t.name, Text: t.text}
		if err := m.Lookup(uint32(i), &all[i].PerCPU); err != nil {
			return nil, fmt.Errorf("read counter %s: %w", t.name, err)
		}
		for _, n := range all[i].PerCPU {
			all[i].Total += n
		}
	}
	return all, nil
}

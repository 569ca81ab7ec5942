// What happened, counted per processor. The order is that of counterNames in
// internal/rsagent/counters.go; a test compares the two.

enum counter {
	// Each TCP connection that a listener got is one of the first five.
	TOA_ACK,       // the segment that completed the handshake had TOA
	TOA_SYN,       // only the SYN, which was kept (save_syn)
	TOA_NONE,      // neither
	TOA_UNTRUSTED, // TOA of a source that is not trusted
	TOA_MALFORMED, // an option list or TOA that can't be
	TOA_LATE,      // of TOA_NONE: TOA came later
	TOA_MPTCP,     // of those with TOA: noted on the MPTCP socket too

	// Each getpeername(2), accept(2), … on TCP is one of these.
	PEER_CLIENT, // shown the client
	PEER_FAMILY, // an IPv6 client, but an IPv4 socket: shown the director's address
	PEER_NONE,   // no TOA: shown what Linux says

	// Each UDP datagram that a socket got is one of these.
	UOA_NONE,
	UOA_SAVED,
	UOA_UNTRUSTED,
	UOA_MALFORMED,
	UOA_REFUSED, // the table took no entry
	UOA_EMPTY,   // of those saved: dropped, because it had UOA and nothing else

	// Each packet of the option protocol is one of these.
	OPP_IPV4,
	OPP_IPV6,
	OPP_UNTRUSTED,
	OPP_MALFORMED,
	OPP_FRAGMENT,

	// Each getsockopt(2) for a UDP client (2048) is one of the first three.
	UOA_ASKED_HIT,
	UOA_ASKED_MISS,
	UOA_ASKED_INVALID,
	UOA_ASKED_LAST, // of these: answered for the last datagram received, not for what was asked

	// Each getsockopt(2) for a NAT64 client (4096) is one of these.
	NAT64_HIT,
	NAT64_MISS,
	NAT64_INVALID,

	// Transparent UDP.
	UDP_RECV_CLIENT, // a datagram's sender was shown as the client
	UDP_RECV_NAT64,  // the client is IPv6, the datagram came by IPv4: left as it is
	UDP_SEND_CLIENT, // a datagram or connect(2) to a client went by the director
	UDP_PEER_CLIENT, // getpeername(2) of a connected socket was shown the client

	UOA_EXPIRED, // look-ups that found an entry not used for uoa_timeout

	// Of the connections with TOA and of UOA_SAVED, what is not IPv4 on both sides.
	// In threes; see count_families.
	TOA_IPV6,  // IPv6 on both sides
	TOA_NAT64, // an IPv6 client by IPv4
	TOA_NAT46, // an IPv4 client by IPv6
	UOA_IPV6,
	UOA_NAT64,
	UOA_NAT46,

	UDP_RECV_NAT46, // of UDP_RECV_CLIENT: the client is IPv4, the datagram came by IPv6

	NUM_COUNTERS,
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 64); // room for more without a new layout
	__type(key, __u32);
	__type(value, __u64);
} counters SEC(".maps");

static __always_inline void count(__u32 what)
{
	__u64 *n = bpf_map_lookup_elem(&counters, &what);

	if (n)
		(*n)++; // this processor's own
}

// count_families counts a client that is not IPv4 on both sides: ipv6 is the first
// counter of three.
static __always_inline void count_families(const struct addr *peer, const struct addr *client, __u32 ipv6)
{
	if (is_mapped(peer) && is_mapped(client))
		return;
	if (is_mapped(peer))
		return count(ipv6 + 1); // NAT64
	count(is_mapped(client) ? ipv6 + 2 : ipv6); // NAT46, or IPv6 alone
}

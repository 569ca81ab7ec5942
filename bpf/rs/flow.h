// What is known of UDP: which client is behind a flow of the director's, and back.

// A flow as the real server's socket sees it.
struct flow_key {
	__u64 netns;       // cookie of the socket's namespace; 0 where Linux can't tell
	struct addr peer;  // the director's local address
	struct addr local; // ours; all zero in the entry for sockets bound to no address
	__be16 peer_port, local_port;
	__u32 unused;
};

// A client as a server in transparent mode sees it.
struct client_key {
	__u64 netns;
	struct addr client; // see face
	__be16 client_port, local_port;
	__u32 unused;
};

// The other side of a key, and when it was last of use (bpf_ktime_get_ns).
struct entry {
	struct station station;
	__u32 unused;
	__u64 used;
};

// Each flow has two entries, one with its local address and one without. At the
// bound the one that was not used for longest makes room. The loader sets the size.
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 2 * 65536);
	__type(key, struct flow_key);
	__type(value, struct entry);
} uoa_clients SEC(".maps");

// The way back, in transparent mode alone. The loader sets the size.
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct client_key);
	__type(value, struct entry);
} uoa_returns SEC(".maps");

// An entry's time is written at most so often, in ns: processors that serve the
// same flow would fight over its cache line.
#define TOUCH_EVERY 1000000000

// use marks an entry as used and reports whether it was still valid.
static __always_inline int use(struct entry *e)
{
	__u64 now = bpf_ktime_get_ns(), used = *(volatile __u64 *)&e->used;

	// Another processor may have written a time after ours was read.
	if (now > used && now - used > uoa_timeout) {
		count(UOA_EXPIRED);
		return 0;
	}
	if (now > used && now - used > TOUCH_EVERY)
		*(volatile __u64 *)&e->used = now;
	return 1;
}

// showable reports whether a client can be shown in place of a peer. An IPv6 client
// that comes by IPv4 (NAT64) can't: an AF_INET socket has no room for it, and an answer
// to it from an AF_INET6 socket would have to become IPv4-mapped on its way, which
// Linux refuses.
static __always_inline int showable(const struct addr *peer, const struct addr *client)
{
	return is_mapped(client) || !is_mapped(peer);
}

// The prefix by which IPv6 has IPv4 addresses, 64:ff9b::/96 (RFC 6052, section 2.1).
#define EMBEDDED bpf_htonl(0x0064ff9b)

// face is a client's address as it is shown in place of a peer. An IPv4 client that
// comes by IPv6 (NAT46) is 64:ff9b::a.b.c.d: an answer to ::ffff:a.b.c.d would leave by
// IPv4 before anybody could say where it shall go. Nothing of this is on the wire.
static __always_inline struct addr face(const struct addr *peer, const struct addr *client)
{
	struct addr a = *client;

	if (is_mapped(client) && !is_mapped(peer)) {
		a.w[0] = EMBEDDED;
		a.w[2] = 0;
	}
	return a;
}

#define netns_of(ctx) (have_netns_cookie ? bpf_get_netns_cookie(ctx) : 0)

// bound_to returns the address that a socket is bound to; all zero: none.
static __always_inline struct addr bound_to(struct bpf_sock *sk)
{
	struct addr a = {};

	if (sk->family == AF_INET) {
		__be32 a4 = sk->src_ip4;

		if (a4)
			a = addr4(a4);
	} else {
		a.w[0] = sk->src_ip6[0];
		a.w[1] = sk->src_ip6[1];
		a.w[2] = sk->src_ip6[2];
		a.w[3] = sk->src_ip6[3];
	}
	return a;
}

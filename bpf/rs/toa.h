// TOA: DPVS puts the client into a TCP option of the segments that acknowledge the
// server's SYN and nothing more. The one that completes the handshake is seen here
// before accept(2) can have the socket: it runs under the new socket's lock.

// The client of a connection. The entry lives and dies with the socket, so a new
// connection with the same addresses and ports can't show an old client.
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct station);
} toa_clients SEC(".maps");

#define TCP_HEADER 20
#define TCP_HEADER_MAX 60
#define SOL_TCP 6
#define TCP_SAVE_SYN 27

// A SYN that was kept. Used while the handshake completes, which is always with
// softirqs off, so no other program comes between on the same processor.
struct syn {
	__u8 header[160]; // TCP_HEADER_MAX, and what the verifier thinks of offsets
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct syn);
} saved_syn SEC(".maps");

static __always_inline long from_segment(const void *from, __u32 offset, void *to, const __u32 n)
{
	const struct bpf_sock_ops *ctx = from;
	__u8 *p = ctx->skb_data, *end = ctx->skb_data_end;

	p += offset;
	if (p + n > end)
		return -1;
	__builtin_memcpy(to, p, n);
	return 0;
}

static __always_inline long from_syn(const void *from, __u32 offset, void *to, const __u32 n)
{
	const struct syn *s = from;

	if (offset > sizeof(s->header) - 20)
		return -1;
	__builtin_memcpy(to, s->header + offset, n);
	return 0;
}

static __always_inline __u32 header_length(__u8 offset_byte)
{
	return (offset_byte >> 4) * 4;
}

// in_segment looks into the segment at hand.
static __always_inline enum found in_segment(struct bpf_sock_ops *ctx, struct station *client)
{
	__u8 offset;

	if (from_segment(ctx, 12, &offset, 1))
		return FOUND_NONE;
	return find(from_segment, ctx, TCP_HEADER, header_length(offset), OPTION_TOA, BY_TCP_OR_IPV4, client);
}

// in_syn looks into the SYN, if the listener kept it.
static __always_inline enum found in_syn(struct bpf_sock_ops *ctx, struct station *client)
{
	__u32 zero = 0;
	struct syn *s = bpf_map_lookup_elem(&saved_syn, &zero);

	if (!s || bpf_getsockopt(ctx, SOL_TCP, TCP_BPF_SYN, s->header, TCP_HEADER_MAX) < TCP_HEADER)
		return FOUND_NONE;
	return find(from_syn, s, TCP_HEADER, header_length(s->header[12]), OPTION_TOA, BY_TCP_OR_IPV4, client);
}

// remote is the other end as the wire has it: the director, if it is one.
static __always_inline struct addr remote(struct bpf_sock_ops *ctx)
{
	struct addr a;

	if (ctx->family == AF_INET)
		return addr4(ctx->remote_ip4);
	a.w[0] = ctx->remote_ip6[0];
	a.w[1] = ctx->remote_ip6[1];
	a.w[2] = ctx->remote_ip6[2];
	a.w[3] = ctx->remote_ip6[3];
	return a;
}

// note keeps the client with the socket. With MPTCP this is the socket of one
// subflow, while accept(2) gives out the MPTCP socket; of its subflows the first counts.
static __always_inline void note(struct bpf_sock_ops *ctx, const struct addr *peer, struct station *client)
{
	struct bpf_sock *sk = ctx->sk;

	count_families(peer, &client->addr, TOA_IPV6);

	if (!sk)
		return;
	bpf_sk_storage_get(&toa_clients, sk, client, BPF_SK_STORAGE_GET_F_CREATE);
	if (have_mptcp) {
		struct mptcp_sock *whole = bpf_skc_to_mptcp_sock(sk);

		if (whole && bpf_sk_storage_get(&toa_clients, whole, client, BPF_SK_STORAGE_GET_F_CREATE))
			count(TOA_MPTCP);
	}
}

static __always_inline void established(struct bpf_sock_ops *ctx)
{
	struct station client = {};
	enum found found = in_segment(ctx, &client);
	__u32 where = TOA_ACK;
	struct addr peer = remote(ctx);
	int trusted = is_trusted(&peer);

	if (found == FOUND_NONE && save_syn) {
		found = in_syn(ctx, &client);
		where = TOA_SYN;
	}
	if (found == FOUND_MALFORMED)
		return count(TOA_MALFORMED);
	if (found == FOUND_CLIENT) {
		if (!trusted)
			return count(TOA_UNTRUSTED);
		note(ctx, &peer, &client);
		return count(where);
	}
	count(TOA_NONE);
	// It may have been lost, or the director puts it on data only. Segments of
	// this connection with options that Linux does not know are shown to us.
	if (trusted)
		bpf_sock_ops_cb_flags_set(ctx, ctx->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_PARSE_UNKNOWN_HDR_OPT_CB_FLAG);
}

// late looks into a segment with an unknown option, once: after that the
// connection costs nothing more.
static __always_inline void late(struct bpf_sock_ops *ctx)
{
	struct station client = {};
	enum found found = in_segment(ctx, &client);

	if (found == FOUND_CLIENT) {
		struct addr peer = remote(ctx);

		note(ctx, &peer, &client);
		count(TOA_LATE);
	}
	bpf_sock_ops_cb_flags_set(ctx, ctx->bpf_sock_ops_cb_flags & ~BPF_SOCK_OPS_PARSE_UNKNOWN_HDR_OPT_CB_FLAG);
}

SEC("sockops")
int toa(struct bpf_sock_ops *ctx)
{
	switch (ctx->op) {
	case BPF_SOCK_OPS_TCP_LISTEN_CB:
		if (save_syn) {
			int one = 1;

			bpf_setsockopt(ctx, SOL_TCP, TCP_SAVE_SYN, &one, sizeof(one));
		}
		break;
	case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB:
		established(ctx);
		break;
	case BPF_SOCK_OPS_PARSE_HDR_OPT_CB:
		late(ctx);
		break;
	}
	return 1;
}

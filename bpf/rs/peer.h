// accept(2), accept4(2), getpeername(2), SO_PEERNAME and io_uring's accept all ask
// the same hook for the peer of a connection.

static __always_inline int tcp_peer(struct bpf_sock_addr *ctx, struct bpf_sock *sk, const int family)
{
	struct station *client = bpf_sk_storage_get(&toa_clients, sk, 0, 0);

	if (!client) {
		count(PEER_NONE);
		return 1;
	}
	if (family == AF_INET && !is_mapped(&client->addr)) {
		count(PEER_FAMILY); // NAT64: sockopt.h has the client
		return 1;
	}
	show(ctx, client, family);
	count(PEER_CLIENT);
	return 1;
}

// udp_peer is for UDP sockets that are connected to a client.
static __always_inline int udp_peer(struct bpf_sock_addr *ctx, struct bpf_sock *sk, const int family)
{
	struct addr peer = family == AF_INET ? addr4(ctx->user_ip4) : user6(ctx);
	struct entry *e = behind(ctx, sk, &peer);

	if (e && showable(&peer, &e->station.addr)) {
		struct station client = { .addr = face(&peer, &e->station.addr), .port = e->station.port };

		show(ctx, &client, family);
		count(UDP_PEER_CLIENT);
	}
	return 1;
}

static __always_inline int peer(struct bpf_sock_addr *ctx, const int family, const int transparent)
{
	struct bpf_sock *sk = ctx->sk;

	if (!sk)
		return 1;
	if (sk->protocol != IP_PROTO_UDP)
		return tcp_peer(ctx, sk, family);
	return transparent ? udp_peer(ctx, sk, family) : 1;
}

SEC("cgroup/getpeername4")
int peer4(struct bpf_sock_addr *ctx)
{
	return peer(ctx, AF_INET, 0);
}

SEC("cgroup/getpeername6")
int peer6(struct bpf_sock_addr *ctx)
{
	return peer(ctx, AF_INET6, 0);
}

SEC("cgroup/getpeername4")
int peer4_tr(struct bpf_sock_addr *ctx)
{
	return peer(ctx, AF_INET, 1);
}

SEC("cgroup/getpeername6")
int peer6_tr(struct bpf_sock_addr *ctx)
{
	return peer(ctx, AF_INET6, 1);
}

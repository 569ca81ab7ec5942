// UDP servers that know nothing of UOA (--uoa transparent): what they receive
// comes from the client, and what they send to the client goes to the director.

static __always_inline struct addr user6(struct bpf_sock_addr *ctx)
{
	struct addr a;

	// One word at a time: the verifier knows these fields no other way.
	a.w[0] = ctx->user_ip6[0];
	a.w[1] = ctx->user_ip6[1];
	a.w[2] = ctx->user_ip6[2];
	a.w[3] = ctx->user_ip6[3];
	return a;
}

static __always_inline void show(struct bpf_sock_addr *ctx, const struct station *s, const int family)
{
	if (family == AF_INET) {
		ctx->user_ip4 = s->addr.w[3];
	} else {
		ctx->user_ip6[0] = s->addr.w[0];
		ctx->user_ip6[1] = s->addr.w[1];
		ctx->user_ip6[2] = s->addr.w[2];
		ctx->user_ip6[3] = s->addr.w[3];
	}
	ctx->user_port = s->port;
}

// behind finds the client behind a peer of a socket.
static __always_inline struct entry *behind(struct bpf_sock_addr *ctx, struct bpf_sock *sk, const struct addr *peer)
{
	struct flow_key k = {
		.netns = netns_of(ctx), .peer = *peer, .local = bound_to(sk), .peer_port = ctx->user_port, .local_port = bpf_htons(sk->src_port),
	};
	struct entry *e = bpf_map_lookup_elem(&uoa_clients, &k);

	return e && use(e) ? e : 0;
}

// keep_back sees to it that the answer goes the way that the datagram came, even if
// the same client also comes by another local address; and that the way back
// lives as long as the flow does. The client is as it is shown.
static __always_inline void keep_back(struct bpf_sock_addr *ctx, struct bpf_sock *sk, const struct addr *peer, const struct station *client)
{
	struct client_key k = {
		.netns = netns_of(ctx), .client = client->addr, .client_port = client->port, .local_port = bpf_htons(sk->src_port),
	};
	struct entry *back = bpf_map_lookup_elem(&uoa_returns, &k);

	if (back && back->station.port == ctx->user_port && back->station.addr.w[0] == peer->w[0] &&
	    back->station.addr.w[1] == peer->w[1] && back->station.addr.w[2] == peer->w[2] && back->station.addr.w[3] == peer->w[3] &&
	    use(back))
		return;
	struct entry e = { .station = { .addr = *peer, .port = ctx->user_port }, .used = bpf_ktime_get_ns() };
	bpf_map_update_elem(&uoa_returns, &k, &e, BPF_ANY);
}

static __always_inline int received(struct bpf_sock_addr *ctx, const int family)
{
	struct bpf_sock *sk = ctx->sk;
	struct station client;
	struct addr peer;
	struct entry *e;

	if (!sk)
		return 1;
	peer = family == AF_INET ? addr4(ctx->user_ip4) : user6(ctx);
	e = behind(ctx, sk, &peer);
	if (!e)
		return 1;
	client = e->station;
	if (!showable(&peer, &client.addr)) {
		count(UDP_RECV_NAT64);
		return 1;
	}
	if (family == AF_INET6 && is_mapped(&client.addr) && !is_mapped(&peer)) {
		client.addr = face(&peer, &client.addr);
		count(UDP_RECV_NAT46);
	}
	keep_back(ctx, sk, &peer, &client);
	show(ctx, &client, family);
	count(UDP_RECV_CLIENT);
	return 1;
}

static __always_inline int sent(struct bpf_sock_addr *ctx, const int family)
{
	struct bpf_sock *sk = ctx->sk;
	struct client_key k = {};
	struct entry *e;

	if (!sk || ctx->protocol != IP_PROTO_UDP)
		return 1;
	k.netns = netns_of(ctx);
	k.client = family == AF_INET ? addr4(ctx->user_ip4) : user6(ctx);
	k.client_port = ctx->user_port;
	k.local_port = bpf_htons(sk->src_port);
	e = bpf_map_lookup_elem(&uoa_returns, &k);
	if (!e || !use(e) || is_mapped(&k.client) != is_mapped(&e->station.addr))
		return 1; // an entry of another family can't be used: an older agent left it
	show(ctx, &e->station, family);
	count(UDP_SEND_CLIENT);
	return 1;
}

SEC("cgroup/recvmsg4")
int uoa_recvmsg4(struct bpf_sock_addr *ctx)
{
	return received(ctx, AF_INET);
}

SEC("cgroup/recvmsg6")
int uoa_recvmsg6(struct bpf_sock_addr *ctx)
{
	return received(ctx, AF_INET6);
}

SEC("cgroup/sendmsg4")
int uoa_sendmsg4(struct bpf_sock_addr *ctx)
{
	return sent(ctx, AF_INET);
}

SEC("cgroup/sendmsg6")
int uoa_sendmsg6(struct bpf_sock_addr *ctx)
{
	return sent(ctx, AF_INET6);
}

// For servers that connect a socket to each client.
SEC("cgroup/connect4")
int uoa_connect4(struct bpf_sock_addr *ctx)
{
	return sent(ctx, AF_INET);
}

SEC("cgroup/connect6")
int uoa_connect6(struct bpf_sock_addr *ctx)
{
	return sent(ctx, AF_INET6);
}

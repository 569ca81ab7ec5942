// The two socket options of DPVS's kernel modules, both of level IPPROTO_IP. Linux
// does not know them and fails; this hook runs all the same and may answer.
//
// It runs for every getsockopt(2) of every program in the cgroup, which then costs
// that program a copy and a lock more. So it is attached only when asked for.

#define LEVEL_IP 0
#define UOA_SO_GET_LOOKUP 2048
#define TOA_SO_GET_LOOKUP 4096

// Errors of <errno.h>.
#define ENOENT 2
#define EINVAL 22

// What UOA_SO_GET_LOOKUP is asked with and answers, 58 bytes. The families are in
// the machine's order, all else in the network's.
struct uoa_lookup {
	__u16 family;
	__u8 peer[16];  // what recvfrom(2) returned
	__u8 local[16]; // ours, or zero for any
	__be16 peer_port, local_port;
	__u16 client_family;
	__u8 client[16];
	__be16 client_port;
} __attribute__((packed));

// What TOA_SO_GET_LOOKUP answers. The module's struct ends in padding: 20 bytes. Packed,
// because not every machine has a program's buffer where words are aligned.
struct toa_lookup {
	struct addr addr;
	__be16 port;
	__u16 unused;
} __attribute__((packed));

// The kernel's registers at a system call. Only offsets of arguments are used, which
// the system call's own rules fix.
#if defined(__TARGET_ARCH_x86)
struct pt_regs {
	unsigned long r15, r14, r13, r12, bp, bx, r11, r10, r9, r8, ax, cx, dx, si, di;
};
#define ARGUMENT_2(r) ((r)->si)
#define ARGUMENT_3(r) ((r)->dx)
#define ARGUMENT_4(r) ((r)->r10)
#elif defined(__TARGET_ARCH_arm64)
struct pt_regs {
	unsigned long x[31];
};
#define ARGUMENT_2(r) ((r)->x[1])
#define ARGUMENT_3(r) ((r)->x[2])
#define ARGUMENT_4(r) ((r)->x[3])
#else
#error "say where this processor's system calls have their arguments"
#endif

// The last peer that recvmsg(2) returned on a socket, where the kernel can't read
// the caller's registers.
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct station);
} last_peers SEC(".maps");

// refuse makes getsockopt(2) fail with an errno, where Linux allows it. Else it
// fails as it would have without us: ENOPROTOOPT.
static __always_inline void refuse(int errno)
{
	if (have_set_retval)
		bpf_set_retval(-errno);
}

// answer makes getsockopt(2) succeed with n bytes. Without volatile the compiler
// makes one write of two neighbours, which the verifier refuses.
static __always_inline void answer(struct bpf_sockopt *ctx, __s32 n)
{
	*(volatile __s32 *)&ctx->optlen = n;
	*(volatile __s32 *)&ctx->retval = 0;
}

// asked reads what the caller asks for. Linux has not copied it, because its own
// getsockopt failed; so it is read from the address in the caller's registers. That
// they are those of this very call is seen by its other arguments: io_uring has
// other ways to come here.
static __always_inline int asked(struct bpf_sockopt *ctx, struct uoa_lookup *in)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct pt_regs *regs = (struct pt_regs *)bpf_task_pt_regs(task);

	if ((__u32)ARGUMENT_2(regs) != LEVEL_IP || (__u32)ARGUMENT_3(regs) != UOA_SO_GET_LOOKUP)
		return -1;
	return bpf_probe_read_user(in, sizeof(*in), (void *)ARGUMENT_4(regs));
}

// last fills in what would have been asked about the last datagram received.
static __always_inline int last(struct bpf_sock *sk, struct uoa_lookup *in)
{
	struct station *peer = bpf_sk_storage_get(&last_peers, sk, 0, 0);

	if (!peer)
		return -1;
	__builtin_memset(in, 0, sizeof(*in));
	if (sk->family == AF_INET) {
		in->family = AF_INET;
		__builtin_memcpy(in->peer, &peer->addr.w[3], 4);
	} else {
		in->family = AF_INET6;
		__builtin_memcpy(in->peer, &peer->addr, 16);
	}
	in->peer_port = peer->port;
	in->local_port = bpf_htons(sk->src_port);
	return 0;
}

// key_of makes the key of what is asked, or reports that it can't be asked.
static __always_inline int key_of(struct bpf_sock *sk, const struct uoa_lookup *in, struct flow_key *k)
{
	if (in->family == AF_INET) {
		__be32 peer, local;

		__builtin_memcpy(&peer, in->peer, 4);
		__builtin_memcpy(&local, in->local, 4);
		k->peer = addr4(peer);
		if (local)
			k->local = addr4(local);
	} else if (in->family == AF_INET6) {
		__builtin_memcpy(&k->peer, in->peer, 16);
		__builtin_memcpy(&k->local, in->local, 16);
	} else {
		return -1;
	}
	// Who does not say which of our addresses means the socket's own.
	if (is_any(&k->local))
		k->local = bound_to(sk);
	k->peer_port = in->peer_port;
	k->local_port = in->local_port;
	return 0;
}

static __always_inline void uoa_lookup(struct bpf_sockopt *ctx, struct bpf_sock *sk)
{
	struct uoa_lookup *out = ctx->optval, in;
	struct flow_key k = {};
	struct station client;
	struct entry *e;

	if ((void *)(out + 1) > ctx->optval_end) {
		count(UOA_ASKED_INVALID);
		return refuse(EINVAL);
	}
	if (have_registers) {
		if (asked(ctx, &in)) {
			count(UOA_ASKED_INVALID);
			return refuse(EINVAL);
		}
	} else {
		if (last(sk, &in)) {
			count(UOA_ASKED_MISS);
			return refuse(ENOENT);
		}
		count(UOA_ASKED_LAST);
	}
	if (key_of(sk, &in, &k)) {
		count(UOA_ASKED_INVALID);
		return refuse(EINVAL);
	}
	k.netns = netns_of(ctx);
	e = bpf_map_lookup_elem(&uoa_clients, &k);
	if (!e || !use(e)) {
		count(UOA_ASKED_MISS);
		return refuse(ENOENT);
	}
	client = e->station;
	__builtin_memset(in.client, 0, sizeof(in.client));
	if (is_mapped(&client.addr)) {
		in.client_family = AF_INET;
		__builtin_memcpy(in.client, &client.addr.w[3], 4);
	} else {
		in.client_family = AF_INET6;
		__builtin_memcpy(in.client, &client.addr, 16);
	}
	in.client_port = client.port;
	__builtin_memcpy(out, &in, sizeof(in));
	answer(ctx, sizeof(in));
	count(UOA_ASKED_HIT);
}

// toa_lookup is for IPv4 sockets with an IPv6 client (NAT64), as the module has it:
// an IPv6 socket shows that client by itself.
static __always_inline void toa_lookup(struct bpf_sockopt *ctx, struct bpf_sock *sk)
{
	struct toa_lookup *out = ctx->optval;
	struct station *client = 0;

	if ((void *)(out + 1) > ctx->optval_end) {
		count(NAT64_INVALID);
		return refuse(EINVAL);
	}
	if (sk->family == AF_INET)
		client = bpf_sk_storage_get(&toa_clients, sk, 0, 0);
	if (!client || is_mapped(&client->addr)) {
		count(NAT64_MISS);
		return refuse(ENOENT);
	}
	out->addr = client->addr;
	out->port = client->port;
	out->unused = 0;
	answer(ctx, sizeof(*out));
	count(NAT64_HIT);
}

SEC("cgroup/getsockopt")
int sockopt_toa(struct bpf_sockopt *ctx)
{
	struct bpf_sock *sk = ctx->sk;

	if (ctx->level == LEVEL_IP && ctx->optname == TOA_SO_GET_LOOKUP && sk)
		toa_lookup(ctx, sk);
	return 1;
}

SEC("cgroup/getsockopt")
int sockopt_uoa(struct bpf_sockopt *ctx)
{
	struct bpf_sock *sk = ctx->sk;

	if (ctx->level != LEVEL_IP || !sk)
		return 1;
	if (ctx->optname == UOA_SO_GET_LOOKUP)
		uoa_lookup(ctx, sk);
	else if (ctx->optname == TOA_SO_GET_LOOKUP)
		toa_lookup(ctx, sk);
	return 1;
}

static __always_inline int remember(struct bpf_sock_addr *ctx, const int family)
{
	struct bpf_sock *sk = ctx->sk;
	struct station *peer;

	if (!sk)
		return 1;
	peer = bpf_sk_storage_get(&last_peers, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!peer)
		return 1;
	peer->addr = family == AF_INET ? addr4(ctx->user_ip4) : user6(ctx);
	peer->port = ctx->user_port;
	return 1;
}

SEC("cgroup/recvmsg4")
int last_recvmsg4(struct bpf_sock_addr *ctx)
{
	return remember(ctx, AF_INET);
}

SEC("cgroup/recvmsg6")
int last_recvmsg6(struct bpf_sock_addr *ctx)
{
	return remember(ctx, AF_INET6);
}

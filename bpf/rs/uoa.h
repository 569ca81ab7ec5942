// UOA: the first datagrams of a flow carry the client. Here they are at the door
// of their socket: reassembled, behind DNAT, in the socket's own namespace, and not
// yet in its queue, so that the entry is there before recvmsg(2) returns.

#define PASS 1
#define DROP 0

static __always_inline long from_packet(const void *from, __u32 offset, void *to, const __u32 n)
{
	return bpf_skb_load_bytes(from, offset, to, n);
}

// save enters a flow's client, and in transparent mode the way back.
static __always_inline int save(struct flow_key *k, const struct station *client, const int transparent)
{
	struct entry e = { .station = *client, .used = bpf_ktime_get_ns() };

	if (transparent && showable(&k->peer, &client->addr)) {
		struct client_key back = {
			.netns = k->netns, .client = face(&k->peer, &client->addr), .client_port = client->port, .local_port = k->local_port,
		};
		struct entry director = { .station = { .addr = k->peer, .port = k->peer_port }, .used = e.used };

		if (bpf_map_update_elem(&uoa_returns, &back, &director, BPF_ANY))
			return -1;
	}
	if (bpf_map_update_elem(&uoa_clients, k, &e, BPF_ANY))
		return -1;
	__builtin_memset(&k->local, 0, sizeof(k->local));
	return bpf_map_update_elem(&uoa_clients, k, &e, BPF_ANY);
}

// in_ipv4 finds UOA among the header's options.
static __always_inline enum found in_ipv4(struct __sk_buff *skb, struct flow_key *k, struct station *client, __u32 *udp)
{
	struct ipv4 *ip = (void *)(long)skb->data, head;
	__u32 header;

	if ((void *)(ip + 1) > (void *)(long)skb->data_end || ip->protocol != IP_PROTO_UDP)
		return FOUND_NONE;
	header = (ip->ver_ihl & 15) * 4;
	*udp = IPV4_HEADER;
	if (header == IPV4_HEADER)
		return FOUND_NONE; // nearly every packet
	// A copy from here on: not every machine has its packets' words aligned.
	if (header < IPV4_HEADER || header > skb->len || bpf_skb_load_bytes(skb, 0, &head, sizeof(head)) || head.fragment & FRAGMENT)
		return FOUND_MALFORMED; // Linux lets none of them come so far
	*udp = header;
	k->peer = addr4(head.src);
	k->local = addr4(head.dst);
	return find(from_packet, skb, IPV4_HEADER, header, OPTION_UOA, BY_TCP_OR_IPV4, client);
}

// in_ipv6 finds UOA in the Destination Options header that opp6 makes.
static __always_inline enum found in_ipv6(struct __sk_buff *skb, struct flow_key *k, struct station *client, __u32 *udp)
{
	struct ipv6 *ip = (void *)(long)skb->data, head;
	__u8 options[4];

	if ((void *)(ip + 1) > (void *)(long)skb->data_end)
		return FOUND_NONE;
	if (ip->next == IP_PROTO_UDP) {
		*udp = IPV6_HEADER;
		return FOUND_NONE;
	}
	if (ip->next != IP_PROTO_DSTOPTS)
		return FOUND_NONE;
	if (skb->len < IPV6_HEADER + OPP_HEADER + OPTION_IPV6 || bpf_skb_load_bytes(skb, 0, &head, sizeof(head)) ||
	    bpf_skb_load_bytes(skb, IPV6_HEADER, options, sizeof(options)))
		return FOUND_NONE;
	k->peer = addr6(head.src);
	k->local = addr6(head.dst);
	if (options[0] != IP_PROTO_UDP || options[1] != (OPP_HEADER + OPTION_IPV6) / 8 - 1 ||
	    options[2] != OPP_DSTOPT || options[3] != OPTION_IPV6)
		return FOUND_NONE; // another's
	*udp = IPV6_HEADER + OPP_HEADER + OPTION_IPV6;
	return find(from_packet, skb, IPV6_HEADER + OPP_HEADER, IPV6_HEADER + OPP_HEADER + OPTION_IPV6, OPTION_UOA, BY_IPV6, client);
}

static __always_inline int uoa(struct __sk_buff *skb, const int transparent)
{
	struct flow_key k = {};
	struct station client = {};
	struct udp udp;
	enum found found;
	__u32 offset = 0; // of the UDP header; 0: no UDP

	if (skb->protocol == ETHERTYPE_IPV4)
		found = in_ipv4(skb, &k, &client, &offset);
	else if (skb->protocol == ETHERTYPE_IPV6)
		found = in_ipv6(skb, &k, &client, &offset);
	else
		return PASS;
	if (!offset)
		return PASS;
	if (found == FOUND_NONE) {
		count(UOA_NONE);
		return PASS;
	}
	if (found == FOUND_MALFORMED || bpf_skb_load_bytes(skb, offset & 127, &udp, sizeof(udp))) {
		count(UOA_MALFORMED);
		return PASS;
	}
	if (!is_trusted(&k.peer)) {
		count(UOA_UNTRUSTED);
		return PASS;
	}
	k.netns = netns_of(skb);
	k.peer_port = udp.src;
	k.local_port = udp.dst;
	if (save(&k, &client, transparent)) {
		count(UOA_REFUSED);
		return PASS;
	}
	count(UOA_SAVED);
	count_families(&k.peer, &client.addr, UOA_IPV6);
	if (uoa_drop_empty && udp.length == bpf_htons(UDP_HEADER)) {
		count(UOA_EMPTY);
		return DROP;
	}
	return PASS;
}

SEC("cgroup_skb/ingress")
int uoa_ingress(struct __sk_buff *skb)
{
	return uoa(skb, 0);
}

SEC("cgroup_skb/ingress")
int uoa_ingress_tr(struct __sk_buff *skb)
{
	return uoa(skb, 1);
}

// DPVS's option protocol (OPP, IP protocol 248) carries UOA between the IP header
// and UDP:
//
//	 0                   1                   2                   3
//	+-------+-------+---------------+-------------------------------+
//	|version|       | protocol (17) | length, with the option       |
//	+-------+-------+---------------+-------------------------------+
//	| UOA: kind 31, length 8 or 20  | port                          |
//	+-------------------------------+-------------------------------+
//	| address, 4 or 16 bytes                                        |
//
// Linux knows no protocol 248 and drops it. So the header is made into something
// that Linux delivers, in place, without moving a byte: in IPv4 four NOPs, by which
// the option becomes one of the IP header's; in IPv6 a Destination Options header
// with one option that whoever does not know it skips.
//
// The UDP checksum is not touched: DPVS sends 0 over IPv4, others a right one, and
// both stay what they are, for neither covers what lies in front of UDP.
//
// Fragments stay as they are: the header grows by what leaves the payload, which
// would move every later fragment's offset by bytes that are no multiple of eight.

#define OPP_HEADER 4

// The IPv6 option's type: its two highest bits say "skip over this option", the
// next "does not change on the way" (RFC 8200, section 4.2); the rest is the
// experimental value of RFC 4727.
#define OPP_DSTOPT 0x1e

struct opp {
	__u8 version; // in the high four bits: 1 or 2. DPVS is not of one mind what it means: ignored
	__u8 protocol;
	__be16 length;
	__u8 kind, size; // of the option
	__be16 port;
	__u8 addr[16];
};

// sound reports whether a header is one, with a UDP header behind. rest is how
// many bytes the packet has from the header on.
static __always_inline int sound(const struct opp *o, __u32 rest)
{
	__u32 length = bpf_ntohs(o->length), version = o->version >> 4;

	return (version == 1 || version == 2) && o->protocol == IP_PROTO_UDP && o->kind == OPTION_UOA &&
	       (o->size == OPTION_IPV4 || o->size == OPTION_IPV6) && length == OPP_HEADER + o->size &&
	       rest >= length + UDP_HEADER;
}

static __always_inline __u16 folded(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (sum & 0xffff) + (sum >> 16);
}

static __always_inline void opp4(struct __sk_buff *skb, const __u32 l2)
{
	struct ipv4 ip;
	struct opp o = {};
	__u32 length, header, total;
	__u64 sum;

	if (bpf_skb_load_bytes(skb, l2, &ip, sizeof(ip)) || ip.protocol != IP_PROTO_OPP)
		return;
	if (ip.fragment & FRAGMENT)
		return count(OPP_FRAGMENT);
	header = (ip.ver_ihl & 15) * 4;
	total = bpf_ntohs(ip.length);
	if (ip.ver_ihl >> 4 != 4 || header < IPV4_HEADER || total < header + OPP_HEADER + OPTION_IPV4)
		return count(OPP_MALFORMED);
	if (bpf_skb_load_bytes(skb, l2 + header, &o, OPP_HEADER + OPTION_IPV4) || !sound(&o, total - header))
		return count(OPP_MALFORMED);
	length = bpf_ntohs(o.length);
	if (header + length > IPV4_HEADER_MAX)
		return count(OPP_MALFORMED);
	if (length == OPP_HEADER + OPTION_IPV6 && bpf_skb_load_bytes(skb, l2 + header, &o, OPP_HEADER + OPTION_IPV6))
		return count(OPP_MALFORMED);
	struct addr src = addr4(ip.src);
	if (!is_trusted(&src))
		return count(OPP_UNTRUSTED);

	// The rest of o is zero where the option is short, which adds nothing to a sum.
	__u32 nops = OPTION_NOP * 0x01010101;
	__builtin_memcpy(&o, &nops, sizeof(nops));
	// RFC 1624: a header that came with a wrong checksum leaves with a wrong one.
	sum = (__u16)~ip.check;
	sum += (__u16)~*(__u16 *)&ip.ver_ihl + (__u16)~*(__u16 *)&ip.ttl;
	ip.ver_ihl += length / 4;
	ip.protocol = IP_PROTO_UDP;
	sum += *(__u16 *)&ip.ver_ihl + *(__u16 *)&ip.ttl;
	sum += (__u32)bpf_csum_diff(0, 0, (__be32 *)&o, sizeof(o), 0);
	ip.check = ~folded(sum);
	if (bpf_skb_store_bytes(skb, l2, &ip, sizeof(ip), BPF_F_RECOMPUTE_CSUM) ||
	    bpf_skb_store_bytes(skb, l2 + header, &nops, sizeof(nops), BPF_F_RECOMPUTE_CSUM))
		return count(OPP_MALFORMED); // can't be: the bytes were read from there
	count(OPP_IPV4);
}

// opp6 knows OPP right behind the fixed header, where DPVS puts it.
static __always_inline void opp6(struct __sk_buff *skb, const __u32 l2)
{
	struct ipv6 ip;
	struct opp o = {};
	__u8 options[4] = { IP_PROTO_UDP, (OPP_HEADER + OPTION_IPV6) / 8 - 1, OPP_DSTOPT, OPTION_IPV6 };
	__u8 next = IP_PROTO_DSTOPTS;

	if (bpf_skb_load_bytes(skb, l2, &ip, sizeof(ip)) || ip.next != IP_PROTO_OPP)
		return;
	// The short form has no length that Destination Options can have. No director
	// sends it: here an IPv4 client has the long one, as ::ffff:a.b.c.d.
	if (bpf_skb_load_bytes(skb, l2 + IPV6_HEADER, &o, sizeof(o)) || !sound(&o, bpf_ntohs(ip.length)) || o.size != OPTION_IPV6)
		return count(OPP_MALFORMED);
	struct addr src = addr6(ip.src);
	if (!is_trusted(&src))
		return count(OPP_UNTRUSTED);
	if (bpf_skb_store_bytes(skb, l2 + IPV6_HEADER, options, sizeof(options), BPF_F_RECOMPUTE_CSUM) ||
	    bpf_skb_store_bytes(skb, l2 + __builtin_offsetof(struct ipv6, next), &next, 1, BPF_F_RECOMPUTE_CSUM))
		return count(OPP_MALFORMED); // can't be: the bytes were read from there
	count(OPP_IPV6);
}

// Let what else is at the hook and then the stack go on: TC_ACT_UNSPEC, TCX_NEXT.
#define NEXT -1

static __always_inline int opp(struct __sk_buff *skb, const __u32 l2)
{
	if (skb->protocol == ETHERTYPE_IPV4)
		opp4(skb, l2);
	else if (skb->protocol == ETHERTYPE_IPV6)
		opp6(skb, l2);
	return NEXT;
}

// For devices with Ethernet headers. A VLAN tag was taken off before.
SEC("tc")
int opp_ether(struct __sk_buff *skb)
{
	return opp(skb, 14);
}

// For devices whose frames are IP packets: TUN, ipip, gre, wireguard, …
SEC("tc")
int opp_bare(struct __sk_buff *skb)
{
	return opp(skb, 0);
}

// The words of the real server's programs: addresses, clients, what the loader sets.

// Of <sys/socket.h>.
#define AF_INET 2
#define AF_INET6 10

// Of <linux/in.h> and <linux/if_ether.h>, here so that nothing but BPF's own
// headers is needed.
#define IP_PROTO_TCP 6
#define IP_PROTO_UDP 17
#define IP_PROTO_DSTOPTS 60  // RFC 8200, section 4.6
#define IP_PROTO_OPP 248     // DPVS's option protocol
#define ETHERTYPE_IPV4 bpf_htons(0x0800)
#define ETHERTYPE_IPV6 bpf_htons(0x86dd)

#define FRAGMENT bpf_htons(0x3fff)  // more fragments, or an offset
#define IPV4_HEADER 20              // bytes, without options
#define IPV4_HEADER_MAX 60
#define IPV6_HEADER 40
#define UDP_HEADER 8

// An IPv4 header, RFC 791 section 3.1.
struct ipv4 {
	__u8 ver_ihl, tos;
	__be16 length, id, fragment;
	__u8 ttl, protocol;
	__be16 check;
	__be32 src, dst;
};

// An IPv6 header, RFC 8200 section 3.
struct ipv6 {
	__be32 ver_class_label;
	__be16 length;
	__u8 next, hops;
	__be32 src[4], dst[4];
};

// A UDP header, RFC 768.
struct udp {
	__be16 src, dst, length, check;
};

// An address of either family: IPv4 as ::ffff:a.b.c.d (RFC 4291, section 2.5.5.2).
// As on the wire.
struct addr {
	__be32 w[4];
};

#define MAPPED bpf_htonl(0xffff)

static __always_inline struct addr addr4(__be32 a)
{
	struct addr x = { { 0, 0, MAPPED, a } };

	return x;
}

static __always_inline struct addr addr6(const __be32 *w)
{
	struct addr x = { { w[0], w[1], w[2], w[3] } };

	return x;
}

static __always_inline int is_mapped(const struct addr *a)
{
	return a->w[0] == 0 && a->w[1] == 0 && a->w[2] == MAPPED;
}

static __always_inline int is_any(const struct addr *a)
{
	return (a->w[0] | a->w[1] | a->w[2] | a->w[3]) == 0;
}

// Who is at the other end: a client, or the director's local address.
struct station {
	struct addr addr;
	__be16 port;
	__u16 unused;
};

// Whether a can be a client's address, as the wire may bring it. An option that
// says anything else is malformed. 240.0.0.0/4 is in use here and there and may
// pass; loopback may not: programs trust it.
static __always_inline int is_station(const struct addr *a)
{
	if (is_mapped(a)) {
		__u8 first = bpf_ntohl(a->w[3]) >> 24;

		return first != 0 && first != 127 && (first & 0xf0) != 224 && a->w[3] != 0xffffffff;
	}
	if (a->w[0] == 0 && a->w[1] == 0 && a->w[2] == 0 && (a->w[3] == 0 || a->w[3] == bpf_htonl(1)))
		return 0; // :: and ::1
	return bpf_ntohl(a->w[0]) >> 24 != 0xff;
}

// What the loader sets before it loads; see internal/rsagent/load.go.

// bpf_get_netns_cookie works in all programs that need it (Linux 6.15).
const volatile __u8 have_netns_cookie = 0;
// bpf_skc_to_mptcp_sock works (Linux 5.19, with BTF).
const volatile __u8 have_mptcp = 0;
// bpf_task_pt_regs and bpf_probe_read_user work (Linux 5.15, with BTF).
const volatile __u8 have_registers = 0;
// bpf_set_retval works (Linux 5.18).
const volatile __u8 have_set_retval = 0;
// Ask listeners to keep the SYN, for directors that put TOA nowhere else.
const volatile __u8 save_syn = 0;
// Drop datagrams that carry UOA and nothing else.
const volatile __u8 uoa_drop_empty = 0;
// For how long a client of UDP is known after its last use, in ns.
const volatile __u64 uoa_timeout = 360000000000;

// TOA and UOA look the same: kind, length, port, address, in a list of options
// that TCP (RFC 9293, section 3.1) and IPv4 (RFC 791) lay out the same way. So one
// walk serves both. Its model in Go is internal/rsagent/optionmodel_test.go.

#define OPTION_END 0
#define OPTION_NOP 1
#define OPTION_TOA 254
#define OPTION_UOA 31
#define OPTION_IPV4 8  // bytes of the option with an IPv4 address
#define OPTION_IPV6 20 // and with an IPv6 address

// What a list is at most, in either protocol.
#define OPTIONS_MAX 40

enum found {
	FOUND_NONE,
	FOUND_CLIENT,
	FOUND_MALFORMED,
};

// A load copies n bytes at an offset; it reports whether they were not there. n is
// a constant of at most 18.
typedef long (*load)(const void *from, __u32 offset, void *to, const __u32 n);

// The verifier tells the values of an offset apart, and each NOP in the list
// doubles the number of ways to one: more than a million instructions to verify.
// A function of its own is verified by itself, and what it returns is just a number.
__noinline __u32 forget(__u32 v)
{
	asm volatile("" : "+r"(v));
	return v;
}

// What carries the option. An IPv6 header has room for the long one alone, so there
// an IPv4 client (NAT46) is ::ffff:a.b.c.d; elsewhere it has the short option.
enum carrier {
	BY_TCP_OR_IPV4,
	BY_IPV6,
};

// client_of reads the client out of an option of that length.
static __always_inline enum found client_of(load get, const void *from, __u32 offset, __u8 length, const enum carrier by, struct station *client)
{
	struct {
		__be16 port;
		__u8 addr[16];
	} __attribute__((packed)) o = {};

	if (length == OPTION_IPV4 && by != BY_IPV6) {
		__be32 a;

		if (get(from, offset + 2, &o, OPTION_IPV4 - 2))
			return FOUND_MALFORMED;
		__builtin_memcpy(&a, o.addr, 4);
		client->addr = addr4(a);
	} else if (length == OPTION_IPV6) {
		if (get(from, offset + 2, &o, OPTION_IPV6 - 2))
			return FOUND_MALFORMED;
		__builtin_memcpy(&client->addr, o.addr, 16);
		if (is_mapped(&client->addr) && by != BY_IPV6)
			return FOUND_MALFORMED;
	} else {
		return FOUND_MALFORMED;
	}
	client->port = o.port;
	client->unused = 0;
	return o.port && is_station(&client->addr) ? FOUND_CLIENT : FOUND_MALFORMED;
}

// find walks the options between two offsets, the end at most 64, to the first of
// the wanted kind. That one decides: directors put theirs first, so what follows a
// bad one may be the client's own.
static __always_inline enum found find(load get, const void *from, __u32 offset, __u32 end, __u8 wanted, const enum carrier by, struct station *client)
{
	int i;

	for (i = 0; i < OPTIONS_MAX; i++) {
		__u8 kind, length;

		offset = forget(offset) & 127;
		if (offset >= end)
			return FOUND_NONE;
		if (get(from, offset, &kind, 1))
			return FOUND_MALFORMED;
		if (kind == OPTION_END)
			return FOUND_NONE;
		if (kind == OPTION_NOP) {
			offset++;
			continue;
		}
		if (offset + 2 > end || get(from, offset + 1, &length, 1))
			return FOUND_MALFORMED;
		if (length < 2 || offset + length > end)
			return FOUND_MALFORMED;
		if (kind == wanted)
			return client_of(get, from, offset, length, by, client);
		offset += length;
	}
	return FOUND_NONE;
}

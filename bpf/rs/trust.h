// Whose options are believed: the directors' local addresses.

// The family stands first, so that ::/0 does not mean all of IPv4 too.
struct prefix {
	__u32 length; // in bits, the family's 32 among them
	__u32 family;
	struct addr addr; // IPv4 in the first word
};

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 4096); // maxTrust of internal/rsagent
	__type(key, struct prefix);
	__type(value, __u32);
} trusted SEC(".maps");

static __always_inline int is_trusted(const struct addr *a)
{
	struct prefix p = { .length = 32 + 128, .family = AF_INET6 };

	if (is_mapped(a)) {
		p.length = 32 + 32;
		p.family = AF_INET;
		p.addr.w[0] = a->w[3];
	} else {
		p.addr = *a;
	}
	return bpf_map_lookup_elem(&trusted, &p) != 0;
}

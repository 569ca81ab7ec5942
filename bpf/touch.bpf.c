//go:build ignore

// Writes to pages of an array map, and changes nothing. A map's pages are there when it was
// made, and the kernel's own mapping of them too; but a hypervisor that keeps page tables of
// its own (shadow paging, PVM) does its part when a page is first read or written through an
// address: 17 µs and more, where forward.bpf.c meets the first packet of a flow. The director
// runs this beside the workers instead (afxdp/touch.go).

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char _license[] SEC("license") = "Dual MIT/GPL";

// PAGES are written to in one run, which nothing interrupts.
#define PAGES 8

struct order {
	__u32 first;  // value of the first page
	__u32 stride; // values in a page
};

// The map. The loader puts the one that is meant in its place.
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} memory SEC(".maps");

// touch returns how many pages it wrote to, fewer than PAGES at the map's end.
SEC("syscall")
int touch(struct order *o)
{
	__u32 i = o->first, stride = o->stride;
	int n;
	for (n = 0; n < PAGES; n++, i += stride) {
		__u64 *word = bpf_map_lookup_elem(&memory, &i);
		if (!word)
			break;
		__sync_fetch_and_add(word, 0); // others may write there at the same time
	}
	return n;
}

//go:build ignore

// Keeps what arrives on an interface from the host's own kernel. It runs at tcx
// ingress, which is behind the taps of packet sockets: those have their copy
// already. Needs Linux 6.6.

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char _license[] SEC("license") = "Dual MIT/GPL";

// The verdict is not in the headers of older distributions.
#define TCX_DROP 2

SEC("tcx/ingress")
int ingress_drop(struct __sk_buff *frame)
{
	return TCX_DROP;
}

//go:build ignore

// What weir-rs runs on a real server: programs get to know the true client of a
// connection or datagram that came through a director, without knowing of TOA or
// UOA, and without a kernel module.
//
// Each part lies in a header of its own, in the order in which a packet meets it:
//
//	rs/opp.h      tc ingress      the option protocol becomes something that Linux delivers
//	rs/toa.h      sockops         TOA of a TCP connection → its socket
//	rs/uoa.h      cgroup ingress  UOA of a datagram → a table
//	rs/udp.h      recvmsg, …      the table → what a UDP server sees, and back
//	rs/peer.h     getpeername     socket or table → accept(2), getpeername(2)
//	rs/sockopt.h  getsockopt      socket or table → DPVS's two socket options
//
// Nothing here decides whether a packet passes, with one exception that has to be
// asked for (uoa_drop_empty). What is not believed leaves everything as it was.
//
// The headers are those of the user's kernel interface, no vmlinux.h: nothing
// is relocated, so most of it needs no BTF of the running kernel. What does is
// switched by constants that the loader sets; the verifier does not look at code
// that a constant switches off.
//
// Needs Linux 5.10; internal/rsagent finds out what else there is.

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>

#include "rs/model.h"
#include "rs/count.h"
#include "rs/trust.h"
#include "rs/option.h"
#include "rs/flow.h"
#include "rs/opp.h"
#include "rs/toa.h"
#include "rs/uoa.h"
#include "rs/udp.h"
#include "rs/peer.h"
#include "rs/sockopt.h"

// Helpers that only such programs may call: sk_storage, probe_read_user.
char _license[] SEC("license") = "Dual MIT/GPL";

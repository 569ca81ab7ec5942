// Package bpf holds the programs that the kernel runs for the port drivers and for
// the benchmarks on veth (generate, charge), and the Go code that loads them. The objects
// are committed, so that building the director needs no C compiler; `go generate
// ./bpf` makes them anew (clang and the headers of libbpf are needed).
//
// Enters: frames, before Linux sees them (xsk_redirect, forward) or before its IP layer
// does (ingress_drop).
// Leaves: frames in AF_XDP receive rings; those that forward sends itself, on the port
// that the flow table says.
// Owns: its maps, for as long as the process that loaded them lives, or, of forward, its
// program is on an interface (afxdp.Program.Begin). The flow table that forward reads is internal/flow's.
// Drops: xsk_redirect and forward count, by queue, frames that are too big and frames of
// queues without socket; lost counts those that the kernel loses after forward sent them;
// ingress_drop takes copies only, and counts nothing.
// See: bpf(2), the kernel's Documentation/networking/af_xdp.rst and
// Documentation/bpf/map_xskmap.rst.
package bpf

// One object serves all little-endian machines (amd64, arm64, riscv64, …): the
// programs read no CPU registers. forward is compiled twice: on veth it can look ahead (ahead.h). Headers are read and written in pieces of several sizes,
// which is not for a compiler to reorder (-fno-strict-aliasing). The include path is Debian's, where asm/ lies
// outside of /usr/include; elsewhere it is not needed and does no harm.

//go:generate go tool -modfile=../tools/go.mod bpf2go -target bpfel -cflags "-O2 -g -Wall -Werror -I/usr/include/x86_64-linux-gnu" XskRedirect xsk_redirect.bpf.c
//go:generate go tool -modfile=../tools/go.mod bpf2go -target bpfel -type rule -type lane -cflags "-O2 -fno-strict-aliasing -g -Wall -Werror -mcpu=v3 -I/usr/include/x86_64-linux-gnu" Forward forward.bpf.c
//go:generate go tool -modfile=../tools/go.mod bpf2go -target bpfel -no-global-types -cflags "-DWEIR_ON_VETH -O2 -fno-strict-aliasing -g -Wall -Werror -mcpu=v3 -I/usr/include/x86_64-linux-gnu" ForwardVeth forward.bpf.c
//go:generate go tool -modfile=../tools/go.mod bpf2go -target bpfel -cflags "-O2 -g -Wall -Werror -mcpu=v3 -I/usr/include/x86_64-linux-gnu" Lost lost.bpf.c
//go:generate go tool -modfile=../tools/go.mod bpf2go -target bpfel -cflags "-O2 -g -Wall -Werror -I/usr/include/x86_64-linux-gnu" IngressDrop ingress_drop.bpf.c
//go:generate go tool -modfile=../tools/go.mod bpf2go -target bpfel -cflags "-O2 -g -Wall -Werror -I/usr/include/x86_64-linux-gnu" Generate generate.bpf.c
//go:generate go tool -modfile=../tools/go.mod bpf2go -target bpfel -type order -cflags "-O2 -g -Wall -Werror -I/usr/include/x86_64-linux-gnu" Touch touch.bpf.c
//go:generate go tool -modfile=../tools/go.mod bpf2go -target bpfel -cflags "-O2 -g -Wall -Werror -mcpu=v3 -I/usr/include/x86_64-linux-gnu" Cycle cycle.bpf.c
//go:generate go tool -modfile=../tools/go.mod bpf2go -target bpfel -cflags "-O2 -g -Wall -Werror -mcpu=v3 -I/usr/include/x86_64-linux-gnu" Charge charge.bpf.c

// What weir-rs loads has an object for each processor whose registers it knows: the
// getsockopt program reads the caller's fourth argument.

//go:generate go tool -modfile=../tools/go.mod bpf2go -target amd64,arm64 -cflags "-O2 -g -Wall -Werror -I/usr/include/x86_64-linux-gnu" RS rs.bpf.c

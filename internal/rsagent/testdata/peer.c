// A TCP server that says what each way to ask for the peer answers. It knows
// nothing of TOA, but for the module's socket option, which it tries.
//
//	peer PORT WORD...
//
// Words: v6 (an AF_INET6 socket), accept, accept4 or uring (how it accepts), defer,
// reuseport, mptcp, fastopen, read (read before asking), bare (accept without an
// address). It says "ready", and then a line for each connection.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/io_uring.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static int words;
static char **word;

static int has(const char *w)
{
	for (int i = 0; i < words; i++)
		if (!strcmp(word[i], w))
			return 1;
	return 0;
}

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void say(const char *who, const void *address)
{
	const struct sockaddr *a = address;
	char text[INET6_ADDRSTRLEN];

	if (a->sa_family == AF_INET) {
		const struct sockaddr_in *in = address;
		printf(" %s=%s:%d", who, inet_ntop(AF_INET, &in->sin_addr, text, sizeof text), ntohs(in->sin_port));
	} else if (a->sa_family == AF_INET6) {
		const struct sockaddr_in6 *in = address;
		printf(" %s=[%s]:%d", who, inet_ntop(AF_INET6, &in->sin6_addr, text, sizeof text), ntohs(in->sin6_port));
	} else {
		printf(" %s=family-%d", who, a->sa_family);
	}
}

// ring is an io_uring, as little of it as one accept needs.
static struct {
	int fd;
	unsigned *sq_tail, *sq_mask, *sq_array, *cq_head, *cq_tail, *cq_mask;
	struct io_uring_sqe *sqes;
	struct io_uring_cqe *cqes;
} ring;

static void ring_open(void)
{
	struct io_uring_params p = { 0 };
	char *sq, *cq;

	ring.fd = syscall(SYS_io_uring_setup, 4, &p);
	if (ring.fd < 0)
		die("io_uring_setup");
	sq = mmap(0, p.sq_off.array + p.sq_entries * sizeof(unsigned), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring.fd, IORING_OFF_SQ_RING);
	cq = mmap(0, p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring.fd, IORING_OFF_CQ_RING);
	ring.sqes = mmap(0, p.sq_entries * sizeof(struct io_uring_sqe), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring.fd, IORING_OFF_SQES);
	if (sq == MAP_FAILED || cq == MAP_FAILED || ring.sqes == MAP_FAILED)
		die("mmap of io_uring");
	ring.sq_tail = (unsigned *)(sq + p.sq_off.tail);
	ring.sq_mask = (unsigned *)(sq + p.sq_off.ring_mask);
	ring.sq_array = (unsigned *)(sq + p.sq_off.array);
	ring.cq_head = (unsigned *)(cq + p.cq_off.head);
	ring.cq_tail = (unsigned *)(cq + p.cq_off.tail);
	ring.cq_mask = (unsigned *)(cq + p.cq_off.ring_mask);
	ring.cqes = (struct io_uring_cqe *)(cq + p.cq_off.cqes);
}

static int ring_accept(int listener, struct sockaddr *a, socklen_t *n)
{
	unsigned tail = *ring.sq_tail, i = tail & *ring.sq_mask;
	struct io_uring_sqe *s = &ring.sqes[i];
	int fd;

	memset(s, 0, sizeof *s);
	s->opcode = IORING_OP_ACCEPT;
	s->fd = listener;
	s->addr = (unsigned long)a;
	s->addr2 = (unsigned long)n;
	ring.sq_array[i] = i;
	__atomic_store_n(ring.sq_tail, tail + 1, __ATOMIC_RELEASE);
	if (syscall(SYS_io_uring_enter, ring.fd, 1, 1, IORING_ENTER_GETEVENTS, 0, 0) < 0)
		die("io_uring_enter");
	while (*ring.cq_head == __atomic_load_n(ring.cq_tail, __ATOMIC_ACQUIRE))
		syscall(SYS_io_uring_enter, ring.fd, 0, 1, IORING_ENTER_GETEVENTS, 0, 0);
	fd = ring.cqes[*ring.cq_head & *ring.cq_mask].res;
	__atomic_store_n(ring.cq_head, *ring.cq_head + 1, __ATOMIC_RELEASE);
	errno = fd < 0 ? -fd : 0;
	return fd;
}

static int take(int listener, struct sockaddr *a, socklen_t *n)
{
	if (has("uring"))
		return ring_accept(listener, a, n);
	if (has("bare"))
		return accept(listener, 0, 0);
	if (has("accept4"))
		return accept4(listener, a, n, SOCK_CLOEXEC);
	return accept(listener, a, n);
}

static int open_listener(int family, int port)
{
	struct sockaddr_in a4 = { .sin_family = AF_INET, .sin_port = htons(port) };
	struct sockaddr_in6 a6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	int one = 1, queue = 16, seconds = 20;
	int fd = socket(family, SOCK_STREAM, has("mptcp") ? IPPROTO_MPTCP : 0);

	if (fd < 0)
		die("socket");
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one))
		die("SO_REUSEADDR");
	if (has("reuseport") && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one))
		die("SO_REUSEPORT");
	if (has("defer") && setsockopt(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, &seconds, sizeof seconds))
		die("TCP_DEFER_ACCEPT");
	if (has("fastopen") && setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN, &queue, sizeof queue))
		die("TCP_FASTOPEN");
	if (bind(fd, family == AF_INET ? (void *)&a4 : (void *)&a6, family == AF_INET ? sizeof a4 : sizeof a6))
		die("bind");
	if (listen(fd, 128))
		die("listen");
	return fd;
}

int main(int argc, char **argv)
{
	int family, listener;

	words = argc - 2;
	word = argv + 2;
	family = has("v6") ? AF_INET6 : AF_INET;
	if (has("uring"))
		ring_open();
	listener = open_listener(family, atoi(argv[1]));
	setvbuf(stdout, 0, _IOLBF, 0);
	printf("ready\n");
	for (;;) {
		struct sockaddr_storage a = { 0 };
		struct { struct in6_addr addr; in_port_t port; } nat64 = { 0 };
		socklen_t n = sizeof a;
		char data[2048];
		int fd = take(listener, (void *)&a, &n);

		if (fd < 0)
			die("accept");
		printf("peer");
		if (!has("bare"))
			say("accept", &a);
		if (has("read"))
			printf(" read=%zd", recv(fd, data, sizeof data, 0));
		n = sizeof a;
		if (getpeername(fd, (void *)&a, &n))
			die("getpeername");
		say("getpeername", &a);
		n = family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
		if (getsockopt(fd, SOL_SOCKET, SO_PEERNAME, &a, &n))
			printf(" peername=%s", strerrorname_np(errno));
		else
			say("peername", &a);
		n = sizeof nat64;
		if (getsockopt(fd, IPPROTO_IP, 4096, &nat64, &n))
			printf(" nat64=%s", strerrorname_np(errno));
		else
			printf(" nat64=[%s]:%d/%d", inet_ntop(AF_INET6, &nat64.addr, data, sizeof data), ntohs(nat64.port), (int)n);
		printf("\n");
		close(fd);
	}
}

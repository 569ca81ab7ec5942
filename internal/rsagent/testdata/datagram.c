// A UDP server that asks for the true client the way that DPVS tells: recvfrom(2),
// then getsockopt(2) with what it returned. It answers to where recvfrom said.
//
//	datagram PORT WORD...
//
// Words: v6 (an AF_INET6 socket), local=ADDRESS (bind to it), short (a buffer that is
// too small), family (ask with a family that is none), other (ask about a peer that
// sent nothing). It says "ready", and then a line for each datagram.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct lookup {
	unsigned short family;
	unsigned char peer[16], local[16];
	unsigned short peer_port, local_port, client_family;
	unsigned char client[16];
	unsigned short client_port;
} __attribute__((packed));

static void die(const char *what)
{
	perror(what);
	exit(1);
}

int main(int argc, char **argv)
{
	struct sockaddr_in a4 = { .sin_family = AF_INET, .sin_port = htons(atoi(argv[1])) };
	struct sockaddr_in6 a6 = { .sin6_family = AF_INET6, .sin6_port = htons(atoi(argv[1])) };
	int family = AF_INET, brief = 0, odd = 0, other = 0, fd;

	for (int i = 2; i < argc; i++) {
		brief |= !strcmp(argv[i], "short");
		odd |= !strcmp(argv[i], "family");
		other |= !strcmp(argv[i], "other");
		if (!strcmp(argv[i], "v6"))
			family = AF_INET6;
		if (!strncmp(argv[i], "local=", 6) &&
		    !inet_pton(family, argv[i] + 6, family == AF_INET ? (void *)&a4.sin_addr : (void *)&a6.sin6_addr))
			die("local");
	}
	fd = socket(family, SOCK_DGRAM, 0);
	if (fd < 0 || bind(fd, family == AF_INET ? (void *)&a4 : (void *)&a6, family == AF_INET ? sizeof a4 : sizeof a6))
		die("bind");
	setvbuf(stdout, 0, _IOLBF, 0);
	printf("ready\n");
	for (;;) {
		struct sockaddr_storage from = { 0 };
		struct lookup l = { 0 };
		socklen_t n = sizeof from, length = brief ? 57 : sizeof l;
		char data[65536], text[INET6_ADDRSTRLEN];
		ssize_t got = recvfrom(fd, data, sizeof data, 0, (void *)&from, &n);

		if (got < 0)
			die("recvfrom");
		if (from.ss_family == AF_INET) {
			struct sockaddr_in *in = (void *)&from;
			l.family = AF_INET;
			memcpy(l.peer, &in->sin_addr, 4);
			l.peer_port = in->sin_port;
			printf("from=%s:%d", inet_ntop(AF_INET, &in->sin_addr, text, sizeof text), ntohs(in->sin_port));
		} else {
			struct sockaddr_in6 *in = (void *)&from;
			l.family = AF_INET6;
			memcpy(l.peer, &in->sin6_addr, 16);
			l.peer_port = in->sin6_port;
			printf("from=[%s]:%d", inet_ntop(AF_INET6, &in->sin6_addr, text, sizeof text), ntohs(in->sin6_port));
		}
		l.local_port = a4.sin_port;
		if (odd)
			l.family = AF_UNIX;
		if (other)
			l.peer_port ^= htons(1);
		struct lookup asked = l;
		printf(" bytes=%zd", got);
		if (getsockopt(fd, IPPROTO_IP, 2048, &l, &length))
			printf(" client=%s", strerrorname_np(errno));
		else
			printf(" client=%s%s%s:%d length=%d kept=%d", l.client_family == AF_INET6 ? "[" : "", inet_ntop(l.client_family, l.client, text, sizeof text),
			       l.client_family == AF_INET6 ? "]" : "", ntohs(l.client_port), (int)length,
			       !memcmp(&asked, &l, 38) && asked.local_port == l.local_port);
		printf("\n");
		if (sendto(fd, data, got, 0, (void *)&from, n) < 0)
			die("sendto");
	}
}

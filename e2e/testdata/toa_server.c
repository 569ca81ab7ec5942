// toa_server PORT: an HTTP server with an IPv4 socket that is written for DPVS's TOA:
// of an IPv6 client (NAT64) accept() can show the director's address only, so it asks
// with getsockopt(). It answers
//
//	from ADDRESS:PORT, real client [ADDRESS]:PORT
//
// The option and its structure are those of DPVS's module (reference 6.7).
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "address.h"

#define TOA_SO_GET_LOOKUP 4096

struct toa_nat64_peer {
	struct in6_addr saddr;
	uint16_t port;
};

_Static_assert(sizeof(struct toa_nat64_peer) == 20, "DPVS's structure has 20 bytes");

static void serve(int conn, const union address *accepted)
{
	union address client = {.v6 = {.sin6_family = AF_INET6}};
	struct toa_nat64_peer asked;
	socklen_t len = sizeof(asked);
	char request[4096], a[ADDRESS_TEXT], b[ADDRESS_TEXT], body[256], answer[512];
	size_t have = 0;
	ssize_t n;

	write_address(accepted, a);
	if (getsockopt(conn, IPPROTO_IP, TOA_SO_GET_LOOKUP, &asked, &len)) {
		snprintf(body, sizeof(body), "from %s, no real client: %s\n", a, strerror(errno));
	} else {
		client.v6.sin6_addr = asked.saddr;
		client.v6.sin6_port = asked.port;
		snprintf(body, sizeof(body), "from %s, real client %s\n", a, write_address(&client, b));
	}
	do {
		n = read(conn, request + have, sizeof(request) - 1 - have);
		if (n <= 0)
			return;
		have += n;
		request[have] = 0;
	} while (!strstr(request, "\r\n\r\n"));

	n = snprintf(answer, sizeof(answer), "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n%s", strlen(body), body);
	if (write(conn, answer, n) != n)
		return;
	shutdown(conn, SHUT_WR);
	while (read(conn, request, sizeof(request)) > 0)
		;
}

int main(int argc, char **argv)
{
	int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	union address addr;
	socklen_t size;

	if (argc != 2)
		return 2;
	size = any_address(&addr, AF_INET, atoi(argv[1]));
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, &addr.any, size) || listen(fd, 4096)) {
		perror("toa_server");
		return 1;
	}
	for (;;) {
		union address peer;
		socklen_t len = sizeof(peer);
		int conn = accept(fd, &peer.any, &len);

		if (conn < 0)
			continue;
		serve(conn, &peer);
		close(conn);
	}
}

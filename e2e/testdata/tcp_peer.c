// tcp_peer PORT [6]: an HTTP server that answers every request with the client's
// address as accept4() gave it, if getpeername() on the new socket says the same. With
// 6 its socket is of IPv6.
//
// It knows nothing of load balancers: it is what any server in C looks like.
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "address.h"

static void serve(int conn, const union address *accepted)
{
	union address peer;
	socklen_t len = sizeof(peer);
	char request[4096], a[ADDRESS_TEXT], b[ADDRESS_TEXT], body[256], answer[512];
	size_t have = 0;
	ssize_t n;

	write_address(accepted, a);
	if (getpeername(conn, &peer.any, &len))
		strcpy(b, "an error");
	else
		write_address(&peer, b);
	if (strcmp(a, b) == 0)
		snprintf(body, sizeof(body), "Your ip:port : %s\n", a);
	else
		snprintf(body, sizeof(body), "accept4 gave %s, getpeername %s\n", a, b);

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
	int on = 1, family = argc == 3 && strcmp(argv[2], "6") == 0 ? AF_INET6 : AF_INET;
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	union address addr;
	socklen_t size;

	if (argc < 2)
		return 2;
	size = any_address(&addr, family, atoi(argv[1]));
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, &addr.any, size) || listen(fd, 4096)) {
		perror("tcp_peer");
		return 1;
	}
	for (;;) {
		union address peer;
		socklen_t len = sizeof(peer);
		int conn = accept4(fd, &peer.any, &len, SOCK_CLOEXEC);

		if (conn < 0)
			continue;
		serve(conn, &peer);
		close(conn);
	}
}

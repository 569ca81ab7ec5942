// tcp_peer PORT: an HTTP server that answers every request with the client's
// address as accept4() gave it, if getpeername() on the new socket says the same.
//
// It knows nothing of load balancers: it is what any server in C looks like.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void name(const struct sockaddr_in *a, char *text, size_t size)
{
	char ip[INET_ADDRSTRLEN];

	inet_ntop(AF_INET, &a->sin_addr, ip, sizeof(ip));
	snprintf(text, size, "%s:%d", ip, ntohs(a->sin_port));
}

static void serve(int conn, const struct sockaddr_in *accepted)
{
	struct sockaddr_in peer;
	socklen_t len = sizeof(peer);
	char request[4096], a[64], b[64], body[256], answer[512];
	size_t have = 0;
	ssize_t n;

	name(accepted, a, sizeof(a));
	if (getpeername(conn, (struct sockaddr *)&peer, &len))
		strcpy(b, "an error");
	else
		name(&peer, b, sizeof(b));
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
	struct sockaddr_in addr = {.sin_family = AF_INET};
	int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (argc != 2)
		return 2;
	addr.sin_port = htons(atoi(argv[1]));
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) || listen(fd, 4096)) {
		perror("tcp_peer");
		return 1;
	}
	for (;;) {
		struct sockaddr_in peer;
		socklen_t len = sizeof(peer);
		int conn = accept4(fd, (struct sockaddr *)&peer, &len, SOCK_CLOEXEC);

		if (conn < 0)
			continue;
		serve(conn, &peer);
		close(conn);
	}
}

// udp_peer PORT [6]: answers every datagram with the sender's address as recvfrom()
// gave it, and sends the answer to that address. With 6 its socket is of IPv6.
//
// It knows nothing of load balancers: it is what any UDP server in C looks like.
#include <stdlib.h>
#include <string.h>

#include "address.h"

int main(int argc, char **argv)
{
	int size = 4 << 20, family = argc == 3 && strcmp(argv[2], "6") == 0 ? AF_INET6 : AF_INET;
	int fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	union address addr;
	socklen_t bound;

	if (argc < 2)
		return 2;
	bound = any_address(&addr, family, atoi(argv[1]));
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	if (bind(fd, &addr.any, bound)) {
		perror("udp_peer");
		return 1;
	}
	for (;;) {
		char data[2048], text[ADDRESS_TEXT];
		union address peer;
		socklen_t len = sizeof(peer);

		if (recvfrom(fd, data, sizeof(data), 0, &peer.any, &len) < 0)
			continue;
		write_address(&peer, text);
		if (sendto(fd, text, strlen(text), 0, &peer.any, len) < 0)
			perror("udp_peer: sendto");
	}
}

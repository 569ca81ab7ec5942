// udp_peer PORT: answers every datagram with the sender's address as recvfrom()
// gave it, and sends the answer to that address.
//
// It knows nothing of load balancers: it is what any UDP server in C looks like.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

int main(int argc, char **argv)
{
	struct sockaddr_in addr = {.sin_family = AF_INET};
	int size = 4 << 20, fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (argc != 2)
		return 2;
	addr.sin_port = htons(atoi(argv[1]));
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	if (bind(fd, (struct sockaddr *)&addr, sizeof(addr))) {
		perror("udp_peer");
		return 1;
	}
	for (;;) {
		char data[2048], ip[INET_ADDRSTRLEN];
		struct sockaddr_in peer;
		socklen_t len = sizeof(peer);
		ssize_t n = recvfrom(fd, data, sizeof(data), 0, (struct sockaddr *)&peer, &len);

		if (n < 0)
			continue;
		inet_ntop(AF_INET, &peer.sin_addr, ip, sizeof(ip));
		n = snprintf(data, sizeof(data), "%s:%d", ip, ntohs(peer.sin_port));
		if (sendto(fd, data, n, 0, (struct sockaddr *)&peer, len) < 0)
			perror("udp_peer: sendto");
	}
}

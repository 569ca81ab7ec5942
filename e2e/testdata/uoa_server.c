// uoa_server PORT: a UDP server that is written for DPVS's UOA: it asks for the
// real client with getsockopt() and sends its answer by the address that
// recvfrom() gave.
//
// The answer, which it also prints, is a line
//
//	from ADDRESS:PORT, real client ADDRESS:PORT
//
// The option and its structure are those of DPVS's module (reference 6.8).
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define UOA_SO_GET_LOOKUP 2048

struct uoa_param_map {
	uint16_t af; // host order
	uint8_t saddr[16];
	uint8_t daddr[16];
	uint16_t sport, dport;
	uint16_t real_af; // host order
	uint8_t real_saddr[16];
	uint16_t real_sport;
} __attribute__((packed));

_Static_assert(sizeof(struct uoa_param_map) == 58, "DPVS's structure has 58 bytes");

int main(int argc, char **argv)
{
	struct sockaddr_in addr = {.sin_family = AF_INET};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (argc != 2)
		return 2;
	addr.sin_port = htons(atoi(argv[1]));
	if (bind(fd, (struct sockaddr *)&addr, sizeof(addr))) {
		perror("uoa_server");
		return 1;
	}
	for (;;) {
		char data[2048], from[INET_ADDRSTRLEN], real[INET_ADDRSTRLEN];
		struct sockaddr_in peer;
		socklen_t len = sizeof(peer), size;
		struct uoa_param_map map = {.af = AF_INET};
		ssize_t n = recvfrom(fd, data, sizeof(data), 0, (struct sockaddr *)&peer, &len);

		if (n < 0)
			continue;
		inet_ntop(AF_INET, &peer.sin_addr, from, sizeof(from));
		memcpy(map.saddr, &peer.sin_addr, 4);
		map.sport = peer.sin_port;
		map.dport = addr.sin_port; // daddr stays zero: any
		size = sizeof(map);
		n = snprintf(data, sizeof(data), "from %s:%d, ", from, ntohs(peer.sin_port));
		if (getsockopt(fd, IPPROTO_IP, UOA_SO_GET_LOOKUP, &map, &size))
			n += snprintf(data + n, sizeof(data) - n, "no real client: %s\n", strerror(errno));
		else if (size != sizeof(map) || map.real_af != AF_INET)
			n += snprintf(data + n, sizeof(data) - n, "a wrong answer: %d bytes, family %d\n", size, map.real_af);
		else
			n += snprintf(data + n, sizeof(data) - n, "real client %s:%d\n",
				      inet_ntop(AF_INET, map.real_saddr, real, sizeof(real)), ntohs(map.real_sport));
		fputs(data, stdout);
		fflush(stdout);
		if (sendto(fd, data, n, 0, (struct sockaddr *)&peer, len) < 0)
			perror("uoa_server: sendto");
	}
}

// uoa_server PORT [6]: a UDP server that is written for DPVS's UOA: it asks for the
// real client with getsockopt() and sends its answer by the address that
// recvfrom() gave. With 6 its socket is of IPv6.
//
// The answer, which it also prints, is a line
//
//	from ADDRESS:PORT, real client ADDRESS:PORT
//
// The option and its structure are those of DPVS's module (reference 6.8).
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "address.h"

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

// question makes up what to ask about who sent a datagram.
static struct uoa_param_map question(const union address *peer, int port)
{
	struct uoa_param_map map = {.af = peer->any.sa_family, .dport = htons(port)}; // daddr stays zero: any

	if (map.af == AF_INET6) {
		memcpy(map.saddr, &peer->v6.sin6_addr, 16);
		map.sport = peer->v6.sin6_port;
	} else {
		memcpy(map.saddr, &peer->v4.sin_addr, 4);
		map.sport = peer->v4.sin_port;
	}
	return map;
}

// client is the answer as an address.
static union address client(const struct uoa_param_map *map)
{
	union address a;

	any_address(&a, map->real_af, ntohs(map->real_sport));
	if (map->real_af == AF_INET6)
		memcpy(&a.v6.sin6_addr, map->real_saddr, 16);
	else
		memcpy(&a.v4.sin_addr, map->real_saddr, 4);
	return a;
}

int main(int argc, char **argv)
{
	int port, family = argc == 3 && strcmp(argv[2], "6") == 0 ? AF_INET6 : AF_INET;
	int fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	union address addr;
	socklen_t bound;

	if (argc < 2)
		return 2;
	port = atoi(argv[1]);
	bound = any_address(&addr, family, port);
	if (bind(fd, &addr.any, bound)) {
		perror("uoa_server");
		return 1;
	}
	for (;;) {
		char data[2048], from[ADDRESS_TEXT], text[ADDRESS_TEXT];
		union address peer, real;
		socklen_t len = sizeof(peer), size;
		struct uoa_param_map map;
		ssize_t n = recvfrom(fd, data, sizeof(data), 0, &peer.any, &len);

		if (n < 0)
			continue;
		map = question(&peer, port);
		size = sizeof(map);
		n = snprintf(data, sizeof(data), "from %s, ", write_address(&peer, from));
		if (getsockopt(fd, IPPROTO_IP, UOA_SO_GET_LOOKUP, &map, &size)) {
			n += snprintf(data + n, sizeof(data) - n, "no real client: %s\n", strerror(errno));
		} else if (size != sizeof(map) || (map.real_af != AF_INET && map.real_af != AF_INET6)) {
			n += snprintf(data + n, sizeof(data) - n, "a wrong answer: %d bytes, family %d\n", size, map.real_af);
		} else {
			real = client(&map);
			n += snprintf(data + n, sizeof(data) - n, "real client %s\n", write_address(&real, text));
		}
		fputs(data, stdout);
		fflush(stdout);
		if (sendto(fd, data, n, 0, &peer.any, len) < 0)
			perror("uoa_server: sendto");
	}
}

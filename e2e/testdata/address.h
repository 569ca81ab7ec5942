// What the C programs of this folder share: an address of either family as text.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>

// A socket's address of either family.
union address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

enum { ADDRESS_TEXT = INET6_ADDRSTRLEN + sizeof("[]:65535") };

// write_address writes ADDRESS:PORT, or [ADDRESS]:PORT.
static inline const char *write_address(const union address *a, char text[ADDRESS_TEXT])
{
	char ip[INET6_ADDRSTRLEN];

	if (a->any.sa_family == AF_INET6)
		snprintf(text, ADDRESS_TEXT, "[%s]:%d", inet_ntop(AF_INET6, &a->v6.sin6_addr, ip, sizeof(ip)), ntohs(a->v6.sin6_port));
	else
		snprintf(text, ADDRESS_TEXT, "%s:%d", inet_ntop(AF_INET, &a->v4.sin_addr, ip, sizeof(ip)), ntohs(a->v4.sin_port));
	return text;
}

// any_address returns the address that a server of a family binds to, and its length.
// One of IPv6 takes IPv4 too, as Linux has it.
static inline socklen_t any_address(union address *a, int family, int port)
{
	*a = (union address){0};
	a->any.sa_family = family;
	if (family == AF_INET6) {
		a->v6.sin6_port = htons(port);
		return sizeof(a->v6);
	}
	a->v4.sin_port = htons(port);
	return sizeof(a->v4);
}

/* SPDX-License-Identifier: MIT */
#include "net/forward.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

static bool parse_port(const char *text, in_port_t *port)
{
	char *end;
	unsigned long number = strtoul(text, &end, 10);

	if (*text < '0' || *text > '9' || *end || !number || number > UINT16_MAX)
		return false;
	*port = htons((uint16_t)number);
	return true;
}

static bool parse_address(const char *text, in_port_t port, union net_user_address *address)
{
	size_t length = strlen(text);
	char v6[INET6_ADDRSTRLEN];

	if (*text != '[') {
		address->in = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = port };
		return inet_pton(AF_INET, text, &address->in.sin_addr) == 1;
	}
	if (length < 3 || text[length - 1] != ']' || length - 2 >= sizeof(v6))
		return false;
	memcpy(v6, text + 1, length - 2);
	v6[length - 2] = 0;
	address->in6 = (struct sockaddr_in6){ .sin6_family = AF_INET6, .sin6_port = port };
	return inet_pton(AF_INET6, v6, &address->in6.sin6_addr) == 1;
}

/* [ADDRESS:]PORT; an empty ADDRESS is that of fallback. Cuts text up. */
static bool parse_end(char *text, struct in_addr fallback, union net_user_address *address)
{
	char *colon = strrchr(text, ':');
	in_port_t port;

	if (!parse_port(colon ? colon + 1 : text, &port))
		return false;
	if (colon)
		*colon = 0;
	if (colon && *text)
		return parse_address(text, port, address);
	address->in = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = port,
					    .sin_addr = fallback };
	return true;
}

static bool parse(char *text, struct in_addr guest, struct net_user_forward *forward)
{
	const struct in_addr loopback = { .s_addr = htonl(INADDR_LOOPBACK) };
	char *dash = strchr(text, '-');

	forward->udp = !strncmp(text, "udp:", 4);
	if (!dash || (!forward->udp && strncmp(text, "tcp:", 4)))
		return false;
	*dash = 0;
	return parse_end(text + 4, loopback, &forward->host) &&
	       parse_end(dash + 1, guest, &forward->guest) &&
	       forward->host.any.sa_family == forward->guest.any.sa_family;
}

int net_forward_parse(const char *text, struct in_addr guest, struct net_user_forward *forward,
		      struct error *err)
{
	char copy[160];

	*forward = (struct net_user_forward){ .udp = false };
	if ((size_t)snprintf(copy, sizeof(copy), "%s", text) < sizeof(copy) &&
	    parse(copy, guest, forward))
		return 0;
	return error_set(err, EINVAL, "'%s' is no forward, such as tcp:8080-:80 or "
			 "udp:127.0.0.1:53-10.0.2.15:53", text);
}

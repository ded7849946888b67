/* SPDX-License-Identifier: MIT */
/* See options.h. One table holds all options; a kind knows those that are marked for it. */
#include "net/options.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/error.h"
#include "base/options.h"
#include "base/suboptions.h"
#include "net/forward.h"

/* The values of all options, of whatever kind, as they are written. */
struct words {
	const char *mac, *network, *host, *ifname, *script, *vhost, *url;
	struct option_list forwards;
	unsigned mtu, fd, queues;
	bool restricted;
};

#define WORD(word, kind, member, ...) \
	{ word, SUBOPTION_##kind, offsetof(struct words, member), __VA_ARGS__ }
#define FOR_ALL                              \
	WORD("mac", STRING, mac, 0, 0),      \
	WORD("mtu", UINT, mtu, NET_MTU_MIN, NET_MTU_MAX)

static const struct suboption user_words[] = {
	FOR_ALL,
	WORD("net", STRING, network, 0, 0),
	WORD("host", STRING, host, 0, 0),
	WORD("hostfwd", LIST, forwards, 0, 0),
	WORD("restrict", FLAG, restricted, 0, 0),
	{ .name = NULL },
};

static const struct suboption tap_words[] = {
	FOR_ALL,
	WORD("ifname", STRING, ifname, 0, 0),
	WORD("script", STRING, script, 0, 0),
	WORD("fd", UINT, fd, 3, 1u << 20),
	WORD("queues", UINT, queues, 1, NET_QUEUES_MAX),
	WORD("vhost", STRING, vhost, 0, 0),
	{ .name = NULL },
};

static const struct suboption vde_words[] = {
	FOR_ALL,
	WORD("url", STRING, url, 0, 0),
	{ .name = NULL },
};

static const struct suboption no_words[] = { { .name = NULL } };

static const struct {
	const char *name;
	const struct suboption *words;
} kinds[] = {
	[NET_NONE] = { "none", no_words },
	[NET_USER] = { "user", user_words },
	[NET_TAP] = { "tap", tap_words },
	[NET_VDE] = { "vde", vde_words },
};

#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

static int take_kind(struct net_options *options, const char *name, struct error *err)
{
	for (unsigned i = 0; i < KINDS; i++) {
		if (strcmp(kinds[i].name, name))
			continue;
		options->kind = (enum net_kind)i;
		return 0;
	}
	return error_set(err, EINVAL, "there is no network '%s': it is user, tap, vde or none", name);
}

/* ---- the card's address ---- */

static int parse_mac(const char *text, uint8_t *mac, struct error *err)
{
	unsigned byte[6];
	int used = 0;

	if (sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%n", &byte[0], &byte[1], &byte[2], &byte[3],
		   &byte[4], &byte[5], &used) != 6 || text[used] || byte[0] & 1)
		return error_set(err, EINVAL, "'%s' is no address of a network card, such as "
				 "02:00:00:00:00:01", text);
	for (unsigned i = 0; i < 6; i++)
		mac[i] = (uint8_t)byte[i];
	return 0;
}

/* On a network that others share, by chance; on one of its own, always the same. */
static void choose_mac(struct net_options *options, unsigned index)
{
	const uint8_t mac[6] = { 0x02, 0x72, 0x6c, 0, 0, (uint8_t)(index + 1) };

	memcpy(options->mac, mac, sizeof(mac));
	if (options->kind != NET_USER)
		(void)!getrandom(options->mac + 3, 3, GRND_NONBLOCK);
}

/* ---- user mode's addresses ---- */

#define HOST_NUMBER 2u /* in the network, as everybody knows them from other monitors */
#define DNS_NUMBER 3u
#define GUEST_NUMBER 15u
#define PREFIX_LENGTH_MIN 8
#define PREFIX_LENGTH_MAX 27 /* there must be room for these numbers */

static struct in_addr numbered(struct in_addr network, unsigned number)
{
	return (struct in_addr){ .s_addr = network.s_addr | htonl(number) };
}

static struct in6_addr numbered6(struct in6_addr prefix, uint8_t number)
{
	prefix.s6_addr[15] = number;
	return prefix;
}

static int parse_network(const char *text, struct net_user_plan *plan, struct error *err)
{
	char address[16];
	int length, used = 0;

	if (sscanf(text, "%15[0-9.]/%d%n", address, &length, &used) != 2 || text[used] ||
	    !inet_pton(AF_INET, address, &plan->network) || length < PREFIX_LENGTH_MIN ||
	    length > PREFIX_LENGTH_MAX)
		return error_set(err, EINVAL, "'%s' is no network, such as 10.0.2.0/24", text);
	plan->mask.s_addr = htonl(~0u << (32 - length));
	plan->network.s_addr &= plan->mask.s_addr;
	return 0;
}

static int parse_host(const char *text, struct net_user_plan *plan, struct error *err)
{
	if (!inet_pton(AF_INET, text, &plan->host) ||
	    (plan->host.s_addr & plan->mask.s_addr) != plan->network.s_addr ||
	    plan->host.s_addr == plan->network.s_addr ||
	    plan->host.s_addr == (plan->network.s_addr | ~plan->mask.s_addr) ||
	    plan->host.s_addr == plan->guest.s_addr || plan->host.s_addr == plan->dns.s_addr)
		return error_set(err, EINVAL, "'%s' is no address for the host in the guest's network",
				 text);
	return 0;
}

static int fill_plan(struct net_user_plan *plan, const struct words *words, unsigned index,
		     struct error *err)
{
	char network[32];
	int ret;

	snprintf(network, sizeof(network), "10.0.%u.0/24", index + 2);
	ret = parse_network(words->network ? words->network : network, plan, err);
	if (ret)
		return ret;
	plan->host = numbered(plan->network, HOST_NUMBER);
	plan->dns = numbered(plan->network, DNS_NUMBER);
	plan->guest = numbered(plan->network, GUEST_NUMBER);
	plan->prefix = (struct in6_addr){ .s6_addr = { 0xfd, [7] = (uint8_t)index } };
	plan->host6 = numbered6(plan->prefix, HOST_NUMBER);
	plan->dns6 = numbered6(plan->prefix, DNS_NUMBER);
	plan->restricted = words->restricted;
	plan->mtu = words->mtu ? words->mtu : NET_USER_MTU;
	if (words->host)
		ret = parse_host(words->host, plan, err);
	for (unsigned i = 0; i < words->forwards.count && !ret; i++)
		ret = net_forward_parse(words->forwards.item[i], plan->guest,
					&plan->forward[plan->forward_count++], err);
	return ret;
}

/* ---- who serves a tap ---- */

static int parse_vhost(const char *text, enum net_vhost *vhost, struct error *err)
{
	static const char *const words[] = {
		[NET_VHOST_AUTO] = "auto", [NET_VHOST_ON] = "on", [NET_VHOST_OFF] = "off",
	};

	for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (strcmp(words[i], text))
			continue;
		*vhost = (enum net_vhost)i;
		return 0;
	}
	return error_set(err, EINVAL, "network tap: vhost= is auto, on or off, not '%s'", text);
}

/* ---- all of it ---- */

static int fill(struct net_options *options, const struct words *words, unsigned index,
		struct error *err)
{
	options->mtu = words->mtu;
	options->ifname = words->ifname;
	options->script = words->script;
	options->fd = words->fd;
	options->queues = words->queues;
	options->url = words->url;
	choose_mac(options, index);
	if (words->mac && parse_mac(words->mac, options->mac, err))
		return -EINVAL;
	if (words->vhost && parse_vhost(words->vhost, &options->vhost, err))
		return -EINVAL;
	if (words->fd && (words->ifname || words->script))
		return error_set(err, EINVAL, "network tap: fd= excludes ifname= and script=");
	return options->kind == NET_USER ? fill_plan(&options->user, words, index, err) : 0;
}

int net_options_parse(struct net_options *options, const char *text, unsigned index,
		      struct error *err)
{
	struct words words = { .mac = NULL };
	char subject[32], *rest;
	int ret;

	*options = (struct net_options){ .text = strdup(text) };
	if (!options->text)
		return error_set(err, ENOMEM, "no memory for a network's options");
	rest = options->text;
	ret = take_kind(options, options_cut(&rest), err);
	snprintf(subject, sizeof(subject), "network %s", kinds[options->kind].name);
	if (!ret)
		ret = suboptions_parse(kinds[options->kind].words, &words, rest, subject, err);
	if (!ret)
		ret = fill(options, &words, index, err);
	if (ret)
		net_options_release(options);
	return ret;
}

void net_options_release(struct net_options *options)
{
	free(options->text);
	*options = (struct net_options){ .kind = NET_NONE };
}

/* SPDX-License-Identifier: MIT */
#include "cli/share.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/options.h"
#include "base/suboptions.h"

/* As long as 9P2000.L's and FUSE's times can be told, and longer than anybody runs a machine. */
#define FOR_EVER_MS (1000u * 86400u * 40u)

/* What may be said of a share, as it is written. */
struct words {
	bool readonly, dax;
	const char *map, *cache;
};

#define WORD(word, kind, member) \
	{ .name = word, .type = SUBOPTION_##kind, .offset = offsetof(struct words, member) }

static const struct suboption fs_words[] = {
	WORD("ro", FLAG, readonly),
	WORD("map", STRING, map),
	WORD("cache", STRING, cache),
	WORD("dax", FLAG, dax),
	{ .name = NULL },
};

/* What the guest keeps is an option of its mount. */
static const struct suboption p9_words[] = {
	WORD("ro", FLAG, readonly),
	WORD("map", STRING, map),
	{ .name = NULL },
};

static int take_cache(struct vm_share *share, const char *value, const char *subject,
		      struct error *err)
{
	share->direct = !strcmp(value, "none");
	if (share->direct)
		share->cache_ms = 0;
	else if (!strcmp(value, "always"))
		share->cache_ms = FOR_EVER_MS;
	else if (strcmp(value, "auto"))
		return error_set(err, EINVAL, "%s: 'cache' is always, auto or none, not '%s'", subject,
				 value);
	return 0;
}

static int take_map(struct vm_share *share, const char *value, const char *subject,
		    struct error *err)
{
	if (!strcmp(value, "none"))
		share->map = TREE_MAP_NONE;
	else if (!strcmp(value, "xattr"))
		share->map = TREE_MAP_XATTR;
	else
		return error_set(err, EINVAL, "%s: 'map' is none or xattr, not '%s'", subject, value);
	return 0;
}

/* An option in the place of the tag: what it asks for (no writes, say) would not be so. */
static bool is_option(const struct suboption *table, const char *tag)
{
	size_t length = strcspn(tag, "=");

	for (; table->name; table++)
		if (strlen(table->name) == length && !memcmp(table->name, tag, length))
			return true;
	return false;
}

static int take_words(struct vm_share *share, char *text, struct error *err)
{
	const bool is_9p = share->as & VM_SHARE_9P;
	const char *const subject = is_9p ? "--9p" : "--fs";
	const struct suboption *const table = is_9p ? p9_words : fs_words;
	const char *directory = options_cut(&text), *tag = text ? options_cut(&text) : "";
	struct words words = { 0 };
	int ret;

	if (!*directory || !*tag)
		return error_set(err, EINVAL, "%s takes DIR,TAG", subject);
	if (is_option(table, tag))
		return error_set(err, EINVAL, "%s takes DIR,TAG: '%s' is an option, and comes "
				 "behind the tag", subject, tag);
	share->path = realpath(directory, NULL);
	if (!share->path)
		return error_set_errno(err, errno, "cannot share %s", directory);
	share->tag = strdup(tag);
	if (!share->tag)
		return error_set(err, ENOMEM, "no memory");
	ret = suboptions_parse(table, &words, text, subject, err);
	share->readonly = words.readonly;
	share->dax = words.dax;
	if (!ret && words.map)
		ret = take_map(share, words.map, subject, err);
	if (!ret && words.cache)
		ret = take_cache(share, words.cache, subject, err);
	return ret;
}

int share_parse(struct vm_share *share, const char *text, struct error *err)
{
	char *copy = strdup(text);
	int ret;

	share->path = share->tag = NULL;
	share->cache_ms = SHARE_CACHE_MS;
	ret = copy ? take_words(share, copy, err) : error_set(err, ENOMEM, "no memory");
	free(copy);
	return ret;
}

/* SPDX-License-Identifier: MIT */
#include "cli/share.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/options.h"

/* As long as 9P2000.L's and FUSE's times can be told, and longer than anybody runs a machine. */
#define FOR_EVER_MS (1000u * 86400u * 40u)

static const char *option_name(const struct vm_share *share)
{
	return share->as & VM_SHARE_9P ? "--9p" : "--fs";
}

static int take_cache(struct vm_share *share, const char *value, struct error *err)
{
	if (share->as & VM_SHARE_9P)
		return error_set(err, EINVAL, "--9p: what the guest keeps is its mount's option cache=");
	share->direct = !strcmp(value, "none");
	if (share->direct)
		share->cache_ms = 0;
	else if (!strcmp(value, "always"))
		share->cache_ms = FOR_EVER_MS;
	else if (!strcmp(value, "auto"))
		share->cache_ms = SHARE_CACHE_MS;
	else
		return error_set(err, EINVAL, "--fs: 'cache' is always, auto or none, not '%s'", value);
	return 0;
}

static int take_map(struct vm_share *share, const char *value, struct error *err)
{
	if (!strcmp(value, "none"))
		share->map = TREE_MAP_NONE;
	else if (!strcmp(value, "xattr"))
		share->map = TREE_MAP_XATTR;
	else
		return error_set(err, EINVAL, "%s: 'map' is none or xattr, not '%s'", option_name(share),
				 value);
	return 0;
}

static int take_word(struct vm_share *share, const char *word, struct error *err)
{
	if (!strcmp(word, "ro")) {
		share->readonly = true;
		return 0;
	}
	if (!strncmp(word, "map=", 4))
		return take_map(share, word + 4, err);
	if (!strncmp(word, "cache=", 6))
		return take_cache(share, word + 6, err);
	return error_set(err, EINVAL, "%s: there is no option '%s', but ro, map=%s", option_name(share),
			 word, share->as & VM_SHARE_9P ? "" : ", cache=");
}

static int take_words(struct vm_share *share, char *text, struct error *err)
{
	const char *directory = options_cut(&text), *tag = text ? options_cut(&text) : "";
	int ret = 0;

	if (!*directory || !*tag)
		return error_set(err, EINVAL, "%s takes DIR,TAG", option_name(share));
	share->path = realpath(directory, NULL);
	if (!share->path)
		return error_set_errno(err, errno, "cannot share %s", directory);
	share->tag = strdup(tag);
	if (!share->tag)
		return error_set(err, ENOMEM, "no memory");
	while (text && !ret)
		ret = take_word(share, options_cut(&text), err);
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

/* SPDX-License-Identifier: MIT */
/* Users of the guest, as /etc/passwd and /etc/group have them: init is static, and asks nobody else. */
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "init.h"

/* "UID" or "UID:GID"; gid is left alone where it is not given. */
static bool parse_numbers(const char *text, uid_t *uid, gid_t *gid)
{
	char *end;

	if (*text < '0' || *text > '9')
		return false;
	*uid = (uid_t)strtoul(text, &end, 10);
	if (*end == ':' && end[1] >= '0' && end[1] <= '9')
		*gid = (gid_t)strtoul(end + 1, &end, 10);
	return !*end;
}

static void take_entry(const struct passwd *entry, struct account *account)
{
	account->user.uid = entry->pw_uid;
	account->user.gid = entry->pw_gid;
	snprintf(account->name, sizeof(account->name), "%s", entry->pw_name);
	snprintf(account->home, sizeof(account->home), "%s", entry->pw_dir);
	if (*entry->pw_shell)
		snprintf(account->shell, sizeof(account->shell), "%s", entry->pw_shell);
}

/* By name, or (NULL) by number. */
static bool find_entry(const char *name, struct account *account)
{
	FILE *stream = fopen("/etc/passwd", "re");
	const struct passwd *entry;
	bool found = false;

	while (stream && !found && (entry = fgetpwent(stream))) {
		found = name ? !strcmp(entry->pw_name, name) : entry->pw_uid == account->user.uid;
		if (found)
			take_entry(entry, account);
	}
	if (stream)
		fclose(stream);
	return found;
}

static void add_groups(struct account *account)
{
	FILE *stream = fopen("/etc/group", "re");
	struct user *user = &account->user;
	const struct group *group;

	user->groups[user->group_count++] = user->gid;
	while (stream && (group = fgetgrent(stream)))
		for (char **member = group->gr_mem; *member; member++)
			if (!strcmp(*member, account->name) && group->gr_gid != user->gid &&
			    user->group_count < USER_GROUPS_MAX)
				user->groups[user->group_count++] = group->gr_gid;
	if (stream)
		fclose(stream);
}

bool find_account(const char *text, struct account *account)
{
	gid_t no_gid = (gid_t)-1, gid = no_gid;
	bool numeric;

	*account = (struct account){ .user.given = true, .home = "/", .shell = "/bin/sh" };
	numeric = parse_numbers(text, &account->user.uid, &gid);
	if (!find_entry(numeric ? NULL : text, account) && !numeric)
		return false;
	if (gid != no_gid)
		account->user.gid = gid;
	add_groups(account);
	return true;
}

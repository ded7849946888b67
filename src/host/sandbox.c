/* SPDX-License-Identifier: MIT */
/*
 * See sandbox.h. The filter is a list of comparisons, run at each system call: those that are most
 * frequent belong to the front. Arguments are compared by their lower halves, which is all that the
 * kernel looks at of what is compared here (flags, families, requests).
 */
#include "host/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/error.h"

#define CALL_STATEMENTS 6u /* at most, of the filter for one call */
#define LOAD(offset) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)(offset))
#define JUMP_UNLESS(value, over) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (value), 0, (over))
#define RETURN(what) BPF_STMT(BPF_RET | BPF_K, (what))

/* ---- system calls ---- */

struct filter {
	struct sock_filter statement[8 + SANDBOX_CALLS_MAX * CALL_STATEMENTS];
	unsigned short count;
};

static void add(struct filter *filter, struct sock_filter statement)
{
	filter->statement[filter->count++] = statement;
}

/* Comes and goes with the call's number loaded. */
static void add_call(struct filter *filter, const struct sandbox_call *call)
{
	add(filter, (struct sock_filter)JUMP_UNLESS((uint32_t)call->number, call->arg_mask ? 5 : 1));
	if (call->arg_mask) {
		add(filter, (struct sock_filter)LOAD(offsetof(struct seccomp_data, args) +
						     8 * call->arg));
		add(filter, (struct sock_filter)BPF_STMT(BPF_ALU | BPF_AND | BPF_K, call->arg_mask));
		add(filter, (struct sock_filter)JUMP_UNLESS(call->arg_value, 1));
	}
	add(filter, (struct sock_filter)RETURN(SECCOMP_RET_ALLOW));
	if (call->arg_mask)
		add(filter, (struct sock_filter)LOAD(offsetof(struct seccomp_data, nr)));
}

static int filter_calls(const struct sandbox *sandbox)
{
	struct filter filter = { .count = 0 };
	struct sock_fprog program = { .filter = filter.statement };

	add(&filter, (struct sock_filter)LOAD(offsetof(struct seccomp_data, arch)));
	add(&filter, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0));
	add(&filter, (struct sock_filter)RETURN(SECCOMP_RET_KILL_PROCESS));
	add(&filter, (struct sock_filter)LOAD(offsetof(struct seccomp_data, nr)));
	for (unsigned i = 0; i < sandbox->call_count; i++)
		add_call(&filter, &sandbox->calls[i]);
	add(&filter, (struct sock_filter)RETURN(SECCOMP_RET_ERRNO | EPERM));
	program.len = filter.count;
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) ? -errno : 0;
}

/* ---- files ---- */

static void allow_reading(int rules, const char *directory)
{
	struct landlock_path_beneath_attr rule = {
		.allowed_access = LANDLOCK_ACCESS_FS_READ_FILE,
		.parent_fd = open(directory, O_PATH | O_CLOEXEC | O_DIRECTORY),
	};

	if (rule.parent_fd < 0)
		return;
	syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
	close(rule.parent_fd);
}

static void hide_files(const char *const *readable)
{
	/* What Landlock's first version knows: all that changes or reads files or directories. */
	const struct landlock_ruleset_attr all = {
		.handled_access_fs = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1,
	};
	int rules = (int)syscall(SYS_landlock_create_ruleset, &all, sizeof(all), 0);

	if (rules < 0)
		return; /* a kernel without it: the filter leaves nothing but reading */
	for (; *readable; readable++)
		allow_reading(rules, *readable);
	syscall(SYS_landlock_restrict_self, rules, 0);
	close(rules);
}

/* ---- all of it ---- */

static int drop_capabilities(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	const struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = { { 0 } };

	return syscall(SYS_capset, &header, none) ? -errno : 0;
}

int sandbox_enter(const struct sandbox *sandbox, struct error *err)
{
	int ret;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return error_set_errno(err, errno, "cannot give up privileges");
	hide_files(sandbox->readable);
	ret = drop_capabilities();
	if (!ret)
		ret = filter_calls(sandbox);
	return ret ? error_set_errno(err, -ret, "cannot give up privileges") : 0;
}

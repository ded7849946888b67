/* SPDX-License-Identifier: MIT */
/*
 * The root: what the host shares, read-only below a tmpfs (overlay), read-only, or as it is. More
 * shares are mounted into it. A share is "TAG MODE PATH"; MODE is ro, rw or overlay.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "init.h"

#define LAYERS_DIR RINGLET_DIR "/layers"
#define WORD_BYTES 256
#define PATH_BYTES 4096

struct share {
	char tag[WORD_BYTES], mode[WORD_BYTES];
	const char *path;
};

static void must_mount(const char *what, const char *where, const char *type, unsigned long flags,
		       const char *options)
{
	if (!mount(what, where, type, flags, options))
		return;
	if (errno == ENODEV)
		die("this kernel has no %s file system: neither built in nor as a module that was "
		    "found", type);
	die("cannot mount %s (%s) on %s: %s", what, type, where, strerror(errno));
}

/* Every directory on the way to path, and path. */
static void make_path(const char *path)
{
	char part[PATH_BYTES];

	snprintf(part, sizeof(part), "%s", path);
	for (char *slash = strchr(part + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = 0;
		mkdir(part, 0755);
		*slash = '/';
	}
	if (mkdir(part, 0755) && errno != EEXIST)
		die("cannot make %s to mount on: %s", path, strerror(errno));
}

void mount_basics(void)
{
	make_path(NEW_ROOT);
	mkdir("/proc", 0755);
	mkdir("/sys", 0755);
	mkdir("/dev", 0755);
	must_mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
	must_mount("sys", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
	/* The kernel may have done so itself. */
	if (mount("dev", "/dev", "devtmpfs", MS_NOSUID, NULL) && errno != EBUSY)
		die("cannot mount /dev: %s", strerror(errno));
}

static void parse_share(const char *text, struct share *share)
{
	int used = 0;

	if (sscanf(text, "%255s %255s %n", share->tag, share->mode, &used) < 2)
		die("a share is described wrongly: %s", text);
	share->path = text + used;
}

/* Who only reads may keep what it has read; a file that is mapped must be kept at all. */
#define P9_OPTIONS "trans=virtio,version=9p2000.L,msize=512000,cache="

/* The host offers what it knows the kernel to have, or both where it does not know. */
static void mount_share_at(const struct share *share, const char *where)
{
	bool writes = !strcmp(share->mode, "rw");
	unsigned long flags = writes ? 0 : MS_RDONLY;
	int no_fs, no_9p;

	if (!mount(share->tag, where, "virtiofs", flags, NULL))
		return;
	no_fs = errno;
	if (!mount(share->tag, where, "9p", flags, writes ? P9_OPTIONS "mmap" : P9_OPTIONS "loose"))
		return;
	no_9p = errno;
	if (no_fs == ENODEV && no_9p == ENODEV)
		die("this kernel has neither a virtiofs nor a 9p file system: neither built in nor as "
		    "a module that was found");
	die("cannot mount %s (%s) on %s: %s", share->tag, no_9p == ENODEV ? "virtiofs" : "9p", where,
	    strerror(no_9p == ENODEV ? no_fs : no_9p));
}

/* Layer number's directories: lower (the share), and upper and work in a tmpfs of its own. */
static void mount_overlay(const struct share *share, const char *where, unsigned number)
{
	char dir[64], lower[80], upper[96], work[96], options[PATH_BYTES];

	snprintf(dir, sizeof(dir), LAYERS_DIR "/%u", number);
	make_path(dir);
	must_mount("tmpfs", dir, "tmpfs", 0, "mode=755,size=90%");
	snprintf(lower, sizeof(lower), "%s/lower", dir);
	snprintf(upper, sizeof(upper), "%s/upper", dir);
	snprintf(work, sizeof(work), "%s/work", dir);
	make_path(lower);
	make_path(upper);
	make_path(work);
	mount_share_at(share, lower);
	snprintf(options, sizeof(options), "lowerdir=%s,upperdir=%s,workdir=%s", lower, upper, work);
	must_mount("overlay", where, "overlay", 0, options);
}

static void mount_share(const char *text, unsigned number)
{
	char where[PATH_BYTES];
	struct share share;

	parse_share(text, &share);
	snprintf(where, sizeof(where), NEW_ROOT "%s", share.path);
	make_path(where);
	if (!strcmp(share.mode, "overlay"))
		mount_overlay(&share, where, number);
	else
		mount_share_at(&share, where);
}

void mount_root(void)
{
	const char *share;

	for (unsigned i = 0; (share = config_at("share", i)); i++)
		mount_share(share, i);
}

/* For a root that lacks the directory there is nothing to mount on, which may be meant. */
static void may_mount(const char *type, const char *where, unsigned long flags, const char *options)
{
	mkdir(where, 0755);
	mount(type, where, type, flags, options);
}

void enter_root(void)
{
	if (mount("/dev", NEW_ROOT "/dev", NULL, MS_MOVE, NULL))
		die("the root has no directory /dev");
	umount2("/proc", MNT_DETACH);
	umount2("/sys", MNT_DETACH);
	if (chdir(NEW_ROOT) || mount(".", "/", NULL, MS_MOVE, NULL) || chroot(".") || chdir("/"))
		die("cannot enter the root: %s", strerror(errno));
	may_mount("proc", "/proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
	may_mount("sysfs", "/sys", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
	may_mount("devpts", "/dev/pts", MS_NOSUID | MS_NOEXEC, "gid=5,mode=620,ptmxmode=666");
	may_mount("tmpfs", "/dev/shm", MS_NOSUID | MS_NODEV, "mode=1777");
	may_mount("tmpfs", "/run", MS_NOSUID | MS_NODEV, "mode=755");
	may_mount("cgroup2", "/sys/fs/cgroup", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
	symlink("/proc/self/fd", "/dev/fd");
	symlink("/proc/self/fd/0", "/dev/stdin");
	symlink("/proc/self/fd/1", "/dev/stdout");
	symlink("/proc/self/fd/2", "/dev/stderr");
}

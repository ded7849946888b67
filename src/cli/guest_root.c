/* SPDX-License-Identifier: MIT */
/* See guest_root.h. The keys of the configuration are those of guest/init. */
#include "cli/guest_root.h"

#include <arpa/inet.h>
#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/error.h"
#include "boot/initramfs.h"
#include "cli/share.h"
#include "net/options.h"

#define ROOT_TAG "ringlet.root"
#define GROUPS_MAX 256

enum share_mode { SHARE_RO, SHARE_RW, SHARE_OVERLAY };

static const char *const mode_names[] = { "ro", "rw", "overlay" };

static const struct initramfs_need needs[] = {
	{ .module = "virtio_pci", .purpose = "to reach the machine's devices" },
	{ .module = "virtio_console", .purpose = "to talk to the guest" },
	{ .module = "virtiofs", .purpose = "to share the root file system",
	  .instead = { "9p", "9pnet_virtio" } },
};

/* A plan in the making. */
struct maker {
	struct guest_root *root;
	const struct guest_root_options *options;
	struct vm_config *config;
	FILE *text;
	struct error *err;
};

static void put(FILE *text, const char *key, const char *value)
{
	fprintf(text, "%s=%s%c", key, value, 0);
}

/* ---- shares ---- */

/* Takes over path and tag. */
static int add_share(struct maker *m, const struct vm_share *share)
{
	unsigned number = m->config->share_count;

	if (!share->path || !share->tag || number == VM_SHARES_MAX) {
		free((char *)share->path);
		free((char *)share->tag);
		return share->path && share->tag ?
			       error_set(m->err, EINVAL, "at most %u directories can be shared",
					 VM_SHARES_MAX) :
			       error_set(m->err, ENOMEM, "no memory");
	}
	m->root->paths[number] = (char *)share->path;
	m->root->tags[number] = (char *)share->tag;
	m->config->shares[number] = *share;
	m->config->share_count++;
	return 0;
}

/* What directory is without links, for the caller to free; 0 or -errno. */
static int resolve(struct maker *m, const char *directory, char **path)
{
	*path = realpath(directory, NULL);
	return *path ? 0 : error_set_errno(m->err, errno, "cannot share %s", directory);
}

/* Shares the host's directory and has it mounted at where in the guest; NULL: at the same path. */
static int add_mount(struct maker *m, const char *directory, const char *where,
		     enum share_mode mode)
{
	char *path, *tag;
	int ret = resolve(m, directory, &path);

	if (ret)
		return ret;
	if (!where)
		where = path;
	if (strpbrk(where, "\n") || strlen(where) >= PATH_MAX / 2) {
		free(path);
		return error_set(m->err, EINVAL, "cannot share %s: its path is no good", directory);
	}
	if (asprintf(&tag, "%s%u", ROOT_TAG, m->config->share_count) < 0)
		tag = NULL;
	ret = add_share(m, &(struct vm_share){ .path = path, .tag = tag, .as = VM_SHARE_FS,
					       .readonly = mode != SHARE_RW,
					       .cache_ms = SHARE_CACHE_MS });
	if (!ret)
		fprintf(m->text, "share=%s %s %s%c", tag, mode_names[mode], where, 0);
	return ret;
}

/* Parts of the root that are treated in their own way: the same path inside as outside. */
static int add_parts(struct maker *m, const struct option_list *list, enum share_mode mode)
{
	int ret = 0;

	for (unsigned i = 0; i < list->count && !ret; i++)
		ret = add_mount(m, list->item[i], NULL, mode);
	return ret;
}

/* Those that the guest mounts itself. */
static int add_tagged(struct maker *m, const struct option_list *list, enum vm_share_as as)
{
	int ret = 0;

	for (unsigned i = 0; i < list->count && !ret; i++) {
		struct vm_share share = { .as = as };

		ret = share_parse(&share, list->item[i], m->err);
		if (ret) {
			free((char *)share.path);
			free((char *)share.tag);
		} else {
			ret = add_share(m, &share);
		}
	}
	return ret;
}

static int add_all_tagged(struct maker *m)
{
	int ret = add_tagged(m, &m->options->shares, VM_SHARE_FS);

	return ret ? ret : add_tagged(m, &m->options->shares_9p, VM_SHARE_9P);
}

static int add_shares(struct maker *m)
{
	const struct guest_root_options *options = m->options;
	int ret = add_mount(m, options->root ? options->root : "/", "/",
			    options->rw ? SHARE_RW : SHARE_OVERLAY);

	if (!ret)
		ret = add_parts(m, &options->rodirs, SHARE_RO);
	if (!ret)
		ret = add_parts(m, &options->overlay_dirs, SHARE_OVERLAY);
	if (!ret)
		ret = add_parts(m, &options->rwdirs, SHARE_RW);
	return ret ? ret : add_all_tagged(m);
}

/* ---- the program ---- */

static int put_user(struct maker *m, const char *name)
{
	const struct passwd *user = getpwnam(name);
	gid_t groups[GROUPS_MAX];
	int count = GROUPS_MAX;

	if (!user)
		return error_set(m->err, EINVAL, "--user: there is no user '%s'", name);
	if (getgrouplist(name, user->pw_gid, groups, &count) < 0)
		count = 0;
	fprintf(m->text, "user=%u %u", user->pw_uid, user->pw_gid);
	for (int i = 0; i < count; i++)
		fprintf(m->text, " %u", groups[i]);
	fputc(0, m->text);
	fprintf(m->text, "env=HOME=%s%c", user->pw_dir, 0);
	fprintf(m->text, "env=USER=%s%c", name, 0);
	return 0;
}

static void put_variables(struct maker *m)
{
	static const char *const kept[] = { "TERM", "LANG", "LC_ALL", "LC_CTYPE", "PATH", "COLORTERM",
					    "NO_COLOR", "TZ" };

	for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++) {
		const char *value = getenv(kept[i]);

		if (value)
			fprintf(m->text, "env=%s=%s%c", kept[i], value, 0);
	}
	if (!m->options->user) {
		put(m->text, "env", "HOME=/root");
		put(m->text, "env", "USER=root");
	}
	for (unsigned i = 0; i < m->options->env.count; i++)
		put(m->text, "env", m->options->env.item[i]);
}

/* A terminal of the guest's on ours; or the program sees pipes, as far as we do. */
static void put_terminal(const struct vm_config *config, FILE *text)
{
	struct winsize size;

	put(text, "ports", "yes");
	if (config->streams)
		return;
	put(text, "tty", config->console == VM_CONSOLE_VIRTIO ? "hvc0" : "ttyS0");
	if (!ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) && size.ws_row)
		fprintf(text, "size=%u %u%c", size.ws_row, size.ws_col, 0);
}

static int put_program(struct maker *m)
{
	const struct guest_root_options *options = m->options;
	const char *shell = getenv("SHELL");
	char directory[PATH_MAX];

	if (options->systemd)
		put(m->text, "systemd", "yes");
	put_variables(m);
	put_terminal(m->config, m->text);
	if (m->config->vsock_cid)
		put(m->text, "agent", "yes");
	/* Of another tree, our directory means nothing. */
	if (!options->root && getcwd(directory, sizeof(directory)))
		put(m->text, "dir", directory);
	for (unsigned i = 0; i < options->command_count; i++)
		put(m->text, "arg", options->command[i]);
	if (!options->command_count)
		put(m->text, "arg", shell && *shell == '/' && !options->root ? shell : "/bin/sh");
	return options->user ? put_user(m, options->user) : 0;
}

/* ---- networks ---- */

static void put_address(FILE *text, const char *before, struct in_addr address)
{
	char buffer[INET_ADDRSTRLEN];

	fprintf(text, "%s%s", before, inet_ntop(AF_INET, &address, buffer, sizeof(buffer)));
}

/* Of the user mode's networks the guest need not ask for its address; the first one's name server counts. */
static int put_network(struct maker *m, unsigned index)
{
	struct net_options options;
	const uint8_t *mac = options.mac;
	int ret = net_options_parse(&options, m->config->networks.item[index], index, m->err);

	if (ret)
		return ret;
	if (options.kind == NET_USER) {
		fprintf(m->text, "net=%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3],
			mac[4], mac[5]);
		put_address(m->text, " ", options.user.guest);
		put_address(m->text, " ", options.user.mask);
		put_address(m->text, " ", options.user.host);
		fputc(0, m->text);
		put_address(m->text, "dns=", options.user.dns);
		fputc(0, m->text);
	}
	net_options_release(&options);
	return 0;
}

static int put_networks(struct maker *m)
{
	int ret = 0;

	for (unsigned i = 0; i < m->config->networks.count && !ret; i++)
		ret = put_network(m, i);
	return ret;
}

/* ---- all of it ---- */

#define NEEDS (sizeof(needs) / sizeof(needs[0]))
#define FURTHER_NEEDS 8

/* What every guest needs, and what this one's options ask for; returns how many there are. */
static unsigned list_needs(const struct guest_root_options *options, const struct vm_config *config,
			   struct initramfs_need *list)
{
	unsigned count = NEEDS;

	memcpy(list, needs, sizeof(needs));
	if (!options->rw || options->overlay_dirs.count)
		list[count++] = (struct initramfs_need){
			.module = "overlay",
			.purpose = "to keep writes off the host's files (--rw goes without)",
		};
	if (config->virtio_mmio)
		list[count++] = (struct initramfs_need){ .module = "virtio_mmio",
							 .purpose = "to reach the machine's devices" };
	if (config->disks.count)
		list[count++] = (struct initramfs_need){ .module = "virtio_blk",
							 .purpose = "for the disks" };
	if (config->networks.count)
		list[count++] = (struct initramfs_need){
			.module = "virtio_net", .purpose = "for the network",
			.optional = config->default_network,
		};
	if (config->vsock_cid)
		list[count++] = (struct initramfs_need){
			.module = "vmw_vsock_virtio_transport",
			.purpose = "to be reached by 'ringlet exec' (--vsock none goes without)",
			.optional = config->default_vsock,
		};
	if (config->balloon_bytes)
		list[count++] = (struct initramfs_need){ .module = "virtio_balloon",
							 .purpose = "to give memory back" };
	if (options->shares_9p.count) {
		list[count++] = (struct initramfs_need){ .module = "9p", .purpose = "for --9p" };
		list[count++] = (struct initramfs_need){ .module = "9pnet_virtio",
							 .purpose = "for --9p" };
	}
	return count;
}

/* What init mounts is shared as what the kernel has; as both, when only the kernel itself knows. */
static void share_root_as(struct vm_config *config, enum initramfs_way way)
{
	unsigned as = way == INITRAMFS_FIRST   ? VM_SHARE_FS :
		      way == INITRAMFS_INSTEAD ? VM_SHARE_9P :
						 VM_SHARE_FS | VM_SHARE_9P;

	for (unsigned i = 0; i < config->share_count; i++)
		if (!strncmp(config->shares[i].tag, ROOT_TAG, strlen(ROOT_TAG)))
			config->shares[i].as = as;
}

static int make_initramfs(struct maker *m, const char *text, size_t size)
{
	struct initramfs_need list[NEEDS + FURTHER_NEEDS];
	struct initramfs_plan plan = {
		.kernel = m->config->kernel, .config = text, .config_bytes = size, .needs = list,
		.need_count = list_needs(m->options, m->config, list),
	};
	enum initramfs_way way;
	int ret = initramfs_make(&plan, &m->root->initramfs, &way, m->err);

	if (ret)
		return ret;
	share_root_as(m->config, way);
	snprintf(m->root->initrd, sizeof(m->root->initrd), "/proc/self/fd/%d", m->root->initramfs);
	m->config->initrd = m->root->initrd;
	return 0;
}

int guest_root_prepare(struct guest_root *root, const struct guest_root_options *options,
		       struct vm_config *config, struct error *err)
{
	struct maker m = { .root = root, .options = options, .config = config, .err = err };
	char *text = NULL;
	size_t size = 0;
	int ret;

	*root = (struct guest_root){ .initramfs = -1 };
	if (options->systemd && options->rw && !options->root)
		return error_set(err, EINVAL, "--systemd with --rw: these files are another systemd's, "
				 "this machine's own; name another tree with --root, or go without --rw");
	m.text = open_memstream(&text, &size);
	if (!m.text)
		return error_set(err, ENOMEM, "no memory");
	config->guest_init = true;
	config->streams = !options->detached &&
			  (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO));
	put(m.text, "hostname", config->name);
	ret = add_shares(&m);
	if (!ret)
		ret = put_program(&m);
	if (!ret)
		ret = put_networks(&m);
	if (fclose(m.text) && !ret)
		ret = error_set(err, ENOMEM, "no memory");
	if (!ret)
		ret = make_initramfs(&m, text, size);
	free(text);
	return ret;
}

int guest_root_share(struct guest_root *root, const struct guest_root_options *options,
		     struct vm_config *config, struct error *err)
{
	struct maker m = { .root = root, .options = options, .config = config, .err = err };

	return add_all_tagged(&m);
}

void guest_root_release(struct guest_root *root)
{
	if (root->initramfs >= 0)
		close(root->initramfs);
	for (unsigned i = 0; i < VM_SHARES_MAX; i++) {
		free(root->paths[i]);
		free(root->tags[i]);
	}
	*root = (struct guest_root){ .initramfs = -1 };
}

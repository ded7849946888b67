/* SPDX-License-Identifier: MIT */
/* A shared tree: owners and modes that the host does not keep, names, what a swapped name reaches. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cmocka.h>

#include "fs/tree.h"
#include "shared_dir.h"

struct setup {
	struct shared_dir dir;
	struct tree tree;
	struct node *root;
};

static void start(struct setup *setup, enum tree_map map)
{
	struct tree_config config = { .path = setup->dir.path, .map = map };

	*setup = (struct setup){ .dir = shared_dir_make() };
	assert_int_equal(tree_open(&setup->tree, &config, NULL), 0);
	setup->root = nodes_get(setup->tree.nodes, NODES_ROOT);
}

static void finish(struct setup *setup)
{
	nodes_put(setup->tree.nodes, setup->root);
	tree_close(&setup->tree);
	shared_dir_remove(&setup->dir);
}

static struct stat make(struct setup *setup, const char *name, mode_t mode, uid_t uid, gid_t gid)
{
	const struct tree_new new = { .name = name, .uid = uid, .gid = gid, .mode = mode,
				      .rdev = makedev(1, 3) };
	struct stat status;
	struct node *node;

	assert_int_equal(tree_make(&setup->tree, setup->root, &new, &node, &status), 0);
	tree_release(&setup->tree, node);
	return status;
}

static struct stat look(struct setup *setup, const char *name)
{
	struct stat status;
	struct node *node;

	assert_int_equal(tree_look_up(&setup->tree, setup->root, name, &node, &status), 0);
	tree_release(&setup->tree, node);
	return status;
}

static void change(struct setup *setup, const char *name, const struct tree_change *change)
{
	struct stat status;
	struct node *node;

	assert_int_equal(tree_look_up(&setup->tree, setup->root, name, &node, &status), 0);
	assert_int_equal(tree_change(&setup->tree, node, change, -1), 0);
	tree_release(&setup->tree, node);
}

static const struct tree_change no_change = { .times = { { .tv_nsec = UTIME_OMIT },
							 { .tv_nsec = UTIME_OMIT } } };

static struct stat on_host(struct setup *setup, const char *name)
{
	struct stat status;

	assert_int_equal(lstat(shared_dir_file(&setup->dir, name), &status), 0);
	return status;
}

static void assert_is(struct stat status, mode_t mode, uid_t uid, gid_t gid)
{
	assert_int_equal(status.st_mode, mode);
	assert_int_equal(status.st_uid, uid);
	assert_int_equal(status.st_gid, gid);
}

static void test_noted_owners(void **state)
{
	struct tree_change owner = no_change, mode = no_change;
	struct setup setup;

	(void)state;
	start(&setup, TREE_MAP_XATTR);
	assert_is(make(&setup, "file", S_IFREG | 04711, 1234, 99), S_IFREG | 04711, 1234, 99);
	assert_is(look(&setup, "file"), S_IFREG | 04711, 1234, 99);
	/* The host has what lets its own programs work with it, and no rights that are none. */
	assert_is(on_host(&setup, "file"), S_IFREG | 0711, geteuid(), getegid());
	assert_is(make(&setup, "locked", S_IFREG | 0, 1, 1), S_IFREG | 0, 1, 1);
	assert_is(on_host(&setup, "locked"), S_IFREG | 0600, geteuid(), getegid());
	owner.set_uid = true;
	owner.uid = 77;
	change(&setup, "file", &owner);
	mode.set_mode = true;
	mode.mode = 02750;
	change(&setup, "file", &mode);
	assert_is(look(&setup, "file"), S_IFREG | 02750, 77, 99);
	/* Somebody on the host changes it, too. */
	assert_int_equal(chmod(shared_dir_file(&setup.dir, "file"), 0644), 0);
	assert_is(look(&setup, "file"), S_IFREG | 0644, 77, 99);
	finish(&setup);
}

/* What the host can keep is not noted, and no note stays when it is no longer needed. */
static void test_no_needless_notes(void **state)
{
	struct tree_change change_back = no_change;
	struct setup setup;

	(void)state;
	start(&setup, TREE_MAP_XATTR);
	make(&setup, "file", S_IFREG | 0644, geteuid(), getegid());
	assert_true(listxattr(shared_dir_file(&setup.dir, "file"), NULL, 0) == 0);
	make(&setup, "other", S_IFREG | 0644, 5, 5);
	assert_true(listxattr(shared_dir_file(&setup.dir, "other"), NULL, 0) > 0);
	change_back.set_uid = change_back.set_gid = true;
	change_back.uid = geteuid();
	change_back.gid = getegid();
	change(&setup, "other", &change_back);
	assert_true(listxattr(shared_dir_file(&setup.dir, "other"), NULL, 0) == 0);
	finish(&setup);
}

static void test_noted_types(void **state)
{
	struct setup setup;
	struct stat status;
	struct node *node;
	int fd;

	(void)state;
	start(&setup, TREE_MAP_XATTR);
	status = make(&setup, "null", S_IFCHR | 0666, 0, 0);
	assert_is(status, S_IFCHR | 0666, 0, 0);
	assert_int_equal(status.st_rdev, makedev(1, 3));
	make(&setup, "fifo", S_IFIFO | 0600, 3, 3);
	assert_int_equal(look(&setup, "fifo").st_mode, S_IFIFO | 0600);
	assert_true(S_ISREG(on_host(&setup, "fifo").st_mode));
	assert_int_equal(tree_look_up(&setup.tree, setup.root, "null", &node, &status), 0);
	assert_int_equal(tree_open_node(&setup.tree, node, O_RDWR, &fd), ENXIO);
	tree_release(&setup.tree, node);
	finish(&setup);
}

static void test_group_directories(void **state)
{
	const struct tree_new sub = { .name = "sub", .uid = 5, .gid = 6, .mode = S_IFDIR | 0755 };
	struct setup setup;
	struct stat status;
	struct node *node, *made;

	(void)state;
	for (int map = TREE_MAP_NONE; map <= TREE_MAP_XATTR; map++) {
		if (map == TREE_MAP_NONE && geteuid())
			continue; /* only root has others' files */
		start(&setup, (enum tree_map)map);
		make(&setup, "group", S_IFDIR | 02775, 1000, 50);
		assert_int_equal(tree_look_up(&setup.tree, setup.root, "group", &node, &status), 0);
		assert_is(status, S_IFDIR | 02775, 1000, 50);
		assert_int_equal(tree_make(&setup.tree, node, &sub, &made, &status), 0);
		assert_is(status, S_IFDIR | 02755, 5, 50);
		tree_release(&setup.tree, made);
		tree_release(&setup.tree, node);
		finish(&setup);
	}
}

/* The guest neither sees nor writes our notes. */
static void test_notes_are_ours(void **state)
{
	char list[256], *value = malloc(TREE_XATTR_MAX);
	struct setup setup;
	struct stat status;
	struct node *node;

	(void)state;
	assert_non_null(value);
	start(&setup, TREE_MAP_XATTR);
	make(&setup, "file", S_IFREG | 0644, 5, 5);
	assert_int_equal(setxattr(shared_dir_file(&setup.dir, "file"), "user.other", "x", 1, 0), 0);
	assert_true(listxattr(shared_dir_file(&setup.dir, "file"), list, sizeof(list)) > 20);
	assert_int_equal(tree_look_up(&setup.tree, setup.root, "file", &node, &status), 0);
	assert_int_equal(tree_xattr_list(&setup.tree, node, value), sizeof("user.other"));
	assert_string_equal(value, "user.other");
	assert_int_equal(tree_xattr_get(&setup.tree, node, "user.ringlet.stat", value), -ENODATA);
	assert_int_equal(tree_xattr_remove(&setup.tree, node, "user.ringlet.stat"), ENODATA);
	assert_int_equal(tree_xattr_set(&setup.tree, node, "user.ringlet.stat", "0 0 0 0", 7, 0), EPERM);
	tree_release(&setup.tree, node);
	/* A note that is none is not believed. */
	assert_int_equal(setxattr(shared_dir_file(&setup.dir, "file"), "user.ringlet.stat", "0 0 0 0 x", 9, 0), 0);
	assert_is(look(&setup, "file"), S_IFREG | 0644, geteuid(), getegid());
	finish(&setup);
	free(value);
}

/* A directory that somebody on the host replaces by a link out stays what it was, or is not found. */
static void test_swapped_for_a_link(void **state)
{
	const struct tree_new new = { .name = "new", .mode = S_IFREG | 0644 };
	char outside[128];
	struct setup setup;
	struct stat status;
	struct node *node, *made;
	int fd;

	(void)state;
	start(&setup, TREE_MAP_NONE);
	make(&setup, "dir", S_IFDIR | 0755, 0, 0);
	assert_int_equal(tree_look_up(&setup.tree, setup.root, "dir", &node, &status), 0);
	snprintf(outside, sizeof(outside), "%s-outside", setup.dir.path);
	assert_int_equal(mkdir(outside, 0755), 0);
	assert_int_equal(rename(shared_dir_file(&setup.dir, "dir"), shared_dir_file(&setup.dir, "moved")), 0);
	assert_int_equal(symlink(outside, shared_dir_file(&setup.dir, "dir")), 0);
	assert_int_equal(tree_create(&setup.tree, node, &new, O_WRONLY, &fd, &made, &status), 0);
	close(fd);
	tree_release(&setup.tree, made);
	assert_int_equal(access(shared_dir_file(&setup.dir, "moved/new"), F_OK), 0);
	tree_release(&setup.tree, node);
	/* By its name it is a link now, which is no directory. */
	assert_int_equal(tree_look_up(&setup.tree, setup.root, "dir", &node, &status), 0);
	assert_true(S_ISLNK(status.st_mode));
	assert_int_equal(tree_create(&setup.tree, node, &new, O_WRONLY, &fd, &made, &status), ENOTDIR);
	assert_int_equal(tree_look_up(&setup.tree, node, "new", &made, &status), ENOTDIR);
	tree_release(&setup.tree, node);
	assert_int_equal(rmdir(outside), 0); /* empty */
	finish(&setup);
}

static unsigned open_files(void)
{
	unsigned count = 0;
	DIR *dir = opendir("/proc/self/fd");

	assert_non_null(dir);
	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

/* A guest knows more files than may be open: each is the same as ever when it is used again. */
static void test_parked(void **state)
{
	enum { FILES = 200, LIMIT = 20 };
	const unsigned before = open_files();
	uint64_t id[FILES];
	struct setup setup;
	struct stat status;
	struct node *node;
	char name[16], moved[128];

	(void)state;
	if (geteuid())
		skip(); /* the host opens no handles for others */
	start(&setup, TREE_MAP_NONE);
	nodes_limit(setup.tree.nodes, LIMIT);
	for (unsigned i = 0; i < FILES; i++) {
		snprintf(name, sizeof(name), "file%u", i);
		make(&setup, name, S_IFREG | (0100 + i), 0, 0);
		assert_int_equal(tree_look_up(&setup.tree, setup.root, name, &node, &status), 0);
		id[i] = node->id;
		nodes_put(setup.tree.nodes, node);
	}
	assert_true(open_files() < before + LIMIT + 10);
	for (unsigned i = 0; i < FILES; i++) {
		snprintf(name, sizeof(name), "file%u", i);
		snprintf(moved, sizeof(moved), "moved%u", i);
		assert_int_equal(rename(shared_dir_file(&setup.dir, name), shared_dir_file(&setup.dir, moved)), 0);
		node = nodes_get(setup.tree.nodes, id[i]);
		assert_non_null(node);
		assert_int_equal(tree_status(&setup.tree, node, &status), 0);
		assert_int_equal(status.st_mode, S_IFREG | (0100 + i));
		nodes_put(setup.tree.nodes, node);
	}
	/* By its name again, it is the same node. */
	assert_int_equal(tree_look_up(&setup.tree, setup.root, "moved3", &node, &status), 0);
	assert_int_equal(node->id, id[3]);
	tree_release(&setup.tree, node);
	/* Deleted: gone, whoever has its inode number now. */
	assert_int_equal(unlink(shared_dir_file(&setup.dir, "moved7")), 0);
	for (unsigned i = 0; i < 10; i++) {
		snprintf(name, sizeof(name), "again%u", i);
		make(&setup, name, S_IFREG | 0600, 0, 0);
		assert_int_equal(tree_look_up(&setup.tree, setup.root, name, &node, &status), 0);
		assert_true(node->id != id[7]);
		nodes_put(setup.tree.nodes, node);
	}
	assert_null(nodes_get(setup.tree.nodes, id[7]));
	finish(&setup);
	assert_int_equal(open_files(), before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_noted_owners),     cmocka_unit_test(test_no_needless_notes),
		cmocka_unit_test(test_noted_types),      cmocka_unit_test(test_group_directories),
		cmocka_unit_test(test_notes_are_ours),   cmocka_unit_test(test_swapped_for_a_link),
		cmocka_unit_test(test_parked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

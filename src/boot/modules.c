/* SPDX-License-Identifier: MIT */
/*
 * Where module trees are, and what is in them: see modules.h. modules.order and modules.builtin are
 * lists of paths relative to the tree, one a line, without the suffix of compressed files.
 */
#include "boot/modules.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/error.h"
#include "boot/modinfo.h"
#include "boot/unpack.h"

#define LIST_MAX (8ull << 20)   /* bytes of modules.order */
#define MODULE_MAX (256ull << 20)
#define RELEASE_BYTES 128
#define DEPTH_MAX 16            /* of modules that need modules */

struct modules {
	char *tree;
	char *order, *builtin; /* the lists' text; builtin may be empty */
};

/* ---- finding the tree ---- */

/* The release that a bzImage says it is: "6.1.0-13-amd64". */
static bool read_release(const char *kernel, char release[RELEASE_BYTES])
{
	struct image image;
	struct error err;
	uint16_t offset = 0;
	bool ok = false;

	if (image_open(&image, kernel, "kernel", IMAGE_KERNEL_MAX, &err))
		return false;
	memset(release, 0, RELEASE_BYTES);
	if (!image_read(&image, 0x20e, &offset, sizeof(offset), &err) && offset &&
	    !image_read(&image, 0x200 + (uint64_t)offset, release, RELEASE_BYTES - 1, &err)) {
		release[strcspn(release, " \n")] = 0;
		ok = *release && !strchr(release, '/') && *release != '.';
	}
	image_close(&image);
	return ok;
}

static bool has_order(const char *tree)
{
	struct stat status;
	char *path;
	bool found;

	if (asprintf(&path, "%s/modules.order", tree) < 0)
		return false;
	found = !stat(path, &status);
	free(path);
	return found;
}

/* tree when modules are there; frees it otherwise. */
static char *if_modules(char *tree)
{
	if (tree && has_order(tree))
		return tree;
	free(tree);
	return NULL;
}

/* levels directories above that of kernel, an absolute path, with rest appended. */
static char *above(const char *kernel, unsigned levels, const char *rest)
{
	const char *end = kernel + strlen(kernel);
	char *path;

	for (unsigned i = 0; i <= levels; i++) {
		end = memrchr(kernel, '/', (size_t)(end - kernel));
		if (!end)
			return NULL;
	}
	return asprintf(&path, "%.*s%s", (int)(end - kernel), kernel, rest) < 0 ? NULL : path;
}

static char *find_tree(const char *kernel)
{
	char release[RELEASE_BYTES], rest[RELEASE_BYTES + 32], *tree;

	tree = if_modules(above(kernel, 3, "")); /* arch/x86/boot/bzImage */
	if (!tree)
		tree = if_modules(above(kernel, 0, "")); /* vmlinux */
	if (tree || !read_release(kernel, release))
		return tree;
	snprintf(rest, sizeof(rest), "/lib/modules/%s", release);
	tree = if_modules(above(kernel, 1, rest)); /* boot/vmlinuz-RELEASE */
	return tree ? tree : if_modules(strdup(rest));
}

static int read_list(const char *tree, const char *name, char **text, struct error *err)
{
	struct image image;
	char *path;
	int ret;

	if (asprintf(&path, "%s/%s", tree, name) < 0)
		return error_set(err, ENOMEM, "no memory");
	ret = image_open(&image, path, "list", LIST_MAX, err);
	if (!ret) {
		*text = calloc(1, image.size_bytes + 1);
		ret = *text ? image_read(&image, 0, *text, image.size_bytes, err) :
			      error_set(err, ENOMEM, "no memory");
		image_close(&image);
	}
	free(path);
	return ret;
}

int modules_open(struct modules **out, const char *kernel, struct error *err)
{
	char *path = realpath(kernel, NULL);
	struct modules *modules = calloc(1, sizeof(*modules));
	int ret;

	if (!modules || !path) {
		ret = error_set_errno(err, errno, "cannot open kernel %s", kernel);
		goto out;
	}
	modules->tree = find_tree(path);
	if (!modules->tree) {
		ret = error_set(err, ENOENT, "no modules found for kernel %s: not beside it in "
				"../lib/modules, not in /lib/modules, not in its build tree", kernel);
		goto out;
	}
	ret = read_list(modules->tree, "modules.order", &modules->order, err);
	if (!ret && read_list(modules->tree, "modules.builtin", &modules->builtin, err))
		modules->builtin = calloc(1, 1); /* a kernel that has none */
	if (!ret && !modules->builtin)
		ret = error_set(err, ENOMEM, "no memory");
out:
	free(path);
	if (ret) {
		modules_close(modules);
		return ret;
	}
	*out = modules;
	return 0;
}

void modules_close(struct modules *modules)
{
	if (!modules)
		return;
	free(modules->tree);
	free(modules->order);
	free(modules->builtin);
	free(modules);
}

/* ---- finding a module ---- */

/* Hyphens and underscores are the same in modules' names. */
static bool same_name(const char *a, const char *b, size_t length)
{
	for (size_t i = 0; i < length; i++)
		if ((a[i] == '-' ? '_' : a[i]) != (b[i] == '-' ? '_' : b[i]))
			return false;
	return !b[length];
}

/* The line of list that is module name's path, and its length; NULL: none. */
static const char *find_line(const char *list, const char *name, size_t *length)
{
	for (const char *line = list; *line;) {
		size_t bytes = strcspn(line, "\n");
		const char *base = memrchr(line, '/', bytes);
		const char *dot = memrchr(line, '.', bytes);

		base = base ? base + 1 : line;
		if (dot && dot > base && same_name(base, name, (size_t)(dot - base))) {
			*length = bytes;
			return line;
		}
		line += bytes + (line[bytes] == '\n');
	}
	return NULL;
}

static int open_packed(const char *path, struct image *image, struct error *err)
{
	struct image packed;
	int ret = image_open(&packed, path, "module", MODULE_MAX, err);

	if (ret)
		return ret;
	ret = unpack_image(&packed, 0, packed.size_bytes, NULL, image, err);
	image_close(&packed);
	return ret;
}

/* A module is there as it was built, or packed. */
static int open_module(const char *tree, const char *line, size_t length, struct image *image,
		       struct error *err)
{
	static const char *const suffixes[] = { "", ".xz", ".zst", ".gz" };
	struct stat status;

	for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
		char *path;
		int ret;

		/* A build tree lists objects. */
		if (length > 2 && !memcmp(line + length - 2, ".o", 2))
			ret = asprintf(&path, "%s/%.*sko%s", tree, (int)length - 1, line, suffixes[i]);
		else
			ret = asprintf(&path, "%s/%.*s%s", tree, (int)length, line, suffixes[i]);
		if (ret < 0)
			return error_set(err, ENOMEM, "no memory");
		ret = stat(path, &status);
		if (!ret)
			ret = i ? open_packed(path, image, err) :
				  image_open(image, path, "module", MODULE_MAX, err);
		else
			ret = 1;
		free(path);
		if (ret <= 0)
			return ret;
	}
	return error_set(err, ENOENT, "%s/%.*s is listed but not there", tree, (int)length, line);
}

/* ---- a list ---- */

static bool listed(const struct module_list *list, const char *name)
{
	for (unsigned i = 0; i < list->count; i++)
		if (same_name(list->module[i].name, name, strlen(list->module[i].name)))
			return true;
	return false;
}

static int add(struct modules *modules, const char *name, struct module_list *list, unsigned depth,
	       struct error *err);

/* needs: names with commas between them. */
static int add_needed(struct modules *modules, char *needs, struct module_list *list, unsigned depth,
		      struct error *err)
{
	char *rest = needs, *name;

	while ((name = strsep(&rest, ","))) {
		int ret = *name ? add(modules, name, list, depth + 1, err) : 0;

		if (ret)
			return ret;
	}
	return 0;
}

static int add(struct modules *modules, const char *name, struct module_list *list, unsigned depth,
	       struct error *err)
{
	struct module module = { .image.fd = -1 };
	const char *line;
	char *needs = NULL;
	size_t length;
	int ret;

	if (listed(list, name) || find_line(modules->builtin, name, &length))
		return 0;
	line = find_line(modules->order, name, &length);
	if (!line)
		return error_set(err, ENOENT, "this kernel has no module %s (%s)", name,
				 modules->tree);
	if (depth == DEPTH_MAX)
		return error_set(err, ENOEXEC, "the modules in %s need each other in a circle",
				 modules->tree);
	ret = open_module(modules->tree, line, length, &module.image, err);
	if (ret)
		return ret;
	module.image.path = modules->tree;
	ret = modinfo_read(&module.image, "depends", &needs, err);
	if (!ret)
		ret = add_needed(modules, needs, list, depth, err);
	if (!ret && list->count == MODULES_MAX)
		ret = error_set(err, E2BIG, "more than %u modules are needed", MODULES_MAX);
	module.name = ret ? NULL : strdup(name);
	if (!ret && !module.name)
		ret = error_set(err, ENOMEM, "no memory");
	free(needs);
	if (ret)
		image_close(&module.image);
	else
		list->module[list->count++] = module;
	return ret;
}

int modules_add(struct modules *modules, const char *name, struct module_list *list,
		struct error *err)
{
	return add(modules, name, list, 0, err);
}

void modules_free_list(struct module_list *list)
{
	for (unsigned i = 0; i < list->count; i++) {
		free(list->module[i].name);
		image_close(&list->module[i].image);
	}
	list->count = 0;
}

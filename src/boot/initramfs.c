/* SPDX-License-Identifier: MIT */
/* See initramfs.h. */
#include "boot/initramfs.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/error.h"
#include "boot/cpio.h"
#include "boot/modules.h"

/* The build puts guest/init's program here. */
__asm__(".section .rodata\n"
	".globl guest_init_start, guest_init_end\n"
	"guest_init_start: .incbin \"" GUEST_INIT "\"\n"
	"guest_init_end:\n"
	".previous\n");
extern const uint8_t guest_init_start[], guest_init_end[];

/* Appends a need's modules. The message names the first one, and what it is for. */
static int add_need(struct modules *modules, const struct initramfs_need *need,
		    struct module_list *list, enum initramfs_way *way, struct error *err)
{
	struct error why, other;
	int ret = modules_add(modules, need->module, list, &why), instead;

	if (ret == -ENOENT && need->instead[0]) {
		instead = modules_add(modules, need->instead[0], list, &other);
		if (!instead && need->instead[1])
			instead = modules_add(modules, need->instead[1], list, &other);
		if (!instead) {
			*way = INITRAMFS_INSTEAD;
			return 0;
		}
		return error_set(err, -ret, "%s, and %s, one of which is needed %s", why.message,
				 other.message, need->purpose);
	}
	if (ret == -ENOENT && need->optional)
		return 0;
	return ret ? error_set(err, -ret, "%s, needed %s", why.message, need->purpose) : 0;
}

/*
 * A kernel whose modules are not to be found has everything built in, or init says what it lacks: it
 * finds out by itself.
 */
static int choose_modules(const struct initramfs_plan *plan, struct module_list *list,
			  enum initramfs_way *way, struct error *err)
{
	struct modules *modules;
	int ret = modules_open(&modules, plan->kernel, err);

	*way = INITRAMFS_UNKNOWN;
	if (ret)
		return ret == -ENOENT ? 0 : ret;
	*way = INITRAMFS_FIRST;
	for (unsigned i = 0; i < plan->need_count && !ret; i++)
		ret = add_need(modules, &plan->needs[i], list, way, err);
	modules_close(modules);
	return ret;
}

/* Their names go into the configuration, in order: init says which one the kernel refused. */
static void put_modules(struct cpio *cpio, const struct module_list *list, FILE *config)
{
	for (unsigned i = 0; i < list->count; i++) {
		char path[64];

		snprintf(path, sizeof(path), "ringlet/modules/%u", i);
		cpio_image(cpio, path, 0400, &list->module[i].image);
		fprintf(config, "module=%s%c", list->module[i].name, 0);
	}
}

static int put_archive(int fd, const struct initramfs_plan *plan, const struct module_list *list,
		       struct error *err)
{
	struct cpio cpio;
	char *text = NULL;
	size_t size = 0;
	FILE *config = open_memstream(&text, &size);

	if (!config)
		return error_set(err, ENOMEM, "no memory");
	fwrite(plan->config, 1, plan->config_bytes, config);
	cpio_begin(&cpio, fd);
	cpio_directory(&cpio, "ringlet", 0700);
	cpio_directory(&cpio, "ringlet/modules", 0700);
	put_modules(&cpio, list, config);
	if (fclose(config)) {
		free(text);
		return error_set(err, ENOMEM, "no memory");
	}
	cpio_file(&cpio, "ringlet/config", 0400, text, size);
	cpio_file(&cpio, "init", 0700, guest_init_start, (size_t)(guest_init_end - guest_init_start));
	free(text);
	return cpio_end(&cpio, err);
}

int initramfs_make(const struct initramfs_plan *plan, int *fd, enum initramfs_way *way,
		   struct error *err)
{
	struct module_list list = { 0 };
	int ret = choose_modules(plan, &list, way, err);

	*fd = -1;
	if (!ret) {
		*fd = memfd_create("initramfs", MFD_CLOEXEC);
		ret = *fd < 0 ? error_set_errno(err, errno, "cannot make the initial RAM disk") :
				put_archive(*fd, plan, &list, err);
	}
	modules_free_list(&list);
	if (ret && *fd >= 0) {
		close(*fd);
		*fd = -1;
	}
	return ret;
}

/* SPDX-License-Identifier: MIT */
/* See modinfo.h; ELF-64, System V ABI. */
#include "boot/modinfo.h"

#include <elf.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "boot/image.h"

#define SECTION_NAME ".modinfo"
#define INFO_MAX (1u << 20)

static int not_a_module(const struct image *image, struct error *err)
{
	return error_set(err, ENOEXEC, "%s: not a kernel module", image->path);
}

/* Whether the section whose name is at names->sh_offset + name is SECTION_NAME. */
static bool is_modinfo(const struct image *image, const Elf64_Shdr *names, uint32_t name)
{
	char text[sizeof(SECTION_NAME)];
	struct error err;

	if (name > names->sh_size || names->sh_size - name < sizeof(text))
		return false;
	return !image_read(image, names->sh_offset + name, text, sizeof(text), &err) &&
	       !memcmp(text, SECTION_NAME, sizeof(text));
}

static int find_section(const struct image *image, Elf64_Shdr *found, struct error *err)
{
	Elf64_Ehdr head;
	Elf64_Shdr names;
	int ret = image_read(image, 0, &head, sizeof(head), err);

	if (ret)
		return ret;
	if (memcmp(head.e_ident, ELFMAG, SELFMAG) || head.e_ident[EI_CLASS] != ELFCLASS64 ||
	    head.e_type != ET_REL || head.e_shentsize != sizeof(*found) ||
	    head.e_shstrndx >= head.e_shnum || head.e_shoff > image->size_bytes)
		return not_a_module(image, err);
	ret = image_read(image, head.e_shoff + (uint64_t)head.e_shstrndx * sizeof(names), &names,
			 sizeof(names), err);
	for (unsigned i = 0; i < head.e_shnum && !ret; i++) {
		ret = image_read(image, head.e_shoff + (uint64_t)i * sizeof(*found), found,
				 sizeof(*found), err);
		if (!ret && is_modinfo(image, &names, found->sh_name))
			return 0;
	}
	return ret ? ret : not_a_module(image, err);
}

int modinfo_read(const struct image *image, const char *key, char **value, struct error *err)
{
	size_t length = strlen(key);
	const char *found = "";
	Elf64_Shdr section;
	char *text;
	int ret = find_section(image, &section, err);

	if (ret)
		return ret;
	if (section.sh_size > INFO_MAX)
		return not_a_module(image, err);
	text = calloc(1, section.sh_size + 1);
	if (!text)
		return error_set(err, ENOMEM, "no memory");
	ret = image_read(image, section.sh_offset, text, section.sh_size, err);
	for (size_t at = 0; !ret && at < section.sh_size; at += strlen(text + at) + 1)
		if (!strncmp(text + at, key, length) && text[at + length] == '=') {
			found = text + at + length + 1;
			break;
		}
	*value = ret ? NULL : strdup(found);
	free(text);
	if (!ret && !*value)
		ret = error_set(err, ENOMEM, "no memory");
	return ret;
}

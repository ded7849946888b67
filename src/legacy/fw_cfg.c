/* SPDX-License-Identifier: MIT */
/*
 * The firmware configuration device: see fw_cfg.h. Invariant: files[] is sorted by name, as the
 * directory must be, and a file's key is FW_CFG_FILE_FIRST + its index when the machine runs
 * (the directory is made anew with each file). Machine lock held throughout.
 */
#include "legacy/fw_cfg.h"

#include <endian.h>
#include <errno.h>
#include <linux/qemu_fw_cfg.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "dev/bus.h"

#define PORT_BASE 0x510
#define PORT_COUNT 12 /* selector and data 0x510, DMA address 0x514 */
#define DMA_OFFSET 4

#define NUMBERED 0x20
#define ARCH_ITEMS 0x10
#define FILES_MAX 64
#define KEY_IRQ0_OVERRIDE (FW_CFG_ARCH_LOCAL + 2)

struct item {
	uint8_t *data;
	uint32_t size_bytes;
};

struct file {
	char name[FW_CFG_MAX_FILE_PATH];
	struct item item;
};

struct fw_cfg {
	struct device dev;
	const struct device_env *env;
	struct item numbered[NUMBERED];
	struct item arch[ARCH_ITEMS];
	struct file files[FILES_MAX];
	unsigned file_count;
	uint16_t key;     /* selected item … */
	uint32_t offset;  /* … and where reading it is */
	uint32_t dma_high;
};

static struct item *find_item(struct fw_cfg *fw, uint16_t key)
{
	unsigned index = key & FW_CFG_ENTRY_MASK & 0xffff;

	if (key & FW_CFG_ARCH_LOCAL)
		return index < ARCH_ITEMS ? &fw->arch[index] : NULL;
	if (index < NUMBERED)
		return &fw->numbered[index];
	index -= FW_CFG_FILE_FIRST;
	return index < fw->file_count ? &fw->files[index].item : NULL;
}

static int set_item(struct item *item, const void *data, size_t size_bytes, struct error *err)
{
	uint8_t *copy;

	if (size_bytes > UINT32_MAX)
		return error_set(err, EFBIG, "a firmware item of %zu bytes is too large",
				 size_bytes);
	copy = malloc(size_bytes ? size_bytes : 1);
	if (!copy)
		return error_set(err, ENOMEM, "no memory for a firmware item of %zu bytes",
				 size_bytes);
	memcpy(copy, data, size_bytes);
	free(item->data);
	item->data = copy;
	item->size_bytes = (uint32_t)size_bytes;
	return 0;
}

int fw_cfg_add(struct device *dev, uint16_t key, const void *data, size_t size_bytes,
	       struct error *err)
{
	struct fw_cfg *fw = (struct fw_cfg *)dev;
	struct item *item = find_item(fw, key);

	if (!item)
		return error_set(err, EINVAL, "there is no firmware item 0x%x", key);
	if (item->data)
		return error_set(err, EEXIST, "firmware item 0x%x is there already", key);
	return set_item(item, data, size_bytes, err);
}

static int make_directory(struct fw_cfg *fw, struct error *err)
{
	struct {
		uint32_t count;
		struct fw_cfg_file file[FILES_MAX];
	} dir;

	memset(&dir, 0, sizeof(dir));
	dir.count = htobe32(fw->file_count);
	for (unsigned i = 0; i < fw->file_count; i++) {
		dir.file[i].size = htobe32(fw->files[i].item.size_bytes);
		dir.file[i].select = htobe16((uint16_t)(FW_CFG_FILE_FIRST + i));
		memcpy(dir.file[i].name, fw->files[i].name, FW_CFG_MAX_FILE_PATH);
	}
	return set_item(&fw->numbered[FW_CFG_FILE_DIR], &dir,
			sizeof(dir.count) + fw->file_count * sizeof(dir.file[0]), err);
}

int fw_cfg_add_file(struct device *dev, const char *name, const void *data, size_t size_bytes,
		    struct error *err)
{
	struct fw_cfg *fw = (struct fw_cfg *)dev;
	struct file file = { .item.data = NULL };
	unsigned at = 0;
	int rc;

	if (fw->file_count == FILES_MAX || strlen(name) >= sizeof(file.name))
		return error_set(err, ENOSPC, "no room for the firmware file %s", name);
	while (at < fw->file_count && strcmp(fw->files[at].name, name) < 0)
		at++;
	if (at < fw->file_count && !strcmp(fw->files[at].name, name))
		return error_set(err, EEXIST, "firmware file %s is there already", name);
	strcpy(file.name, name);
	rc = set_item(&file.item, data, size_bytes, err);
	if (rc)
		return rc;
	memmove(&fw->files[at + 1], &fw->files[at], (fw->file_count - at) * sizeof(file));
	fw->files[at] = file;
	fw->file_count++;
	return make_directory(fw, err);
}

/* ---- what the guest does ---- */

static void select_item(struct fw_cfg *fw, uint16_t key)
{
	fw->key = key;
	fw->offset = 0;
}

/* The next byte of the selected item; zeros past its end and where there is none. */
static uint8_t next_byte(struct fw_cfg *fw)
{
	const struct item *item = find_item(fw, fw->key);

	if (!item || fw->offset >= item->size_bytes)
		return 0;
	return item->data[fw->offset++];
}

/* Copies len bytes on from the selected item's offset to guest memory, padded with zeros. */
static int copy_item(struct fw_cfg *fw, uint64_t gpa, uint32_t len)
{
	const struct item *item = find_item(fw, fw->key);
	uint32_t left = item && fw->offset < item->size_bytes ? item->size_bytes - fw->offset : 0;
	uint32_t copied = len < left ? len : left;
	int rc = 0;

	if (copied)
		rc = dma_write(&fw->env->dma, gpa, item->data + fw->offset, copied);
	if (!rc && len > copied)
		rc = dma_fill(&fw->env->dma, gpa + copied, 0, len - copied);
	fw->offset += copied;
	return rc;
}

static uint32_t dma_command(struct fw_cfg *fw, uint32_t control, uint32_t len, uint64_t gpa)
{
	const struct item *item;

	if (control & FW_CFG_DMA_CTL_SELECT)
		select_item(fw, (uint16_t)(control >> 16));
	if (control & FW_CFG_DMA_CTL_READ)
		return copy_item(fw, gpa, len) ? FW_CFG_DMA_CTL_ERROR : 0;
	if (control & FW_CFG_DMA_CTL_WRITE)
		return FW_CFG_DMA_CTL_ERROR;
	if (control & FW_CFG_DMA_CTL_SKIP) {
		item = find_item(fw, fw->key);
		if (item && fw->offset < item->size_bytes)
			fw->offset += len < item->size_bytes - fw->offset ?
					      len : item->size_bytes - fw->offset;
	}
	return 0;
}

/* The guest wrote a command structure's address; its control field becomes the status. */
static void dma_start(struct fw_cfg *fw, uint64_t gpa)
{
	struct fw_cfg_dma_access access;
	uint32_t status = htobe32(FW_CFG_DMA_CTL_ERROR);

	if (!dma_read(&fw->env->dma, gpa, &access, sizeof(access)))
		status = htobe32(dma_command(fw, be32toh(access.control), be32toh(access.length),
					     be64toh(access.address)));
	/* Nowhere to tell an error when the structure is not in RAM. */
	dma_write(&fw->env->dma, gpa, &status, sizeof(status));
}

static uint64_t fw_cfg_read(void *opaque, uint64_t offset, unsigned size, int cpu)
{
	struct fw_cfg *fw = opaque;
	uint64_t signature = htobe64(FW_CFG_DMA_SIGNATURE);
	uint64_t value = 0;

	(void)cpu;
	if (offset < DMA_OFFSET)
		return size == 1 && offset == 1 ? next_byte(fw) : 0;
	memcpy(&value, (const uint8_t *)&signature + (offset - DMA_OFFSET), size);
	return value;
}

static void fw_cfg_write(void *opaque, uint64_t offset, unsigned size, uint64_t value, int cpu)
{
	struct fw_cfg *fw = opaque;
	uint64_t gpa;

	(void)cpu;
	if (offset == 0 && size == 2) {
		select_item(fw, (uint16_t)value);
	} else if (offset == DMA_OFFSET && size == 4) {
		fw->dma_high = be32toh((uint32_t)value);
	} else if (offset == DMA_OFFSET + 4 && size == 4) {
		gpa = (uint64_t)fw->dma_high << 32 | be32toh((uint32_t)value);
		fw->dma_high = 0;
		dma_start(fw, gpa);
	}
}

/* ---- life ---- */

static void fw_cfg_reset(struct device *dev)
{
	struct fw_cfg *fw = (struct fw_cfg *)dev;

	select_item(fw, FW_CFG_SIGNATURE);
	fw->dma_high = 0;
}

static void free_items(struct fw_cfg *fw)
{
	for (unsigned i = 0; i < NUMBERED; i++)
		free(fw->numbered[i].data);
	for (unsigned i = 0; i < ARCH_ITEMS; i++)
		free(fw->arch[i].data);
	for (unsigned i = 0; i < fw->file_count; i++)
		free(fw->files[i].item.data);
	free(fw);
}

static void fw_cfg_destroy(struct device *dev)
{
	struct fw_cfg *fw = (struct fw_cfg *)dev;

	bus_remove(fw->env->pio, PORT_BASE);
	free_items(fw);
}

static const struct state_field fw_cfg_fields[] = {
	STATE_FIELD(struct fw_cfg, key),
	STATE_FIELD(struct fw_cfg, offset),
	STATE_FIELD(struct fw_cfg, dma_high),
	STATE_FIELDS_END,
};

static const struct device_class fw_cfg_class = {
	.name = "fw-cfg",
	.reset = fw_cfg_reset,
	.destroy = fw_cfg_destroy,
	.fields = fw_cfg_fields,
};

/* The wire form of a memory map entry: address, length, type, packed. */
static int add_e820(struct device *dev, const struct e820_map *map, struct error *err)
{
	uint8_t table[E820_MAX * 20];

	for (unsigned i = 0; i < map->count; i++) {
		memcpy(table + i * 20, &map->range[i].addr, 8);
		memcpy(table + i * 20 + 8, &map->range[i].size_bytes, 8);
		memcpy(table + i * 20 + 16, &map->range[i].type, 4);
	}
	return fw_cfg_add_file(dev, "etc/e820", table, map->count * 20, err);
}

static int add_facts(struct device *dev, const struct fw_cfg_config *config, struct error *err)
{
	const uint32_t version = FW_CFG_VERSION | FW_CFG_VERSION_DMA;
	const uint32_t timer_on_pin_2 = 1;
	const uint16_t cpus = (uint16_t)config->cpus, nographic = 1;
	const uint16_t boot_menu = config->boot_menu_wait_ms != 0;
	const struct {
		uint16_t key;
		const void *data;
		size_t size_bytes;
	} facts[] = {
		{ FW_CFG_SIGNATURE, "QEMU", FW_CFG_SIG_SIZE },
		{ FW_CFG_ID, &version, sizeof(version) },
		{ FW_CFG_RAM_SIZE, &config->low_ram_bytes, sizeof(config->low_ram_bytes) },
		{ FW_CFG_NOGRAPHIC, &nographic, sizeof(nographic) },
		{ FW_CFG_NB_CPUS, &cpus, sizeof(cpus) },
		{ FW_CFG_MAX_CPUS, &cpus, sizeof(cpus) },
		{ FW_CFG_BOOT_MENU, &boot_menu, sizeof(boot_menu) },
		{ KEY_IRQ0_OVERRIDE, &timer_on_pin_2, sizeof(timer_on_pin_2) },
	};
	int rc = 0;

	for (size_t i = 0; i < sizeof(facts) / sizeof(facts[0]) && !rc; i++)
		rc = fw_cfg_add(dev, facts[i].key, facts[i].data, facts[i].size_bytes, err);
	if (!rc)
		rc = add_e820(dev, config->e820, err);
	if (!rc && boot_menu)
		rc = fw_cfg_add_file(dev, "etc/boot-menu-wait", &config->boot_menu_wait_ms,
				     sizeof(config->boot_menu_wait_ms), err);
	if (!rc && config->console_port)
		rc = fw_cfg_add_file(dev, "etc/sercon-port", &config->console_port,
				     sizeof(config->console_port), err);
	return rc;
}

int fw_cfg_create(const struct device_env *env, const struct fw_cfg_config *config,
		  struct device **dev, struct error *err)
{
	struct fw_cfg *fw = calloc(1, sizeof(*fw));
	struct bus_range ports = {
		.base = PORT_BASE, .size = PORT_COUNT, .name = "fw-cfg", .opaque = fw,
		.max_width = 4, .read = fw_cfg_read, .write = fw_cfg_write,
	};
	int rc;

	if (!fw)
		return error_set(err, ENOMEM, "no memory for the firmware configuration device");
	fw->dev.class = &fw_cfg_class;
	fw->env = env;
	rc = add_facts(&fw->dev, config, err);
	if (!rc)
		rc = bus_add(env->pio, &ports, err);
	if (rc) {
		free_items(fw);
		return rc;
	}
	*dev = &fw->dev;
	return 0;
}

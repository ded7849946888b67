/* SPDX-License-Identifier: MIT */
/*
 * MSI-X: see msix.h. The BAR: the table from its start, the pending bits from its middle.
 * Invariant: a pending bit is set only while its vector, or the whole function, is masked.
 */
#include "dev/msix.h"

#include <assert.h>
#include <errno.h>
#include <linux/pci_regs.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "dev/pci.h"

#define BAR_BYTES 4096u
#define PBA_OFFSET 2048u

_Static_assert(MSIX_VECTORS_MAX * PCI_MSIX_ENTRY_SIZE <= PBA_OFFSET, "the table fits");

static uint16_t control(const struct msix *msix)
{
	const uint8_t *bytes = msix->function->config + msix->capability + PCI_MSIX_FLAGS;

	return (uint16_t)(bytes[0] | bytes[1] << 8);
}

bool msix_enabled(const struct msix *msix)
{
	return control(msix) & PCI_MSIX_FLAGS_ENABLE;
}

static bool masked(const struct msix *msix, unsigned vector)
{
	return control(msix) & PCI_MSIX_FLAGS_MASKALL ||
	       msix->table[vector].word[3] & PCI_MSIX_ENTRY_CTRL_MASKBIT;
}

void msix_fire(struct msix *msix, unsigned vector)
{
	const uint32_t *word;

	if (vector >= msix->vectors || !msix_enabled(msix))
		return;
	if (masked(msix, vector)) {
		msix->pending[vector / 64] |= 1ull << vector % 64;
		return;
	}
	word = msix->table[vector].word;
	pci_send_msi(msix->function, (uint64_t)word[1] << 32 | word[0], word[2]);
}

/* Sends what is pending and may go now. */
static void send_pending(struct msix *msix)
{
	for (unsigned vector = 0; vector < msix->vectors; vector++) {
		uint64_t bit = 1ull << vector % 64;

		if (!(msix->pending[vector / 64] & bit) || masked(msix, vector))
			continue;
		msix->pending[vector / 64] &= ~bit;
		msix_fire(msix, vector);
	}
}

void msix_config_written(struct msix *msix, unsigned offset, unsigned size)
{
	if (offset < msix->capability + PCI_CAP_MSIX_SIZEOF && offset + size > msix->capability &&
	    msix_enabled(msix))
		send_pending(msix);
}

/* ---- the BAR ---- */

/* The table's or the pending bits' double word at offset; NULL: there is none. */
static uint32_t *word_at(struct msix *msix, uint64_t offset)
{
	if (offset < msix->vectors * PCI_MSIX_ENTRY_SIZE)
		return &msix->table[offset / PCI_MSIX_ENTRY_SIZE]
				.word[offset % PCI_MSIX_ENTRY_SIZE / 4];
	if (offset >= PBA_OFFSET && offset - PBA_OFFSET < sizeof(msix->pending))
		return (uint32_t *)msix->pending + (offset - PBA_OFFSET) / 4;
	return NULL;
}

/* Accesses are of aligned double words or pairs of them; others are undefined. */
static uint64_t bar_read(void *opaque, uint64_t offset, unsigned size, int cpu)
{
	struct msix *msix = opaque;
	uint64_t value = 0;

	(void)cpu;
	if (size < 4 || offset % size)
		return 0;
	for (unsigned i = 0; i < size; i += 4) {
		const uint32_t *word = word_at(msix, offset + i);

		value |= (uint64_t)(word ? *word : 0) << i * 8;
	}
	return value;
}

static void bar_write(void *opaque, uint64_t offset, unsigned size, uint64_t value, int cpu)
{
	struct msix *msix = opaque;

	(void)cpu;
	if (size < 4 || offset % size || offset >= msix->vectors * PCI_MSIX_ENTRY_SIZE)
		return;
	for (unsigned i = 0; i < size; i += 4)
		*word_at(msix, offset + i) = (uint32_t)(value >> i * 8);
	if (msix_enabled(msix))
		send_pending(msix);
}

/* ---- life ---- */

void msix_reset(struct msix *msix)
{
	memset(msix->pending, 0, sizeof(msix->pending));
	for (unsigned i = 0; i < msix->vectors; i++)
		msix->table[i] = (struct msix_entry){ { 0, 0, 0, PCI_MSIX_ENTRY_CTRL_MASKBIT } };
}

int msix_create(struct msix *msix, struct pci_function *function, unsigned vectors, unsigned bar,
		struct error *err)
{
	const struct bus_range range = {
		.size = BAR_BYTES, .name = "msix", .opaque = msix, .read = bar_read,
		.write = bar_write,
	};

	assert(vectors && vectors <= MSIX_VECTORS_MAX);
	*msix = (struct msix){ .function = function, .vectors = vectors };
	msix->table = calloc(vectors, sizeof(*msix->table));
	if (!msix->table)
		return error_set(err, ENOMEM, "no memory for %u interrupt vectors", vectors);
	msix->capability = pci_add_capability(function, PCI_CAP_ID_MSIX, PCI_CAP_MSIX_SIZEOF);
	pci_set_initial(function, msix->capability + PCI_MSIX_FLAGS, 2, vectors - 1,
			PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
	pci_set_initial(function, msix->capability + PCI_MSIX_TABLE, 4, bar, 0);
	pci_set_initial(function, msix->capability + PCI_MSIX_PBA, 4, PBA_OFFSET | bar, 0);
	pci_add_bar(function, bar, PCI_BAR_MEM32, &range);
	msix_reset(msix);
	return 0;
}

void msix_release(struct msix *msix)
{
	free(msix->table);
	msix->table = NULL;
}

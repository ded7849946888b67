/* SPDX-License-Identifier: MIT */
/*
 * MSI-X (PCI Local Bus 3.0, section 6.8.2): a function's interrupts as writes to memory, a vector
 * each, with masks and pending bits. Table and pending bits have a BAR of their own. The owner
 * embeds the struct, hands on its config_written, and falls back to the interrupt pin while MSI-X
 * is not enabled. Machine lock held.
 */
#ifndef RINGLET_DEV_MSIX_H
#define RINGLET_DEV_MSIX_H

#include <stdbool.h>
#include <stdint.h>

struct error;
struct pci_function;

#define MSIX_VECTORS_MAX 128u

struct msix_entry {
	uint32_t word[4]; /* address, its upper half, data, vector control */
};

struct msix {
	struct pci_function *function;
	struct msix_entry *table;
	unsigned vectors;
	unsigned capability; /* offset in configuration space */
	uint64_t pending[MSIX_VECTORS_MAX / 64];
};

/* Gives function (which is on its bus) the capability and, at index bar, a 32-bit BAR. */
int msix_create(struct msix *msix, struct pci_function *function, unsigned vectors, unsigned bar,
		struct error *err);
void msix_release(struct msix *msix);

/* Power-on state; the capability's own bits are reset with the function. */
void msix_reset(struct msix *msix);

/* From the owner's config_written: sends what waited when it no longer has to. */
void msix_config_written(struct msix *msix, unsigned offset, unsigned size);

bool msix_enabled(const struct msix *msix);

/* Sends the vector's message, or keeps it pending while it is masked. Nothing for others. */
void msix_fire(struct msix *msix, unsigned vector);

#endif

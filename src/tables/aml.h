/* SPDX-License-Identifier: MIT */
/*
 * Writes ACPI Machine Language (ACPI 6.3, chapter 20; resources: section 6.4) into a blob. Whatever
 * has a length is opened and closed: aml_scope … aml_end. Errors stay in the blob (failed).
 */
#ifndef RINGLET_TABLES_AML_H
#define RINGLET_TABLES_AML_H

#include <stdbool.h>
#include <stdint.h>

#include "tables/blob.h"

#define AML_DEPTH 12

struct aml {
	struct blob *blob;
	size_t open[AML_DEPTH]; /* where each open object's length goes */
	unsigned depth;
};

/* Opening; each is closed by aml_end. Paths as in ASL: "\\_SB.PCI0", "_CRS". */
void aml_scope(struct aml *aml, const char *path);
void aml_device(struct aml *aml, const char *path);
void aml_method(struct aml *aml, const char *path, unsigned args, bool serialized);
void aml_package(struct aml *aml, unsigned elements);
/* If (path == value) { … } */
void aml_if_equal(struct aml *aml, const char *path, uint64_t value);
/* Name (_CRS, ResourceTemplate () { … }): closed by aml_resources_end. */
void aml_resources(struct aml *aml);
void aml_resources_end(struct aml *aml);
void aml_end(struct aml *aml);

/* What follows is the object's value: aml_integer, aml_package … */
void aml_name(struct aml *aml, const char *path);
void aml_integer(struct aml *aml, uint64_t value);
void aml_string(struct aml *aml, const char *string);
/* "PNP0A03" as a compressed EISA ID. */
void aml_eisa_id(struct aml *aml, const char *id);
void aml_return(struct aml *aml, const char *path);
/* Store (ArgN, path) */
void aml_store_arg(struct aml *aml, unsigned arg, const char *path);

/* Resource descriptors, between aml_resources and aml_resources_end. */
void aml_irq(struct aml *aml, unsigned irq);
/* Any input of the I/O APIC; as PCI's wires are: level, active low, shared. */
void aml_gsi(struct aml *aml, unsigned gsi);
void aml_dma(struct aml *aml, unsigned channel);
void aml_io(struct aml *aml, uint16_t start, uint8_t len);
void aml_memory_fixed(struct aml *aml, uint32_t start, uint32_t len);
/* Windows that a bridge passes on to its bus; end inclusive. */
void aml_bus_window(struct aml *aml, uint16_t start, uint16_t end);
void aml_io_window(struct aml *aml, uint16_t start, uint16_t end);
void aml_memory32_window(struct aml *aml, bool cacheable, uint32_t start, uint32_t end);
void aml_memory64_window(struct aml *aml, bool cacheable, uint64_t start, uint64_t end);

#endif

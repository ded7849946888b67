/* SPDX-License-Identifier: MIT */
/*
 * The qcow2 format, versions 2 and 3, as bytes in a file ("qcow2.txt" in QEMU's documentation on
 * interoperability). All numbers are big-endian.
 *
 * The file is an array of clusters. Cluster 0 begins with the header. Two trees hang from it:
 *
 *	L1 table -> L2 tables -> data clusters		where a guest's cluster is
 *	refcount table -> refcount blocks		how often a host's cluster is referred to
 *
 * L1 and refcount table are contiguous; L2 tables and refcount blocks are a cluster each.
 */
#ifndef RINGLET_BLOCK_QCOW2_FORMAT_H
#define RINGLET_BLOCK_QCOW2_FORMAT_H

#include <stdint.h>

#define QCOW2_MAGIC 0x514649fbu

/* version 2: up to incompatible; version 3: at least up to compression */
struct qcow2_disk_header {
	uint32_t magic, version;
	uint64_t backing_offset;
	uint32_t backing_bytes;
	uint32_t cluster_bits;
	uint64_t size_bytes;
	uint32_t encryption;
	uint32_t l1_entries;
	uint64_t l1_offset;
	uint64_t reftable_offset;
	uint32_t reftable_clusters;
	uint32_t snapshots;
	uint64_t snapshots_offset;
	uint64_t incompatible, compatible, autoclear;
	uint32_t refcount_order;
	uint32_t header_bytes;
	uint8_t compression;
	uint8_t padding[7];
};

_Static_assert(sizeof(struct qcow2_disk_header) == 112, "no holes");

#define QCOW2_HEADER2_BYTES 72u
#define QCOW2_HEADER3_BYTES 104u

#define QCOW2_INCOMPATIBLE_DIRTY (1ull << 0)       /* refcounts are not up to date */
#define QCOW2_INCOMPATIBLE_CORRUPT (1ull << 1)     /* not to be written to */
#define QCOW2_INCOMPATIBLE_DATA_FILE (1ull << 2)
#define QCOW2_INCOMPATIBLE_COMPRESSION (1ull << 3) /* not zlib */
#define QCOW2_INCOMPATIBLE_EXTENDED_L2 (1ull << 4)
#define QCOW2_COMPATIBLE_LAZY_REFCOUNTS (1ull << 0)
#define QCOW2_AUTOCLEAR_BITMAPS (1ull << 0)

enum qcow2_compression { QCOW2_ZLIB, QCOW2_ZSTD };

/* Header extensions: type, length, data, padded to 8 bytes. */
#define QCOW2_EXTENSION_END 0u
#define QCOW2_EXTENSION_BACKING_FORMAT 0xe2792acau
#define QCOW2_EXTENSION_FEATURE_NAMES 0x6803f857u

struct qcow2_disk_feature_name {
	uint8_t type, bit; /* type 0: incompatible */
	char name[46];
};

struct qcow2_disk_snapshot {
	uint64_t l1_offset;
	uint32_t l1_entries;
	uint16_t id_bytes, name_bytes;
	uint32_t date_s, date_ns;
	uint64_t vm_clock_ns;
	uint32_t vm_state_bytes;
	uint32_t extra_bytes;
	/* extra data, id, name, padding to 8 bytes */
};

_Static_assert(sizeof(struct qcow2_disk_snapshot) == 40, "no holes");

struct qcow2_disk_snapshot_extra {
	uint64_t vm_state_bytes;
	uint64_t size_bytes;
};

/* Entries of L1 and L2 tables. */
#define QCOW2_COPIED (1ull << 63)     /* its refcount is 1: it may be written in place */
#define QCOW2_COMPRESSED (1ull << 62) /* L2 */
#define QCOW2_ZERO (1ull << 0)        /* L2, version 3: reads as zeros whatever its cluster holds */
#define QCOW2_OFFSET 0x00fffffffffffe00ull

/* Not the format's limits but ours, and QEMU's. */
#define QCOW2_CLUSTER_BITS_MIN 9u
#define QCOW2_CLUSTER_BITS_MAX 21u
#define QCOW2_REFCOUNT_ORDER_MAX 6u
#define QCOW2_L1_BYTES_MAX (32u << 20)
#define QCOW2_REFTABLE_BYTES_MAX (8u << 20)
#define QCOW2_SNAPSHOTS_MAX 65536u
#define QCOW2_SNAPSHOTS_BYTES_MAX (64u << 20)
#define QCOW2_BACKING_BYTES_MAX 1023u
#define QCOW2_HOST_BYTES_MAX (1ull << 56)

#endif

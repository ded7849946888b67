/* SPDX-License-Identifier: MIT */
/*
 * A file or block device that holds a disk, for formats: whole reads and writes, locking against
 * other machines, giving space back. Functions return 0 or -errno. Any thread, several at once.
 */
#ifndef RINGLET_BLOCK_FILE_H
#define RINGLET_BLOCK_FILE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

struct error;

struct block_file {
	int fd;
	bool device;          /* a block device */
	bool direct;          /* O_DIRECT: offsets, lengths and addresses are aligned */
	uint32_t align_bytes; /* to what; also a device's logical block size; at least 512 */
	uint64_t size_bytes;  /* when it was opened */
};

/*
 * Locks it, too: one writer or any number of readers, among all programs that lock as we do (open
 * file description locks on the whole file); -EBUSY when another has it.
 */
int block_file_open(struct block_file *file, const char *path, bool readonly, bool direct,
		    struct error *err);
void block_file_close(struct block_file *file);

/* length bytes, scattered over iov; what lies behind the file's end reads as zeros. */
int block_file_readv(const struct block_file *file, const struct iovec *iov, unsigned count,
		     uint64_t offset, uint64_t length);
int block_file_writev(const struct block_file *file, const struct iovec *iov, unsigned count,
		      uint64_t offset, uint64_t length);
int block_file_read(const struct block_file *file, void *data, uint64_t offset, uint64_t length);
int block_file_write(const struct block_file *file, const void *data, uint64_t offset,
		     uint64_t length);

/* A read of what the host has in memory; -EAGAIN: it has not, or cannot tell. */
int block_file_peek(const struct block_file *file, const struct iovec *iov, unsigned count,
		    uint64_t offset, uint64_t length);

/* Whether the kernel takes a request to or from this memory as it is. */
bool block_file_takes(const struct block_file *file, const struct iovec *iov, unsigned count);

int block_file_flush(const struct block_file *file);

/* A new file's name is as durable as its content then, as far as the host can tell. */
void block_file_flush_name(const char *path);

/* Makes the range read as zeros, its space given back if punch. -EOPNOTSUPP where the host cannot
 * do it better than by writing them. */
int block_file_zero(const struct block_file *file, uint64_t offset, uint64_t length, bool punch);

/* Gives the range's space back; its content is any. -EOPNOTSUPP. */
int block_file_discard(const struct block_file *file, uint64_t offset, uint64_t length);

/* Whether the range begins with a hole, where the host has nothing; *bytes: how far it is so. */
bool block_file_hole(const struct block_file *file, uint64_t offset, uint64_t length,
		     uint64_t *bytes);

#endif

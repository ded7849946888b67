/* SPDX-License-Identifier: MIT */
/*
 * Block storage: the seam between disks that a guest sees and formats that hold their bytes on the
 * host. A format (raw.c, …) is a const class and a function that opens a file as a struct block;
 * devices and tools use block_open, block_submit and block_perform and know no format.
 *
 * Threads. A format carries a request out in perform, which may block; it is called by several
 * threads at once (a pool of the block's own, see block.c), and so has whatever locks it needs.
 * Where a format's bytes are a file's, the kernel may be asked without a thread (ring.h).
 * Requests that overlap and are under way together may be carried out in any order. No thread
 * holds the machine lock in perform or done, and neither may take it: who waits for a request
 * (block_drain) may hold it.
 *
 * Durability. A write is durable once a flush that was submitted after its done has succeeded, or
 * at once with BLOCK_FUA. No byte that a request's bounds exclude is ever changed.
 */
#ifndef RINGLET_BLOCK_BLOCK_H
#define RINGLET_BLOCK_BLOCK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "host/workers.h"

struct block;
struct block_file;
struct block_ring;
struct error;

#define BLOCK_SECTOR_BYTES 512u

enum block_op {
	BLOCK_READ,
	BLOCK_WRITE,
	BLOCK_FLUSH,        /* no range */
	BLOCK_DISCARD,      /* the range's bytes are any afterwards; may do nothing */
	BLOCK_WRITE_ZEROES, /* they read as zeros afterwards */
};

enum {
	BLOCK_FUA = 1,   /* what changes something: durable when done */
	BLOCK_UNMAP = 2, /* WRITE_ZEROES: the space may be given back */
};

struct block_request {
	enum block_op op;
	unsigned flags;
	uint64_t offset, length; /* bytes; multiples of block_bytes, within size_bytes */
	const struct iovec *iov; /* READ, WRITE: length bytes in all; lives until done */
	unsigned iov_count;
	/*
	 * Called once, on a thread of the block's own, never within block_submit. result: 0 or
	 * -errno (-ENOSPC and -EIO as the host says). The request is the caller's again.
	 */
	void (*done)(struct block_request *request, int result);
	void *opaque;

	struct workers_job job; /* block.c's own */
	struct block *block;
};

/* Filled in by the format when it opens. */
struct block_info {
	uint64_t size_bytes;  /* as the guest sees it: a multiple of block_bytes */
	uint32_t block_bytes; /* what offsets and lengths are multiples of: 512 … 4096 */
	bool readonly;        /* what would change it fails with -EROFS */
	bool discard;         /* DISCARD and UNMAP give space back */
	bool write_zeroes;    /* WRITE_ZEROES writes less than the zeros themselves */
};

/* How a range begins. */
enum block_extent_kind {
	BLOCK_EXTENT_DATA,
	BLOCK_EXTENT_ZERO,  /* reads as zeros, and takes no space */
	BLOCK_EXTENT_BELOW, /* one layer's answer alone: it has nothing there */
};

struct block_extent {
	enum block_extent_kind kind;
	uint64_t length;
};

struct block_class {
	const char *name; /* as in format= */
	/* Carries request out: 0 or -errno. Its bounds have been checked; FUA is seen to. */
	int (*perform)(struct block *block, const struct block_request *request);
	/*
	 * The same for who must not wait: -EAGAIN, and nothing lost, when it would have to. May be
	 * NULL.
	 */
	int (*attempt)(struct block *block, const struct block_request *request);
	/* See block_extent. Never BELOW. */
	int (*extent)(struct block *block, uint64_t offset, uint64_t length,
		      struct block_extent *extent);
	/*
	 * Reads and writes may as well go to this file, at the same offsets. NULL: they may not, and
	 * only perform does them.
	 */
	const struct block_file *(*file)(const struct block *block);
	/* Nothing is under way. What was not flushed may get lost. */
	void (*close)(struct block *block);
};

/* What a format's own struct begins with. */
struct block {
	const struct block_class *class;
	struct block_info info;
	struct workers *workers; /* block.c's own */
	struct block_ring *ring; /* likewise; or NULL */
};

/* What becomes of a request that the host could not carry out. */
enum block_errors {
	BLOCK_ERRORS_DEFAULT, /* waits while there is no space, else the guest is told */
	BLOCK_ERRORS_REPORT,  /* the guest is told */
	BLOCK_ERRORS_WAIT,    /* waits, and is tried again */
	BLOCK_ERRORS_PAUSE,   /* the machine is paused; it is tried again when it goes on */
};

/* How the host is asked. */
enum block_io {
	BLOCK_IO_DEFAULT, /* io_uring where that is faster and the host lets us, else threads */
	BLOCK_IO_THREADS,
	BLOCK_IO_URING,
};

/* FILE[,OPTION]..., see the manual page; a comma in a value is doubled. */
struct block_options {
	const char *file;
	/*
	 * NULL: qcow2 if the file is called so (.qcow2), else raw. Never guessed from content,
	 * which a guest may write.
	 */
	const char *format;
	bool readonly;
	bool direct;  /* past the host's page cache */
	bool discard; /* let the guest give space back */
	bool backing; /* the file that the image says it lies on is read */
	const char *snapshot; /* read-only: the disk as it was in an internal snapshot */
	/*
	 * What is written goes to this qcow2 image, which is made if it is not there; file is
	 * only read.
	 */
	const char *overlay;
	const char *serial; /* what the device calls itself; NULL: nothing */
	enum block_errors errors; /* the device's affair, too */
	enum block_io io;
	char *text;   /* where the strings are, for block_options_release */

	/* Not to be had as text. */
	bool look; /* nothing is made or written: the disk is opened to be described */
	bool no_backing; /* only what the image itself holds */
	bool backing_writable;
	const struct block_options *base;  /* what the image lies on, instead of what it says */
	const struct block_options *above; /* what lies on it */
};

/* 0, -EINVAL, -ENOMEM. What it fills in belongs to the caller. */
int block_options_parse(struct block_options *options, const char *text, struct error *err);
void block_options_release(struct block_options *options);

/*
 * May two disks of a machine be so? -EBUSY: one writes to what the other uses, too, or lies on.
 * Opening the second would find out by the lock, though not whose it is; but who only looks locks
 * like a reader. To be asked before either is open.
 */
int block_options_share(const struct block_options *one, const struct block_options *other,
			struct error *err);

/* Opens what options name; they may be released afterwards. */
int block_open(const struct block_options *options, struct block **block, struct error *err);
/* Waits for what is under way. */
void block_close(struct block *block);

/* The name of the format that options mean; there may be none of it. */
const char *block_format_of(const struct block_options *options);

/*
 * Any thread. A request that its bounds or flags forbid is done with -EINVAL or -EROFS. After one or
 * more of them comes block_push, before which some may not begin.
 */
void block_submit(struct block *block, struct block_request *request);
void block_push(struct block *block);
/* "threads" or "uring". */
const char *block_io_name(const struct block *block);
/* Returns when everything that was submitted before is done. */
void block_drain(struct block *block);

/* The same at once, on the calling thread; done is not called. 0 or -errno. */
int block_perform(struct block *block, const struct block_request *request);
/* The same without waiting: -EAGAIN when it has to be submitted. */
int block_attempt(struct block *block, const struct block_request *request);

/*
 * How [offset, offset + length), not empty, begins: at least one byte, at most length. May block.
 */
int block_extent(struct block *block, uint64_t offset, uint64_t length,
		 struct block_extent *extent);

#endif

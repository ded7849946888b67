/* SPDX-License-Identifier: MIT */
/* A disk's file: see file.h. */
#include "block/file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"

#define DIRECT_ALIGN 4096u /* what every host's direct I/O is content with */
#define PIECES 256 /* a megabyte in pages */
#define HASTEN_BYTES (256u << 10)

/* ---- opening ---- */

static int lock_file(const struct block_file *file, const char *path, bool readonly,
		     struct error *err)
{
	struct flock lock = { .l_type = readonly ? F_RDLCK : F_WRLCK, .l_whence = SEEK_SET };

	if (!fcntl(file->fd, F_OFD_SETLK, &lock))
		return 0;
	if (errno == EAGAIN || errno == EACCES)
		return error_set(err, EBUSY, "%s is in use by another program%s", path,
				 readonly ? ", which writes to it" : "");
	/* Some file systems have no locks. */
	return errno == EOPNOTSUPP || errno == ENOLCK || errno == EINVAL ?
		       0 : error_set_errno(err, errno, "cannot lock %s", path);
}

static int measure_device(struct block_file *file, const char *path, struct error *err)
{
	int block_bytes = 0;

	if (ioctl(file->fd, BLKGETSIZE64, &file->size_bytes) ||
	    ioctl(file->fd, BLKSSZGET, &block_bytes))
		return error_set_errno(err, errno, "cannot find out the size of %s", path);
	if (block_bytes > (int)file->align_bytes)
		file->align_bytes = (uint32_t)block_bytes;
	return 0;
}

static int measure(struct block_file *file, const char *path, struct error *err)
{
	struct stat st;

	if (fstat(file->fd, &st))
		return error_set_errno(err, errno, "cannot find out the size of %s", path);
	file->device = S_ISBLK(st.st_mode);
	file->align_bytes = file->direct && !file->device ? DIRECT_ALIGN : 512;
	if (file->device)
		return measure_device(file, path, err);
	if (S_ISDIR(st.st_mode))
		return error_set(err, EISDIR, "%s is a directory, not a disk", path);
	if (!S_ISREG(st.st_mode))
		return error_set(err, EINVAL, "%s is neither a file nor a block device", path);
	file->size_bytes = (uint64_t)st.st_size;
	return 0;
}

int block_file_open(struct block_file *file, const char *path, bool readonly, bool direct,
		    struct error *err)
{
	/* O_NONBLOCK: that a FIFO by that name does not hold us up; it means nothing to a file. */
	int flags = (readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK | O_NOCTTY |
		    (direct ? O_DIRECT : 0);
	int ret;

	*file = (struct block_file){ .fd = open(path, flags), .direct = direct };
	if (file->fd < 0 && errno == EINVAL && direct)
		return error_set(err, EINVAL, "%s: its file system cannot do direct I/O", path);
	if (file->fd < 0)
		return error_set_errno(err, errno, "cannot open %s", path);
	ret = measure(file, path, err);
	if (!ret)
		ret = lock_file(file, path, readonly, err);
	if (ret)
		block_file_close(file);
	return ret;
}

void block_file_close(struct block_file *file)
{
	if (file->fd >= 0)
		close(file->fd);
	file->fd = -1;
}

/* ---- reading and writing ---- */

/* Where in an iov a transfer is. */
struct cursor {
	const struct iovec *iov;
	unsigned left; /* elements */
	size_t skip;   /* bytes of the first */
};

/* The next pieces of at most limit bytes in all; returns how many there are. */
static int next_pieces(const struct cursor *cursor, uint64_t limit, struct iovec *piece)
{
	size_t skip = cursor->skip;
	int count = 0;

	for (unsigned i = 0; i < cursor->left && count < PIECES && limit; i++) {
		size_t length = cursor->iov[i].iov_len - skip;

		if (length > limit)
			length = limit;
		piece[count++] = (struct iovec){ (uint8_t *)cursor->iov[i].iov_base + skip,
						 length };
		limit -= length;
		skip = 0;
	}
	return count;
}

static void advance(struct cursor *cursor, size_t bytes)
{
	while (cursor->left && bytes >= cursor->iov->iov_len - cursor->skip) {
		bytes -= cursor->iov->iov_len - cursor->skip;
		cursor->skip = 0;
		cursor->iov++;
		cursor->left--;
	}
	cursor->skip += bytes;
}

static void zero_rest(struct cursor *cursor, uint64_t left)
{
	struct iovec piece[PIECES];

	while (left) {
		int count = next_pieces(cursor, left, piece);

		for (int i = 0; i < count; i++) {
			memset(piece[i].iov_base, 0, piece[i].iov_len);
			left -= piece[i].iov_len;
			advance(cursor, piece[i].iov_len);
		}
		if (!count)
			return;
	}
}

static int transfer(const struct block_file *file, bool write, const struct iovec *iov,
		    unsigned iov_count, uint64_t offset, uint64_t left)
{
	struct cursor cursor = { .iov = iov, .left = iov_count };
	struct iovec piece[PIECES];

	while (left) {
		int count = next_pieces(&cursor, left, piece);
		ssize_t done = write ? pwritev(file->fd, piece, count, (off_t)offset) :
				       preadv(file->fd, piece, count, (off_t)offset);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return -errno;
		if (!done && write)
			return -EIO;
		if (!done) {
			zero_rest(&cursor, left);
			return 0;
		}
		advance(&cursor, (size_t)done);
		offset += (uint64_t)done;
		left -= (uint64_t)done;
	}
	return 0;
}

bool block_file_takes(const struct block_file *file, const struct iovec *iov, unsigned count)
{
	uintptr_t bits = 0;

	if (!file->direct)
		return true;
	for (unsigned i = 0; i < count; i++)
		bits |= (uintptr_t)iov[i].iov_base | iov[i].iov_len;
	return !(bits & (file->align_bytes - 1));
}

static void gather(const struct iovec *iov, uint8_t *data, uint64_t left)
{
	for (; left; iov++) {
		size_t length = iov->iov_len < left ? iov->iov_len : left;

		memcpy(data, iov->iov_base, length);
		data += length;
		left -= length;
	}
}

static void scatter(const struct iovec *iov, const uint8_t *data, uint64_t left)
{
	for (; left; iov++) {
		size_t length = iov->iov_len < left ? iov->iov_len : left;

		memcpy(iov->iov_base, data, length);
		data += length;
		left -= length;
	}
}

/* Direct I/O from or to memory that is not aligned: by way of memory that is. */
static int transfer_aside(const struct block_file *file, bool write, const struct iovec *iov,
			  uint64_t offset, uint64_t length)
{
	struct iovec aside = { .iov_len = length };
	int ret;

	aside.iov_base = aligned_alloc(DIRECT_ALIGN, (length + DIRECT_ALIGN - 1) &
						     ~(uint64_t)(DIRECT_ALIGN - 1));
	if (!aside.iov_base)
		return -ENOMEM;
	if (write)
		gather(iov, aside.iov_base, length);
	ret = transfer(file, write, &aside, 1, offset, length);
	if (!ret && !write)
		scatter(iov, aside.iov_base, length);
	free(aside.iov_base);
	return ret;
}

static int transfer_any(const struct block_file *file, bool write, const struct iovec *iov,
			unsigned count, uint64_t offset, uint64_t length)
{
	if (length && !block_file_takes(file, iov, count))
		return transfer_aside(file, write, iov, offset, length);
	return transfer(file, write, iov, count, offset, length);
}

int block_file_readv(const struct block_file *file, const struct iovec *iov, unsigned count,
		     uint64_t offset, uint64_t length)
{
	return transfer_any(file, false, iov, count, offset, length);
}

/*
 * The guest has a cache of its own: what it writes is meant for the disk, and a flush will follow. Of what
 * is large the host's disk is given some to do until then. Whether it begins is nobody's concern.
 */
static void hasten(const struct block_file *file, uint64_t offset, uint64_t length)
{
	if (!file->direct && length >= HASTEN_BYTES)
		sync_file_range(file->fd, (off_t)offset, (off_t)length, SYNC_FILE_RANGE_WRITE);
}

int block_file_writev(const struct block_file *file, const struct iovec *iov, unsigned count,
		      uint64_t offset, uint64_t length)
{
	int ret = transfer_any(file, true, iov, count, offset, length);

	if (!ret)
		hasten(file, offset, length);
	return ret;
}

int block_file_peek(const struct block_file *file, const struct iovec *iov, unsigned count,
		    uint64_t offset, uint64_t length)
{
	ssize_t done;

	if (file->direct || count > PIECES)
		return -EAGAIN;
	done = preadv2(file->fd, iov, (int)count, (off_t)offset, RWF_NOWAIT);
	return done >= 0 && (uint64_t)done == length ? 0 : -EAGAIN;
}

int block_file_read(const struct block_file *file, void *data, uint64_t offset, uint64_t length)
{
	const struct iovec iov = { data, length };

	return block_file_readv(file, &iov, 1, offset, length);
}

int block_file_write(const struct block_file *file, const void *data, uint64_t offset,
		     uint64_t length)
{
	const struct iovec iov = { (void *)data, length };

	return block_file_writev(file, &iov, 1, offset, length);
}

int block_file_flush(const struct block_file *file)
{
	return fdatasync(file->fd) ? -errno : 0;
}

void block_file_flush_name(const char *path)
{
	const char *slash = strrchr(path, '/');
	char *directory = slash == path ? strdup("/") :
			  slash		? strndup(path, (size_t)(slash - path)) : strdup(".");
	int fd = directory ? open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

	if (fd >= 0) {
		fsync(fd); /* where that fails, nobody can do it */
		close(fd);
	}
	free(directory);
}

/* ---- space ---- */

static int allocate(const struct block_file *file, int mode, uint64_t offset, uint64_t length)
{
	int ret;

	do
		ret = fallocate(file->fd, mode, (off_t)offset, (off_t)length);
	while (ret && errno == EINTR);
	if (!ret)
		return 0;
	return errno == ENOSYS || errno == ENODEV ? -EOPNOTSUPP : -errno;
}

int block_file_zero(const struct block_file *file, uint64_t offset, uint64_t length, bool punch)
{
	int ret = -EOPNOTSUPP;

	if (punch)
		ret = block_file_discard(file, offset, length);
	if (ret == -EOPNOTSUPP)
		ret = allocate(file, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, offset, length);
	return ret;
}

int block_file_discard(const struct block_file *file, uint64_t offset, uint64_t length)
{
	/* On block devices, too: the kernel then sees to it that zeros are read. */
	return allocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length);
}

bool block_file_hole(const struct block_file *file, uint64_t offset, uint64_t length,
		     uint64_t *bytes)
{
	off_t data = lseek(file->fd, (off_t)offset, SEEK_DATA), hole;

	*bytes = length;
	if (data < 0)
		return errno == ENXIO && !file->device;
	if ((uint64_t)data > offset) {
		*bytes = (uint64_t)data - offset < length ? (uint64_t)data - offset : length;
		return true;
	}
	hole = lseek(file->fd, data, SEEK_HOLE);
	if (hole > data && (uint64_t)hole - offset < length)
		*bytes = (uint64_t)hole - offset;
	return false;
}

/* SPDX-License-Identifier: MIT */
/*
 * Disks and shared directories. BENCH_DISK names a disk or a file in its place, BENCH_DIR a directory:
 * what the environment does not name is not usable. Disks are read and written past the guest's cache.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench.h"

#define DISK_BYTES (64u << 20) /* what is used of it */
#define PART_BYTES (16u << 20) /* of an iteration */
#define LARGE 0x100000u
#define SMALL 0x1000u
#define SMALL_READS 256u

#define FILES 100u
#define FILE_BYTES 2048u
#define STREAM_BYTES (4u << 20)

/* ---- a disk ---- */

struct disk {
	int fd;
	uint8_t *buffer;
};

static bool disk_usable(void)
{
	return getenv("BENCH_DISK");
}

static void fill(uint8_t *buffer, size_t size, uint64_t seed)
{
	for (size_t i = 0; i < size; i += sizeof(uint64_t)) {
		uint64_t value = bench_next(&seed);

		memcpy(buffer + i, &value, sizeof(value));
	}
}

/* Filled, so that reads do not come from holes. */
static void *disk_prepare(void)
{
	struct disk *disk = bench_alloc(sizeof(*disk));

	disk->buffer = aligned_alloc(SMALL, LARGE);
	disk->fd = open(getenv("BENCH_DISK"), O_RDWR | O_DIRECT);
	bench_check(disk->buffer && disk->fd >= 0, "cannot open BENCH_DISK");
	for (off_t at = 0; at < DISK_BYTES; at += LARGE) {
		fill(disk->buffer, LARGE, (uint64_t)at + 1);
		bench_check(pwrite(disk->fd, disk->buffer, LARGE, at) == LARGE, "write to the disk");
	}
	bench_check(!fdatasync(disk->fd), "flush of the disk");
	return disk;
}

static uint64_t word_of(const struct disk *disk)
{
	uint64_t value;

	memcpy(&value, disk->buffer, sizeof(value));
	return value;
}

static uint64_t disk_read_run(void *data)
{
	const struct disk *disk = data;
	uint64_t sum = 0;

	for (off_t at = 0; at < PART_BYTES; at += LARGE) {
		bench_check(pread(disk->fd, disk->buffer, LARGE, at) == LARGE, "read of the disk");
		sum = bench_mix(sum, word_of(disk));
	}
	return sum;
}

static uint64_t disk_write_run(void *data)
{
	const struct disk *disk = data;

	for (off_t at = 0; at < PART_BYTES; at += LARGE)
		bench_check(pwrite(disk->fd, disk->buffer, LARGE, at) == LARGE, "write to the disk");
	bench_check(!fdatasync(disk->fd), "flush of the disk");
	return word_of(disk);
}

static uint64_t disk_random_run(void *data)
{
	const struct disk *disk = data;
	uint64_t seed = 42, sum = 0;

	for (unsigned i = 0; i < SMALL_READS; i++) {
		off_t at = (off_t)(bench_next(&seed) % (DISK_BYTES / SMALL) * SMALL);

		bench_check(pread(disk->fd, disk->buffer, SMALL, at) == SMALL, "read of the disk");
		sum = bench_mix(sum, word_of(disk));
	}
	return sum;
}

#define DISK(name) \
	const struct bench bench_##name = { #name, "disk", disk_prepare, name##_run, disk_usable };
DISK(disk_read)
DISK(disk_write)
DISK(disk_random)

/* ---- a shared directory ---- */

static bool dir_usable(void)
{
	return getenv("BENCH_DIR");
}

/* Works in a directory of its own; what it returns is what is written. */
static void *dir_prepare(void)
{
	uint8_t *data = bench_alloc(STREAM_BYTES);

	fill(data, STREAM_BYTES, 7);
	bench_check(!chdir(getenv("BENCH_DIR")), "cannot go to BENCH_DIR");
	bench_check(!mkdir("bench", 0755) || !access("bench", W_OK), "cannot make a directory");
	bench_check(!chdir("bench"), "cannot go to a directory");
	return data;
}

static void write_file(const char *name, const uint8_t *data, size_t size)
{
	int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0644);

	bench_check(fd >= 0 && write(fd, data, size) == (ssize_t)size && !close(fd), "write of a file");
}

static uint64_t read_file(const char *name, uint8_t *buffer, size_t size)
{
	int fd = open(name, O_RDONLY);
	uint64_t sum = 0;
	ssize_t got;

	bench_check(fd >= 0, "open of a file");
	while ((got = read(fd, buffer, size)) > 0)
		sum = bench_mix(sum, (uint64_t)got ^ buffer[got - 1]);
	bench_check(!got, "read of a file");
	close(fd);
	return sum;
}

static unsigned count_entries(void)
{
	DIR *dir = opendir(".");
	unsigned count = 0;

	bench_check(dir, "opendir");
	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

/* As unpacking, looking through and removing a source tree does. */
static uint64_t files_meta_run(void *data)
{
	uint8_t buffer[FILE_BYTES];
	char name[32], moved[32];
	uint64_t sum = 0;
	struct stat st;

	for (unsigned i = 0; i < FILES; i++) {
		snprintf(name, sizeof(name), "file-%u", i);
		write_file(name, data, FILE_BYTES);
	}
	sum = bench_mix(sum, count_entries());
	for (unsigned i = 0; i < FILES; i++) {
		snprintf(name, sizeof(name), "file-%u", i);
		snprintf(moved, sizeof(moved), "moved-%u", i);
		bench_check(!rename(name, moved) && !stat(moved, &st), "rename");
		sum = bench_mix(sum, (uint64_t)st.st_size);
		sum = bench_mix(sum, read_file(moved, buffer, sizeof(buffer)));
	}
	for (unsigned i = 0; i < FILES; i++) {
		snprintf(moved, sizeof(moved), "moved-%u", i);
		bench_check(!unlink(moved), "unlink");
	}
	return sum;
}

static uint64_t files_stream_run(void *data)
{
	static uint8_t buffer[LARGE];
	uint64_t sum;
	int fd;

	write_file("stream", data, STREAM_BYTES);
	fd = open("stream", O_RDONLY);
	/* Back from the other side, not from this one's cache. */
	bench_check(fd >= 0 && !fsync(fd), "fsync");
	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	close(fd);
	sum = read_file("stream", buffer, sizeof(buffer));
	bench_check(!unlink("stream"), "unlink");
	return sum;
}

#define DIRECTORY(name) \
	const struct bench bench_##name = { #name, "files", dir_prepare, name##_run, dir_usable };
DIRECTORY(files_meta)
DIRECTORY(files_stream)

/* SPDX-License-Identifier: MIT */
/*
 * qcow2 images on hosts that crash, and on hosts that fail.
 *
 * The linker puts the functions here between block/file.c and the host (Makefile). They keep a
 * log of what is written and synced. A crash leaves everything up to a sync, and of what was
 * written since then any sectors: for points of the log, such states are made, and judged:
 * reference counts are never too low, and each sector holds what it held at the last flush that
 * succeeded, or what was written since.
 *
 * Each request writes a number of its own into all words of its sectors, so that a sector tells
 * which it comes from. --points N: so many crashes of each kind of image, 0 for one behind each entry of the log;
 * --steps N: requests before them; --seed S.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/error.h"
#include "block/qcow2.h"
#include "disk_model.h"

#define SECTOR 512u
#define DISK_BYTES (1u << 20)
#define SECTORS (DISK_BYTES / SECTOR)

static unsigned points = 80, steps = 400;
static uint64_t seed = 1;

/* ---- the host ---- */

struct entry {
	enum { ENTRY_WRITE, ENTRY_PUNCH, ENTRY_SYNC } type;
	uint64_t offset, length;
	uint8_t *data;
};

static struct host {
	bool recording;
	struct entry *log;
	size_t count, room;
	unsigned fail_one_in; /* 0: none */
	int error;            /* what fails, fails with */
	unsigned faults;
	uint64_t seed;
} host;

ssize_t __real_pwritev(int fd, const struct iovec *iov, int count, off_t offset);
ssize_t __wrap_pwritev(int fd, const struct iovec *iov, int count, off_t offset);
ssize_t __real_preadv(int fd, const struct iovec *iov, int count, off_t offset);
ssize_t __wrap_preadv(int fd, const struct iovec *iov, int count, off_t offset);
int __real_fdatasync(int fd);
int __wrap_fdatasync(int fd);
int __real_fallocate(int fd, int mode, off_t offset, off_t length);
int __wrap_fallocate(int fd, int mode, off_t offset, off_t length);

static struct entry *record(int type, off_t offset, size_t length)
{
	struct entry *entry;

	if (host.count == host.room) {
		host.room = host.room ? 2 * host.room : 1024;
		host.log = realloc(host.log, host.room * sizeof(host.log[0]));
	}
	entry = &host.log[host.count++];
	*entry = (struct entry){ .type = type, .offset = (uint64_t)offset, .length = length };
	return entry;
}

static bool fault(void)
{
	if (!host.fail_one_in || disk_random(&host.seed) % host.fail_one_in)
		return false;
	host.faults++;
	errno = host.error;
	return true;
}

ssize_t __wrap_pwritev(int fd, const struct iovec *iov, int count, off_t offset)
{
	size_t length = 0;

	if (fault()) {
		/* Some sectors of it may have been written. */
		const struct iovec part = { iov->iov_base, iov->iov_len & ~(size_t)(SECTOR - 1) };

		__real_pwritev(fd, &part, 1, offset);
		errno = host.error;
		return -1;
	}
	if (host.recording) {
		struct entry *entry;

		for (int i = 0; i < count; i++)
			length += iov[i].iov_len;
		entry = record(ENTRY_WRITE, offset, length);
		entry->data = malloc(length + 1);
		length = 0;
		for (int i = 0; i < count; i++) {
			memcpy(entry->data + length, iov[i].iov_base, iov[i].iov_len);
			length += iov[i].iov_len;
		}
	}
	return __real_pwritev(fd, iov, count, offset);
}

ssize_t __wrap_preadv(int fd, const struct iovec *iov, int count, off_t offset)
{
	return fault() ? -1 : __real_preadv(fd, iov, count, offset);
}

int __wrap_fdatasync(int fd)
{
	(void)fd;
	if (fault())
		return -1;
	if (host.recording)
		record(ENTRY_SYNC, 0, 0);
	return 0;
}

int __wrap_fallocate(int fd, int mode, off_t offset, off_t length)
{
	if (host.recording)
		record(ENTRY_PUNCH, offset, (size_t)length);
	return __real_fallocate(fd, mode, offset, length);
}

static void forget_log(void)
{
	for (size_t i = 0; i < host.count; i++)
		free(host.log[i].data);
	free(host.log);
	host = (struct host){ 0 };
}

/* ---- what the disk may hold ---- */

struct version {
	uint64_t number; /* what is in the sector's words */
	size_t since;    /* the log's length when its request began */
};

struct history {
	struct version *version;
	unsigned count;
	unsigned sure; /* the latest whose request succeeded; what failed may have done something */
};

struct flushed {
	size_t at; /* the log's length when it was done */
	unsigned oldest[SECTORS]; /* version that a sector may hold from then on */
};

struct guest {
	struct block *block;
	struct history sector[SECTORS];
	struct flushed *flushes;
	unsigned flush_count;
	uint64_t next_number;
	uint64_t seed;
};

static void add_version(struct history *history, uint64_t number, size_t since, bool sure)
{
	if (sure)
		history->sure = history->count;
	history->version = realloc(history->version,
				   (history->count + 1) * sizeof(history->version[0]));
	history->version[history->count++] = (struct version){ number, since };
}

/* The number in a sector's words; -1 is none's. */
static uint64_t number_of(const uint8_t *sector)
{
	uint64_t words[SECTOR / 8];

	memcpy(words, sector, SECTOR);
	for (unsigned i = 1; i < SECTOR / 8; i++)
		if (words[i] != words[0])
			return ~0ull;
	return words[0];
}

static void fill(uint8_t *data, uint64_t bytes, uint64_t number)
{
	for (uint64_t i = 0; i < bytes; i += 8)
		memcpy(data + i, &number, 8);
}

static void read_first_versions(struct guest *guest)
{
	static uint8_t data[DISK_BYTES];

	assert_int_equal(disk_access(guest->block, BLOCK_READ, 0, 0, data, DISK_BYTES), 0);
	for (unsigned i = 0; i < SECTORS; i++)
		add_version(&guest->sector[i], number_of(data + i * SECTOR), 0, true);
}

static void note_flush(struct guest *guest)
{
	struct flushed *flush;

	guest->flushes = realloc(guest->flushes,
				 (guest->flush_count + 1) * sizeof(guest->flushes[0]));
	flush = &guest->flushes[guest->flush_count++];
	flush->at = host.count;
	for (unsigned i = 0; i < SECTORS; i++)
		flush->oldest[i] = guest->sector[i].sure;
}

static void begin(struct guest *guest, const char *options)
{
	*guest = (struct guest){ .block = disk_open(options), .next_number = 1ull << 40,
				 .seed = seed * 0x9e3779b97f4a7c15ull | 1 };
	assert_int_equal(guest->block->info.size_bytes, DISK_BYTES);
	read_first_versions(guest);
	note_flush(guest);
}

static void end(struct guest *guest)
{
	for (unsigned i = 0; i < SECTORS; i++)
		free(guest->sector[i].version);
	free(guest->flushes);
	forget_log();
}

/* May sector hold number, if the host crashed when the log was so long? */
static bool allowed(const struct guest *guest, unsigned sector, uint64_t number, size_t log_length)
{
	const struct history *history = &guest->sector[sector];
	unsigned flush = guest->flush_count - 1;

	while (guest->flushes[flush].at > log_length)
		flush--;
	for (unsigned i = guest->flushes[flush].oldest[sector]; i < history->count; i++)
		if (history->version[i].number == number && history->version[i].since <= log_length)
			return true;
	return false;
}

/* ---- requests ---- */

static void took_effect(struct guest *guest, uint64_t offset, uint64_t length, uint64_t number,
			size_t since, bool sure)
{
	for (uint64_t i = offset / SECTOR; i < (offset + length) / SECTOR; i++)
		add_version(&guest->sector[i], number, since, sure);
}

/* A discard leaves what was there, or zeros: look. Only for hosts that do not fail. */
static void see_discard(struct guest *guest, uint64_t offset, uint64_t length, size_t since)
{
	uint8_t data[SECTOR];

	for (; length; offset += SECTOR, length -= SECTOR) {
		struct history *history = &guest->sector[offset / SECTOR];

		assert_int_equal(disk_access(guest->block, BLOCK_READ, 0, offset, data, SECTOR), 0);
		if (number_of(data) != history->version[history->count - 1].number)
			add_version(history, 0, since, true);
	}
}

/* Returns what the request did. */
static int step(struct guest *guest)
{
	static uint8_t data[DISK_BYTES];
	uint64_t dice = disk_random(&guest->seed) % 100;
	uint64_t offset = disk_random(&guest->seed) % SECTORS * SECTOR;
	uint64_t most = disk_random(&guest->seed) % 4 ? 8 << 10 : 150 << 10;
	uint64_t length = (disk_random(&guest->seed) % most / SECTOR + 1) * SECTOR;
	size_t since = host.count;
	uint64_t number = guest->next_number++;
	int ret;

	if (length > DISK_BYTES - offset)
		length = DISK_BYTES - offset;
	if (dice < 60) {
		fill(data, length, number);
		ret = disk_access(guest->block, BLOCK_WRITE, 0, offset, data, length);
		took_effect(guest, offset, length, number, since, !ret);
	} else if (dice < 75) {
		ret = disk_access(guest->block, BLOCK_WRITE_ZEROES, dice & 1 ? BLOCK_UNMAP : 0,
				  offset, NULL, length);
		took_effect(guest, offset, length, 0, since, !ret);
	} else if (dice < 85 && !host.fail_one_in) {
		ret = disk_access(guest->block, BLOCK_DISCARD, 0, offset, NULL, length);
		see_discard(guest, offset, length, since);
	} else if (dice < 92) {
		ret = disk_access(guest->block, BLOCK_FLUSH, 0, 0, NULL, 0);
		if (!ret)
			note_flush(guest);
	} else {
		ret = disk_access(guest->block, BLOCK_READ, 0, offset, data, length);
	}
	return ret;
}

/* ---- crashes ---- */

/* The image as it may be on the disk. */
struct disk_state {
	uint8_t *bytes;
	size_t size, room;
};

static void reach(struct disk_state *state, size_t size)
{
	if (size <= state->size)
		return;
	if (size > state->room) {
		state->bytes = realloc(state->bytes, 2 * size);
		memset(state->bytes + state->room, 0, 2 * size - state->room);
		state->room = 2 * size;
	}
	state->size = size;
}

static void load(struct disk_state *state, const char *path)
{
	int fd = open(path, O_RDONLY);
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	reach(state, (size_t)st.st_size);
	assert_int_equal(pread(fd, state->bytes, (size_t)st.st_size, 0), st.st_size);
	close(fd);
}

/* torn: each sector may have arrived, or not. */
static void apply(struct disk_state *state, const struct entry *entry, bool torn)
{
	if (entry->type == ENTRY_SYNC)
		return;
	if (entry->type == ENTRY_WRITE)
		reach(state, entry->offset + entry->length);
	for (uint64_t at = 0; at < entry->length; at += SECTOR) {
		uint64_t length = entry->length - at < SECTOR ? entry->length - at : SECTOR;

		if ((torn && disk_random(&host.seed) & 1) || entry->offset + at >= state->size)
			continue;
		if (entry->type == ENTRY_WRITE)
			memcpy(state->bytes + entry->offset + at, entry->data + at, length);
		else
			memset(state->bytes + entry->offset + at, 0, length);
	}
}

static void save(const struct disk_state *state, const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_int_equal(write(fd, state->bytes, state->size), state->size);
	close(fd);
}

static void judge_metadata(const char *path, bool by_qemu)
{
	struct qcow2_check check = { 0 };
	struct error err;
	int status;

	if (qcow2_check(path, false, &check, &err))
		fail_msg("%s", err.message);
	if (check.errors)
		fail_msg("%u errors", (unsigned)check.errors);
	if (!by_qemu)
		return;
	status = disk_shell("qemu-img check -q -f qcow2 %s >check.txt 2>&1 || test $? = 3", path);
	assert_int_equal(status, 0);
}

static void judge_data(const struct guest *guest, const char *options, size_t log_length)
{
	static uint8_t data[DISK_BYTES];
	struct block *block = disk_open(options);

	assert_int_equal(disk_access(block, BLOCK_READ, 0, 0, data, DISK_BYTES), 0);
	for (unsigned i = 0; i < SECTORS; i++)
		if (!allowed(guest, i, number_of(data + i * SECTOR), log_length))
			fail_msg("crash at %zu of %zu: sector %u holds %#llx", log_length,
				 host.count, i, (unsigned long long)number_of(data + i * SECTOR));
	block_close(block);
}

static size_t last_sync(size_t before)
{
	while (before && host.log[before - 1].type != ENTRY_SYNC)
		before--;
	return before;
}

static void crash(const struct guest *guest, const struct disk_state *durable, size_t from,
		  size_t to, bool torn, bool by_qemu)
{
	struct disk_state state = { 0 };

	reach(&state, durable->size);
	memcpy(state.bytes, durable->bytes, durable->size);
	for (size_t i = from; i < to; i++)
		apply(&state, &host.log[i], torn);
	save(&state, "crash.qcow2");
	free(state.bytes);
	judge_metadata("crash.qcow2", by_qemu);
	judge_data(guest, "crash.qcow2,backing,ro", to);
	/* It can be written to again. */
	judge_data(guest, "crash.qcow2,backing", to);
}

/* At points of the log, in order: `durable` is what was synced by then. */
static void crash_here_and_there(const struct guest *guest, struct disk_state *durable)
{
	size_t synced = 0, crashes = points ? points : host.count;

	host.seed = seed | 1;
	for (size_t i = 1; i <= crashes; i++) {
		size_t to = host.count * i / crashes, sync = last_sync(to);

		for (; synced < sync; synced++)
			apply(durable, &host.log[synced], false);
		crash(guest, durable, sync, to, false, i % 10 == 0);
		crash(guest, durable, sync, to, true, i % 10 == 5);
		crash(guest, durable, sync, to, true, false);
	}
}

/* disk.qcow2 is made by the command. */
static void run_crashes(const char *command)
{
	struct disk_state durable = { 0 };
	struct guest guest;

	assert_int_equal(disk_shell("%s", command), 0);
	load(&durable, "disk.qcow2");
	host.recording = true;
	begin(&guest, "disk.qcow2,backing,discard");
	for (unsigned i = 0; i < steps; i++)
		assert_int_equal(step(&guest), 0);
	block_close(guest.block);
	host.recording = false;
	crash_here_and_there(&guest, &durable);
	free(durable.bytes);
	end(&guest);
}

#define MAKE "qemu-img create -q -f qcow2 -o "

static void test_crashes(void **state)
{
	(void)state;
	run_crashes(MAKE "cluster_size=64k disk.qcow2 1M");
	run_crashes(MAKE "cluster_size=512 disk.qcow2 1M");
	run_crashes(MAKE "cluster_size=512,refcount_bits=64 disk.qcow2 1M");
	run_crashes(MAKE "cluster_size=4k,refcount_bits=1 disk.qcow2 1M");
	run_crashes(MAKE "compat=0.10,cluster_size=1k disk.qcow2 1M");
}

/* Each sector of the lower half has its own number. */
static void make_base(void)
{
	static uint8_t data[DISK_BYTES];
	int fd = open("base.raw", O_WRONLY | O_CREAT | O_TRUNC, 0600);

	for (unsigned i = 0; i < SECTORS / 2; i++)
		fill(data + i * SECTOR, SECTOR, i + 1);
	assert_int_equal(write(fd, data, sizeof(data)), sizeof(data));
	close(fd);
}

static void test_crashes_in_layers(void **state)
{
	(void)state;
	make_base();
	run_crashes("qemu-img create -q -f qcow2 -o cluster_size=4k -F raw -b base.raw disk.qcow2");
	run_crashes("qemu-img convert -c -O qcow2 -o cluster_size=8k base.raw disk.qcow2");
	run_crashes("qemu-img convert -O qcow2 -o cluster_size=4k base.raw disk.qcow2 && "
		    "qemu-img snapshot -c s disk.qcow2");
	run_crashes("qemu-img convert -c -O qcow2 -o cluster_size=512 base.raw disk.qcow2 && "
		    "qemu-img snapshot -c s disk.qcow2");
}

/* ---- hosts that fail ---- */

static void fail_for_a_while(struct guest *guest, int error, unsigned one_in)
{
	host.error = error;
	host.seed = seed * 77 | 1;
	for (unsigned i = 0; i < 400; i++) {
		unsigned before = host.faults;
		int ret;

		host.fail_one_in = one_in;
		ret = step(guest);
		host.fail_one_in = 0;
		/* Who meets an error is told, and nobody else. */
		assert_int_equal(ret, host.faults == before ? 0 : -error);
	}
	assert_true(host.faults > 10);
}

static void run_faults(const char *command, int error)
{
	struct guest guest;

	assert_int_equal(disk_shell("%s", command), 0);
	begin(&guest, "disk.qcow2,backing,discard");
	fail_for_a_while(&guest, error, 20);
	assert_int_equal(disk_access(guest.block, BLOCK_FLUSH, 0, 0, NULL, 0), 0);
	block_close(guest.block);
	judge_metadata("disk.qcow2", true);
	note_flush(&guest);
	judge_data(&guest, "disk.qcow2,backing", host.count);
	end(&guest);
}

static void test_errors(void **state)
{
	(void)state;
	make_base();
	for (unsigned i = 0; i < 2; i++) {
		int error = i ? ENOSPC : EIO;

		run_faults(MAKE "cluster_size=64k disk.qcow2 1M", error);
		run_faults(MAKE "cluster_size=512 disk.qcow2 1M", error);
		run_faults(MAKE "cluster_size=512,refcount_bits=64 disk.qcow2 1M", error);
		run_faults(MAKE "compat=0.10,cluster_size=1k disk.qcow2 1M", error);
		run_faults("qemu-img create -q -f qcow2 -o cluster_size=4k -F raw -b base.raw "
			   "disk.qcow2", error);
		run_faults("qemu-img convert -c -O qcow2 base.raw disk.qcow2 && "
			   "qemu-img snapshot -c s disk.qcow2", error);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_crashes),
		cmocka_unit_test(test_crashes_in_layers),
		cmocka_unit_test(test_errors),
	};

	for (int i = 1; i + 1 < argc; i += 2) {
		if (!strcmp(argv[i], "--points"))
			points = (unsigned)strtoul(argv[i + 1], NULL, 0);
		else if (!strcmp(argv[i], "--steps"))
			steps = (unsigned)strtoul(argv[i + 1], NULL, 0);
		else if (!strcmp(argv[i], "--seed"))
			seed = strtoull(argv[i + 1], NULL, 0);
	}
	return cmocka_run_group_tests(tests, disk_directory_enter, disk_directory_leave);
}

/* SPDX-License-Identifier: MIT */
/*
 * Fuzz target: what a guest sends to 'ringlet cp'. It goes to a directory "in"; whatever the input is,
 * nothing but that is in its parent afterwards.
 */
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/copy.h"
#include "agent/wire.h"
#include "input.h"

#define NAMES_MAX 8u

static char top[] = "/tmp/fuzz-copy-XXXXXX";
static char inside[sizeof(top) + 3];
static uint8_t *data_buffer;
static bool opened;

static void must(bool ok)
{
	if (!ok)
		abort();
}

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *ftw)
{
	(void)status;
	(void)type;
	(void)ftw;
	return remove(path);
}

static void clean_up(void)
{
	nftw(top, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
	free(data_buffer);
}

/* Once a process. */
static void open_place(void)
{
	opened = true;
	data_buffer = malloc(AGENT_FRAME_MAX + 1);
	must(data_buffer && mkdtemp(top));
	snprintf(inside, sizeof(inside), "%s/in", top);
	atexit(clean_up);
}

static void check_place(void)
{
	DIR *dir = opendir(top);
	const struct dirent *entry;

	must(dir != NULL);
	while ((entry = readdir(dir)))
		must(!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..") ||
		     !strcmp(entry->d_name, "in"));
	closedir(dir);
}

/* A frame of the input's: mostly one that can be, with a name of a few. */
static void add_frame(int fd, struct fuzz_input *input)
{
	static const char *const names[NAMES_MAX] = { "", "a", "b", "..", "../a", "a/b", ".", "in" };
	uint8_t what = fuzz_u8(input), kind = fuzz_u8(input);
	char body[64] = { 0 };
	size_t len = (size_t)kind % 32;

	if (what & 0x80) {
		fuzz_take(input, body, len);
	} else {
		const char *name = names[kind % NAMES_MAX], *target = names[kind / 8 % NAMES_MAX];

		len = 4 + (size_t)snprintf(body + 4, 32, "%s", name);
		body[0] = (char)kind;
		if ((what & 31) == AGENT_LINK)
			len += 1 + (size_t)snprintf(body + len + 1, 16, "%s", target);
	}
	must(!agent_send(fd, what & 31, body, len));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct fuzz_input input = { bytes, size };
	struct agent_copy copy = { .fd = memfd_create("connection", MFD_CLOEXEC) };
	uint8_t how = fuzz_u8(&input);

	if (!opened)
		open_place();
	copy.data = data_buffer;
	must(copy.fd >= 0);
	if (how & 1)
		must(!mkdir(inside, 0700));
	if (how & 2)
		must(write(copy.fd, input.data, input.left) == (ssize_t)input.left);
	while (!(how & 2) && input.left)
		add_frame(copy.fd, &input);
	must(!lseek(copy.fd, 0, SEEK_SET));
	agent_copy_receive(&copy, inside, how & 4 ? "name" : "");
	close(copy.fd);
	check_place();
	nftw(inside, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
	return 0;
}

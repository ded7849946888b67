/* SPDX-License-Identifier: MIT */
/*
 * storm DEPTH WIDTH: a tree of processes. Each writes into memory that it shares with its parent by
 * copy on write and into a page that all share, checks that only the latter came through, and
 * reports its children with its own through its exit status and an atomic count.
 */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define PRIVATE_INTS 4096

struct shared {
	atomic_uint processes;
	atomic_uint broken;
};

static void branch(struct shared *shared, int *private, unsigned depth, unsigned width)
{
	int mine = getpid();

	atomic_fetch_add(&shared->processes, 1);
	for (unsigned i = 0; i < PRIVATE_INTS; i += 512)
		private[i] = mine;
	for (unsigned i = 0; depth && i < width; i++) {
		pid_t child = fork();

		if (child == 0) {
			branch(shared, private, depth - 1, width);
			_exit(0);
		}
		if (child < 0)
			atomic_fetch_add(&shared->broken, 1);
	}
	for (unsigned i = 0; depth && i < width; i++) {
		int status = -1;

		if (wait(&status) < 0 || status)
			atomic_fetch_add(&shared->broken, 1);
	}
	for (unsigned i = 0; i < PRIVATE_INTS; i += 512)
		if (private[i] != mine)
			atomic_fetch_add(&shared->broken, 1);
}

int main(int argc, char **argv)
{
	struct shared *shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
				     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int *private = malloc(PRIVATE_INTS * sizeof(*private));

	if (argc < 3 || shared == MAP_FAILED || !private)
		return 2;
	branch(shared, private, (unsigned)atoi(argv[1]), (unsigned)atoi(argv[2]));
	printf("processes=%u broken=%u\n", shared->processes, shared->broken);
	return shared->broken != 0;
}

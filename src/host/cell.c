/* SPDX-License-Identifier: MIT */
/* See cell.h. */
#include "host/cell.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"
#include "host/cpuid.h"
#include "host/handover.h"

/* Above all that the cell is given. */
#define SPARE_FD 16
#define CHECK_ALIVE_MS 200
/* So often, and it does not answer to a kick any more. */
#define PATIENCE 50
/*
 * The turn changes once or twice while we wait for it, and is given once; who does it more often wants
 * to keep us busy.
 */
#define TURNS_MOST 1000
/* The program's pages, the shared ones, and what is between them. */
#define PLACE_PAGES 1024u
#define BIRTH_STACK_BYTES (16u << 10)
#ifndef MFD_EXEC
#define MFD_EXEC 0x10u
#endif

/* The build puts the program of cell/ here. */
__asm__(".section .rodata\n"
	".globl cell_image_start, cell_image_end\n"
	"cell_image_start: .incbin \"" CELL_IMAGE "\"\n"
	"cell_image_end:\n"
	".previous\n");
extern const uint8_t cell_image_start[], cell_image_end[];

/*
 * This thread's number. Its pthread_t may be that of a thread that has ended, as when a paused
 * machine goes on, and with whom its cells have died. Asked for once, since each turn wants it.
 */
static pid_t my_number(void)
{
	static _Thread_local pid_t number;

	if (!number)
		number = gettid();
	return number;
}

/* ---- life ---- */

/* What a process is told that is to become a cell. */
struct birth {
	int image, shared, file;
	bool shares_files; /* has our descriptors, until it has left the listener there */
	struct cell *cell;
};

/* Between clone and exec, in its parent's memory, while the parent waits: nothing but system calls. */
static int become_cell(void *opaque)
{
	struct birth *birth = opaque;
	struct cell *cell = birth->cell;
	int image = birth->image, shared = birth->shared, file = birth->file;
	static char name[] = "ringlet cell";
	char *const argv[] = { name, NULL }, *const envp[] = { NULL };
	sigset_t all;

	/*
	 * Our handlers must not run here, and what a terminal sends is for us alone: the cell takes
	 * some back.
	 */
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	if (birth->shares_files) {
		cell->listener = handover_listen();
		cell->shared->hands_over = cell->listener >= 0;
		if (syscall(SYS_close_range, ~0u, ~0u, CLOSE_RANGE_UNSHARE))
			_exit(1);
	}
	image = fcntl(image, F_DUPFD_CLOEXEC, SPARE_FD);
	shared = fcntl(shared, F_DUPFD_CLOEXEC, SPARE_FD);
	file = fcntl(file, F_DUPFD_CLOEXEC, SPARE_FD);
	if (image >= 0 && dup2(shared, CELL_FD_SHARED) >= 0 && dup2(file, CELL_FD_MEMORY) >= 0) {
		/* The image's descriptor closes itself; 0 … 2 are nobody's business. */
		syscall(SYS_close_range, 0, CELL_FD_SHARED - 1, 0);
		syscall(SYS_close_range, CELL_FD_MEMORY + 1, image - 1, 0);
		syscall(SYS_close_range, image + 1, ~0u, 0);
		syscall(SYS_execveat, image, "", argv, envp, AT_EMPTY_PATH);
	}
	_exit(1);
}

/*
 * Where the cell's own pages are. Linux puts programs, heaps, stacks and libraries far above the
 * last one of these parts; below the first one are places that programs choose by themselves: V8's
 * random ones, garbage collectors' and sanitizers'.
 */
static int choose_place(uint64_t *place)
{
	const uint64_t first = 128, parts = 32, pages = 1ull << (CELL_PART_SHIFT - 12);
	uint64_t random[2];

	if (getrandom(random, sizeof(random), 0) != sizeof(random))
		return -errno;
	*place = (first + random[0] % parts) << CELL_PART_SHIFT;
	*place += random[1] % (pages - PLACE_PAGES) << 12;
	return 0;
}

/* The program runs wherever it is; Linux puts it where it says if it claims not to. */
static void claim_place(uint8_t *image, uint64_t place)
{
	Elf64_Ehdr *header = (Elf64_Ehdr *)image;
	Elf64_Phdr *segment = (Elf64_Phdr *)(image + header->e_phoff);

	header->e_type = ET_EXEC;
	header->e_entry += place;
	for (unsigned i = 0; i < header->e_phnum; i++) {
		segment[i].p_vaddr += place;
		segment[i].p_paddr += place;
	}
}

static int write_image(int fd, uint64_t place)
{
	size_t bytes = (size_t)(cell_image_end - cell_image_start);
	uint8_t *image = malloc(bytes);
	ssize_t written;

	if (!image)
		return -ENOMEM;
	memcpy(image, cell_image_start, bytes);
	claim_place(image, place);
	written = write(fd, image, bytes);
	free(image);
	return written == (ssize_t)bytes ? 0 : -EIO;
}

static int image_file(uint64_t place)
{
	int fd = memfd_create("ringlet cell", MFD_CLOEXEC | MFD_EXEC);

	if (fd < 0 && errno == EINVAL)
		fd = memfd_create("ringlet cell", MFD_CLOEXEC); /* Linux before 6.3 */
	if (fd >= 0 && write_image(fd, place)) {
		close(fd);
		fd = -1;
	}
	return fd;
}

static int clone_cell(struct cell *cell, struct birth *birth)
{
	uint8_t *stack = malloc(BIRTH_STACK_BYTES);
	int flags = CLONE_VM | CLONE_VFORK | (birth->shares_files ? CLONE_FILES : 0) | SIGCHLD, ret;

	if (!stack)
		return -ENOMEM;
	ret = clone(become_cell, stack + BIRTH_STACK_BYTES, flags, birth);
	cell->pid = ret;
	ret = ret < 0 ? -errno : 0;
	free(stack);
	return ret;
}

static int map_shared(struct cell *cell, int fd)
{
	void *memory;

	if (ftruncate(fd, sizeof(struct cell_shared)))
		return -errno;
	memory = mmap(NULL, sizeof(struct cell_shared), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (memory == MAP_FAILED)
		return -errno;
	cell->shared = memory;
	atomic_store(&cell->shared->turn, CELL_RUN);
	cell->shared->self = cell->self;
	cell->shared->key = cell->key;
	cell->shared->parent = (uint32_t)getpid();
	return 0;
}

static int spawn(struct cell *cell, uint64_t place, int file)
{
	struct birth birth = {
		.image = image_file(place),
		.shared = memfd_create("ringlet cell's memory", MFD_CLOEXEC),
		.file = file,
		/* Then they can be parted, too, in containers that refuse unshare. Linux 5.9. */
		.shares_files = !syscall(SYS_close_range, ~0u, ~0u, 0),
		.cell = cell,
	};
	int ret = birth.image < 0 || birth.shared < 0 ? -errno : 0;

	if (!ret)
		ret = map_shared(cell, birth.shared);
	if (!ret)
		ret = clone_cell(cell, &birth);
	if (birth.image >= 0)
		close(birth.image);
	if (birth.shared >= 0)
		close(birth.shared);
	return ret;
}

/*
 * Until cell_end it remains a zombie at least, so that its number is nobody else's: kicks go there.
 */
static bool is_alive(const struct cell *cell)
{
	siginfo_t info = { .si_pid = 0 };

	return cell->pid > 0 && !waitid(P_PID, (id_t)cell->pid, &info, WEXITED | WNOHANG | WNOWAIT) &&
	       !info.si_pid;
}

/*
 * After CHECK_ALIVE_MS in vain, is it to be waited for? If it was kicked, or says that it is our turn
 * and does not give it, so often as there is patience left.
 */
static bool may_answer(const struct cell *cell, unsigned *patience)
{
	bool should = atomic_load(&cell->kicked) || atomic_load(&cell->shared->turn) == CELL_OURS;

	return is_alive(cell) && !(should && --*patience == 0);
}

/*
 * A call that does not say that it is our turn is made anew, by a cell that was stopped meanwhile, or
 * it is guest code's, which has found where they are made.
 */
static bool wait_for_call(struct cell *cell)
{
	unsigned patience = PATIENCE, calls = 0;
	int ret;

	while (calls < TURNS_MOST) {
		ret = handover_wait(cell->listener, CHECK_ALIVE_MS, &cell->call);
		if (ret < 0 || (!ret && !may_answer(cell, &patience)))
			return false;
		if (!ret)
			continue;
		if (atomic_load(&cell->shared->turn) == CELL_OURS)
			return true;
		handover_answer(cell->listener, cell->call);
		calls++;
	}
	return false;
}

static bool wait_for_word(struct cell *cell)
{
	struct cell_shared *shared = cell->shared;
	const struct timespec timeout = { .tv_nsec = CHECK_ALIVE_MS * 1000000l };
	uint64_t start = __builtin_ia32_rdtsc();
	unsigned patience = PATIENCE, turns = 0;
	uint32_t turn;

	if (atomic_load(&shared->cell_sleeps))
		syscall(SYS_futex, &shared->turn, FUTEX_WAKE, 1, NULL, NULL, 0);
	while ((turn = atomic_load(&shared->turn)) != CELL_OURS) {
		if (__builtin_ia32_rdtsc() - start < cell->spin_ticks) {
			__builtin_ia32_pause();
			continue;
		}
		atomic_store(&shared->we_sleep, 1);
		if (syscall(SYS_futex, &shared->turn, FUTEX_WAIT, turn, &timeout, NULL, 0)) {
			if (errno == EAGAIN && ++turns == TURNS_MOST)
				return false;
			if (errno == ETIMEDOUT && !may_answer(cell, &patience))
				return false;
		}
		atomic_store(&shared->we_sleep, 0);
	}
	return true;
}

/* false: it is gone, or as good as that. */
static bool wait_for_turn(struct cell *cell)
{
	return cell->listener >= 0 ? wait_for_call(cell) : wait_for_word(cell);
}

static void remember(struct cell *cell)
{
	cell->is_protected = cell->shared->is_protected;
	cell->cpuid_faults = cell->shared->cpuid_faults;
	for (unsigned i = 0; i < CELL_RANGES; i++)
		cell->range[i] = cell->shared->range[i];
}

int cell_start(struct cell *cell, int file, struct error *err)
{
	uint64_t place = 0;
	int ret = choose_place(&place);

	*cell = (struct cell){ .pid = -1, .listener = -1, .owner = my_number(),
			       .self = place + CELL_FROM_IMAGE };
	if (!ret && getrandom(&cell->key, sizeof(cell->key), 0) != sizeof(cell->key))
		ret = -errno;
	if (!ret)
		ret = spawn(cell, place, file);
	if (!ret && !wait_for_turn(cell))
		ret = -ECHILD;
	if (!ret) {
		remember(cell);
		return 0;
	}
	cell_end(cell);
	return error_set_errno(err, -ret, "no process for direct execution");
}

void cell_end(struct cell *cell)
{
	int pid = atomic_exchange(&cell->pid, -1);

	/* Who saw the number sends its signal before it is somebody else's. */
	while (atomic_load(&cell->kickers))
		sched_yield();
	if (pid > 0) {
		kill(pid, SIGKILL);
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	if (cell->shared)
		munmap(cell->shared, sizeof(*cell->shared));
	cell->shared = NULL;
	if (cell->listener >= 0)
		close(cell->listener);
	cell->listener = -1;
}

bool cell_is_mine(const struct cell *cell)
{
	return cell->pid > 0 && cell->owner == my_number();
}

/* ---- turns ---- */

void cell_spin(struct cell *cell, uint32_t ticks)
{
	cell->spin_ticks = cell->shared->spin_ticks = ticks;
}

int cell_turn(struct cell *cell)
{
	struct cell_shared *shared = cell->shared;

	memcpy(shared->change, cell->change, cell->changes * sizeof(cell->change[0]));
	shared->changes = cell->changes;
	shared->key = cell->key;
	cell->changes = 0;
	shared->failed = 0;
	atomic_store(&cell->kicked, false);
	atomic_store(&shared->turn, CELL_RUN);
	if (cell->listener >= 0) {
		/* Else the host changes that twice a turn. */
		if (cell->cpuid_faults)
			cpuid_deny();
		handover_answer(cell->listener, cell->call);
	}
	if (!wait_for_turn(cell))
		return atomic_load(&shared->turn) == CELL_RUN ? -ESRCH : -ECHILD;
	return shared->failed ? -ENOMEM : 0;
}

void cell_kick(struct cell *cell)
{
	int pid;

	if (!atomic_load(&cell->runs))
		return;
	atomic_fetch_add(&cell->kickers, 1);
	pid = atomic_load(&cell->pid);
	/* A negative number would be everybody. */
	if (atomic_load(&cell->runs) && pid > 0) {
		atomic_store(&cell->kicked, true);
		kill(pid, SIGUSR1);
	}
	atomic_fetch_sub(&cell->kickers, 1);
}

/* SPDX-License-Identifier: MIT */
/* See cell.h. */
#include "host/cell.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"

/* Above all that the cell is given. */
#define SPARE_FD 16
#define CHECK_ALIVE_NS 200000000

/* The build puts the program of cell/ here. */
__asm__(".section .rodata\n"
	".globl cell_image_start, cell_image_end\n"
	"cell_image_start: .incbin \"" CELL_IMAGE "\"\n"
	"cell_image_end:\n"
	".previous\n");
extern const uint8_t cell_image_start[], cell_image_end[];

/*
 * This thread's number. Its pthread_t may be that of a thread that has ended, as when a paused machine goes
 * on, and with whom its cells have died. Asked for once, since each turn wants it.
 */
static pid_t my_number(void)
{
	static _Thread_local pid_t number;

	if (!number)
		number = gettid();
	return number;
}

/* ---- life ---- */

/* Between vfork and exec: nothing but system calls. */
static _Noreturn void become_cell(int image, int shared, int file)
{
	static char name[] = "ringlet cell";
	char *const argv[] = { name, NULL }, *const envp[] = { NULL };
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
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

static int image_file(void)
{
	size_t bytes = (size_t)(cell_image_end - cell_image_start);
	int fd = memfd_create("ringlet cell", MFD_CLOEXEC);

	if (fd >= 0 && write(fd, cell_image_start, bytes) != (ssize_t)bytes) {
		close(fd);
		fd = -1;
	}
	return fd;
}

/* Alone in its function, because vfork returns twice. */
static __attribute__((noinline)) int vfork_cell(int image, int shared, int file)
{
	int pid = vfork();

	if (!pid)
		become_cell(image, shared, file);
	return pid;
}

static int spawn(struct cell *cell, int file)
{
	int image = image_file(), shared = memfd_create("ringlet cell's memory", MFD_CLOEXEC);
	void *memory = MAP_FAILED;
	int ret = 0;

	if (image >= 0 && shared >= 0 && !ftruncate(shared, sizeof(struct cell_shared)))
		memory = mmap(NULL, sizeof(struct cell_shared), PROT_READ | PROT_WRITE, MAP_SHARED,
			      shared, 0);
	if (memory != MAP_FAILED) {
		cell->shared = memory;
		atomic_store(&cell->shared->turn, CELL_RUN);
		cell->pid = vfork_cell(image, shared, file);
	}
	if (memory == MAP_FAILED || cell->pid < 0)
		ret = -errno;
	if (image >= 0)
		close(image);
	if (shared >= 0)
		close(shared);
	return ret;
}

/* Until cell_end it remains a zombie at least, so that its number is nobody else's: kicks go there. */
static bool is_alive(const struct cell *cell)
{
	siginfo_t info = { .si_pid = 0 };

	return cell->pid > 0 && !waitid(P_PID, (id_t)cell->pid, &info, WEXITED | WNOHANG | WNOWAIT) &&
	       !info.si_pid;
}

static bool wait_for_turn(struct cell *cell)
{
	struct cell_shared *shared = cell->shared;
	const struct timespec patience = { .tv_nsec = CHECK_ALIVE_NS };
	uint64_t start = __builtin_ia32_rdtsc();
	uint32_t turn;

	while ((turn = atomic_load(&shared->turn)) != CELL_OURS) {
		if (__builtin_ia32_rdtsc() - start < shared->spin_ticks) {
			__builtin_ia32_pause();
			continue;
		}
		atomic_store(&shared->we_sleep, 1);
		if (syscall(SYS_futex, &shared->turn, FUTEX_WAIT, turn, &patience, NULL, 0) &&
		    errno == ETIMEDOUT && !is_alive(cell))
			return false;
		atomic_store(&shared->we_sleep, 0);
	}
	return true;
}

int cell_start(struct cell *cell, int file, struct error *err)
{
	int ret;

	*cell = (struct cell){ .pid = -1, .owner = my_number() };
	ret = spawn(cell, file);
	if (!ret && !wait_for_turn(cell))
		ret = -ECHILD;
	if (!ret)
		return 0;
	cell_end(cell);
	return error_set_errno(err, ENOTSUP, "no process for direct execution: error %d", -ret);
}

void cell_end(struct cell *cell)
{
	if (cell->pid > 0) {
		kill(cell->pid, SIGKILL);
		waitpid(cell->pid, NULL, 0);
	}
	if (cell->shared)
		munmap(cell->shared, sizeof(*cell->shared));
	*cell = (struct cell){ .pid = -1 };
}

bool cell_is_mine(const struct cell *cell)
{
	return cell->pid > 0 && cell->owner == my_number();
}

/* ---- turns ---- */

bool cell_turn(struct cell *cell, enum cell_turn turn)
{
	struct cell_shared *shared = cell->shared;

	atomic_store(&shared->turn, turn);
	if (atomic_load(&shared->cell_sleeps))
		syscall(SYS_futex, &shared->turn, FUTEX_WAKE, 1, NULL, NULL, 0);
	return wait_for_turn(cell);
}

void cell_kick(struct cell *cell)
{
	int pid = cell->pid;

	/* A negative number would be everybody. */
	if (atomic_load(&cell->runs) && pid > 0)
		kill(pid, SIGUSR1);
}

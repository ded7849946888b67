/* SPDX-License-Identifier: MIT */
/* Cells (host/cell.h), and what runs in them when it is hostile: it may know where everything lies. */
#include <cpuid.h>
#include <elf.h>
#include <errno.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/error.h"
#include "host/cell.h"
#include "host/handover.h"

#define CODE_AT 0x10000000ul
#define PAGE 4096ul
#define X32 0x40000000
#define URETPROBE 335 /* no filter sees these two */
#define UPROBE 336

/* Whether the host can hold calls, as far as the cells of these tests can see. */
static bool holds_calls;
int __real_handover_listen(void);
int __wrap_handover_listen(void);

int __wrap_handover_listen(void)
{
	return holds_calls ? __real_handover_listen() : -1;
}

struct fixture {
	struct cell cell;
	int file;
	uint8_t *code; /* the file's only page */
};

static int set_up(void **state)
{
	static struct fixture fixture;
	struct error err;

	fixture = (struct fixture){ .file = memfd_create("guest", 0) };
	assert_int_equal(ftruncate(fixture.file, PAGE), 0);
	fixture.code = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fixture.file, 0);
	assert_ptr_not_equal(fixture.code, MAP_FAILED);
	if (cell_start(&fixture.cell, fixture.file, &err))
		fail_msg("%s", err.message);
	*state = &fixture;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;

	cell_end(&fixture->cell);
	munmap(fixture->code, PAGE);
	close(fixture->file);
	return 0;
}

static greg_t *registers(struct fixture *fixture)
{
	struct cell_shared *shared = fixture->cell.shared;
	ucontext_t *context = (ucontext_t *)((uint8_t *)shared + (shared->context - fixture->cell.self));

	return context->uc_mcontext.gregs;
}

static void add_change(struct fixture *fixture, uint64_t linear, uint64_t offset, unsigned protection)
{
	fixture->cell.change[fixture->cell.changes++] =
		(struct cell_change){ linear, PAGE, offset, protection };
}

/* Code that will run at CODE_AT in the next turn. */
static void put_code(struct fixture *fixture, const void *code, size_t bytes)
{
	memcpy(fixture->code, code, bytes);
	add_change(fixture, CODE_AT, 0, PROT_READ | PROT_EXEC);
	registers(fixture)[REG_RIP] = CODE_AT;
}

#define PUT_CODE(fixture, ...)                                                                     \
	do {                                                                                       \
		static const uint8_t put_bytes[] = { __VA_ARGS__ };                                \
		put_code(fixture, put_bytes, sizeof(put_bytes));                                   \
	} while (0)

static void runs_code(void **state)
{
	struct fixture *fixture = *state;

	/* inc rax; ud2 */
	PUT_CODE(fixture, 0x48, 0xff, 0xc0, 0x0f, 0x0b);
	registers(fixture)[REG_RAX] = 41;
	assert_int_equal(cell_turn(&fixture->cell), 0);
	assert_int_equal(fixture->cell.shared->signal, SIGILL);
	assert_int_equal(registers(fixture)[REG_RAX], 42);
	assert_int_equal(registers(fixture)[REG_RIP], CODE_AT + 3);
}

/* Its own pages are where programs have nothing: above what V8 takes at random, below Linux's. */
static void is_out_of_the_way(void **state)
{
	const struct fixture *fixture = *state;
	const struct cell_range *range = fixture->cell.range;

	assert_in_range(fixture->cell.self, 1ull << 46, 0x500000000000);
	assert_int_equal(range[1].start, fixture->cell.self);
	assert_int_equal(range[0].start >> CELL_PART_SHIFT, fixture->cell.self >> CELL_PART_SHIFT);
	assert_int_equal((range[1].end - 1) >> CELL_PART_SHIFT, fixture->cell.self >> CELL_PART_SHIFT);
}

/* Calls of every kind come back, and are not made. */
static void makes_no_calls(void **state)
{
	const long numbers[] = { SYS_getpid, SYS_exit_group, SYS_mmap, SYS_munmap, SYS_rt_sigreturn,
				 SYS_futex, SYS_write | X32, URETPROBE, UPROBE, -1 };
	struct fixture *fixture = *state;

	for (unsigned i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		PUT_CODE(fixture, 0x0f, 0x05);
		registers(fixture)[REG_RAX] = numbers[i];
		assert_int_equal(cell_turn(&fixture->cell), 0);
		assert_int_equal(fixture->cell.shared->signal, SIGSYS);
		assert_int_equal(registers(fixture)[REG_RAX], numbers[i]);
		/* int 0x80, where 1 is exit */
		PUT_CODE(fixture, 0xcd, 0x80);
		registers(fixture)[REG_RAX] = 1;
		assert_int_equal(cell_turn(&fixture->cell), 0);
		assert_int_equal(fixture->cell.shared->signal, SIGSYS);
	}
}

/* The cell's own program, as a file; its code lies there as in memory. */
extern const uint8_t cell_image_start[];

static uint64_t text_end(void)
{
	const Elf64_Ehdr *header = (const Elf64_Ehdr *)cell_image_start;
	const Elf64_Phdr *segment = (const Elf64_Phdr *)(cell_image_start + header->e_phoff);

	while (!(segment->p_flags & PF_X))
		segment++;
	assert_int_equal(segment->p_offset, PAGE);
	assert_int_equal(segment->p_vaddr, PAGE);
	return segment->p_offset + segment->p_filesz;
}

/* Where the cell's own program has some bytes, from a place on; or 0. */
static uint64_t find_bytes(const struct fixture *fixture, uint64_t from, const char *what, size_t length)
{
	uint64_t start = fixture->cell.range[0].start, bytes = text_end();

	for (uint64_t at = PAGE; at + length <= bytes; at++)
		if (start + at >= from && !memcmp(cell_image_start + at, what, length))
			return start + at;
	return 0;
}

/* Where the cell's own code makes calls. */
static uint64_t find_syscall(const struct fixture *fixture)
{
	uint64_t at = find_bytes(fixture, 0, "\x0f\x05", 2);

	assert_true(at);
	return at;
}

/*
 * Who jumps to the cell's own calls gets nothing of the host's there, and of the guest's neither: it
 * lacks the key.
 */
static void makes_no_calls_of_its_own(void **state)
{
	struct fixture *fixture = *state;
	uint64_t at = find_syscall(fixture);
	const long calls[][4] = {
		{ SYS_getpid }, { SYS_exit_group }, { SYS_execve }, { SYS_kill, 1 },
		{ SYS_munmap }, { SYS_rt_sigreturn }, { SYS_rt_sigprocmask }, { SYS_futex },
		{ SYS_mmap, MAP_PRIVATE | MAP_ANONYMOUS, -1 },
		{ SYS_mmap, MAP_SHARED | MAP_FIXED | MAP_POPULATE, CELL_FD_SHARED },
		{ SYS_mmap, MAP_SHARED | MAP_FIXED | MAP_POPULATE | MAP_ANONYMOUS, CELL_FD_MEMORY },
		{ SYS_mmap, MAP_SHARED | MAP_FIXED | MAP_POPULATE, CELL_FD_MEMORY },
		{ SYS_mmap, MAP_SHARED | MAP_FIXED | MAP_POPULATE | 1l << 32, CELL_FD_MEMORY | 1l << 32 },
	};

	for (unsigned i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		greg_t *regs = registers(fixture);

		regs[REG_RIP] = (greg_t)at;
		regs[REG_RAX] = calls[i][0];
		regs[REG_RDI] = CODE_AT;
		regs[REG_RSI] = PAGE;
		regs[REG_RDX] = PROT_READ;
		regs[REG_R10] = calls[i][1];
		regs[REG_R8] = calls[i][2];
		regs[REG_R9] = 0;
		assert_int_equal(cell_turn(&fixture->cell), 0);
		assert_int_equal(fixture->cell.shared->signal, SIGSYS);
	}
}

/* The call that gives the turn gives nothing if it is not our turn, and is not made if another way is. */
static void gives_no_turn(void **state)
{
	struct fixture *fixture = *state;
	int signal = holds_calls ? SIGSEGV : SIGSYS;
	uint64_t at = find_syscall(fixture);
	greg_t *regs = registers(fixture);

	for (unsigned i = 0; i < 3; i++) {
		regs[REG_RIP] = (greg_t)at;
		regs[REG_RAX] = HANDOVER_CALL;
		regs[REG_RSI] = regs[REG_R14] = 0;
		assert_int_equal(cell_turn(&fixture->cell), 0);
		assert_int_equal(fixture->cell.shared->signal, signal);
		assert_int_equal(regs[REG_RAX], holds_calls ? 0 : HANDOVER_CALL);
		assert_in_range(regs[REG_RIP], at + 2, at + PAGE);
	}
}

/* The key is nowhere in the cell while guest code runs, though the cell has just used it. */
static void forgets_the_key(void **state)
{
	struct fixture *fixture = *state;
	const uint8_t *shared = (const uint8_t *)fixture->cell.shared;

	for (unsigned turn = 0; turn < 3; turn++) {
		PUT_CODE(fixture, 0x0f, 0x0b);
		add_change(fixture, CODE_AT, 0, PROT_READ | PROT_EXEC);
		assert_int_equal(cell_turn(&fixture->cell), 0);
		for (size_t i = 0; i + 4 <= sizeof(struct cell_shared); i++) {
			assert_memory_not_equal(shared + i, &fixture->cell.key, 4);
			assert_memory_not_equal(shared + i, (const uint8_t *)&fixture->cell.key + 4, 4);
		}
	}
}

struct kicker {
	struct cell *cell;
	_Atomic bool stop;
};

static void *kick_now_and_then(void *opaque)
{
	struct kicker *kicker = opaque;

	while (!atomic_load(&kicker->stop)) {
		usleep(1000);
		cell_kick(kicker->cell);
	}
	return NULL;
}

#define PKRU_OF_LINUX 0x55555554u /* all keys but 0 denied */

/* The rights that guest code will have, and had. They are in the frame's vector state. */
static uint8_t *rights(struct fixture *fixture)
{
	uint32_t eax, ebx, ecx, edx;
	greg_t *regs = registers(fixture);
	ucontext_t *context = (ucontext_t *)((uint8_t *)regs - offsetof(ucontext_t, uc_mcontext.gregs));
	uint64_t image = (uint64_t)context->uc_mcontext.fpregs - fixture->cell.self;

	__cpuid_count(0xd, 9, eax, ebx, ecx, edx);
	assert_int_equal(eax, 8);
	return (uint8_t *)fixture->cell.shared + image + ebx;
}

static void set_rights(struct fixture *fixture, uint32_t pkru)
{
	memcpy(rights(fixture), &pkru, sizeof(pkru));
}

static uint32_t get_rights(struct fixture *fixture)
{
	uint32_t pkru;

	memcpy(&pkru, rights(fixture), sizeof(pkru));
	return pkru;
}

/* mov eax, [rdi]; ud2 and mov [rdi], eax; ud2: all but the signal stack is not for guest code. */
static void touches_nothing(void **state)
{
	struct fixture *fixture = *state;
	struct cell_shared *shared = fixture->cell.shared;
	const size_t places[] = { 0, offsetof(struct cell_shared, key), offsetof(struct cell_shared, change),
				  offsetof(struct cell_shared, stack) - 4 };

	if (!fixture->cell.is_protected)
		skip();
	for (unsigned i = 0; i < 2 * sizeof(places) / sizeof(places[0]); i++) {
		const uint8_t code[] = { i % 2 ? 0x8b : 0x89, 0x07, 0x0f, 0x0b };
		uint64_t address = fixture->cell.self + places[i / 2];

		put_code(fixture, code, sizeof(code));
		set_rights(fixture, PKRU_OF_LINUX);
		registers(fixture)[REG_RDI] = (greg_t)address;
		assert_int_equal(cell_turn(&fixture->cell), 0);
		assert_int_equal(shared->signal, SIGSEGV);
		assert_int_equal(shared->code, SEGV_PKUERR);
		assert_int_equal(registers(fixture)[REG_CR2], address);
	}
}

#define FLAGS 0x202
#define TF 0x100
#define DF 0x400
#define AC 0x40000

/*
 * To take the right where the handler takes it is of no use: not all signals are blocked. Nor is it
 * to have oneself interrupted right behind that.
 */
static void takes_no_rights(void **state)
{
	struct fixture *fixture = *state;
	uint64_t at = find_bytes(fixture, 0, "\x0f\x01\xef", 3);
	greg_t *regs = registers(fixture);

	if (!fixture->cell.is_protected)
		skip();
	assert_true(at);
	assert_false(find_bytes(fixture, at + 1, "\x0f\x01\xef", 3));
	for (unsigned i = 0; i < 4; i++) {
		regs[REG_RIP] = (greg_t)at;
		regs[REG_RAX] = i % 2 ? PKRU_OF_LINUX : 0;
		regs[REG_RCX] = regs[REG_RDX] = 0;
		regs[REG_EFL] = i / 2 ? FLAGS | TF : FLAGS;
		assert_int_equal(cell_turn(&fixture->cell), 0);
		assert_int_equal(fixture->cell.shared->signal, i / 2 ? SIGTRAP : SIGILL);
		assert_in_range(regs[REG_RIP], at, at + PAGE);
		regs[REG_EFL] = FLAGS;
		touches_nothing(state);
	}
}

/* Which signals are blocked in the cell, as the kernel says. */
static uint64_t blocked(const struct fixture *fixture)
{
	unsigned long mask = 0;
	char path[32], line[128];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/status", fixture->cell.pid);
	file = fopen(path, "r");
	assert_non_null(file);
	while (fgets(line, sizeof(line), file) && sscanf(line, "SigBlk: %lx", &mask) != 1)
		;
	fclose(file);
	return mask;
}

/*
 * Guest code jumps to each byte of the cell's program. Only the handler gives the turn, with all
 * signals blocked; and what comes back as a page fault, after which it goes on with the rights that
 * it had, has taken none.
 */
static void jumps_anywhere(void **state)
{
	const greg_t flags[] = { FLAGS, FLAGS | TF, FLAGS | AC | DF };
	struct fixture *fixture = *state;
	greg_t *regs = registers(fixture);
	uint64_t handlers = blocked(fixture);
	struct kicker kicker = { .cell = &fixture->cell };
	pthread_t thread;

	if (!fixture->cell.is_protected)
		skip();
	assert_int_equal(pthread_create(&thread, NULL, kick_now_and_then, &kicker), 0);
	for (uint64_t at = PAGE; at < text_end(); at++) {
		for (unsigned reg = REG_R8; reg <= REG_RSP; reg++)
			regs[reg] = (greg_t)fixture->cell.self;
		regs[REG_RAX] = regs[REG_RCX] = regs[REG_RDX] = 0;
		regs[REG_RIP] = (greg_t)(fixture->cell.range[0].start + at);
		regs[REG_EFL] = flags[at % 3];
		set_rights(fixture, PKRU_OF_LINUX);
		atomic_store(&fixture->cell.runs, true);
		assert_int_equal(cell_turn(&fixture->cell), 0);
		atomic_store(&fixture->cell.runs, false);
		assert_int_equal(blocked(fixture), handlers);
		if (fixture->cell.shared->signal == SIGSEGV)
			assert_int_equal(get_rights(fixture), PKRU_OF_LINUX);
	}
	atomic_store(&kicker.stop, true);
	pthread_join(thread, NULL);
}

/* Guest code writes what it likes, says that it is our turn, and goes on: as if it had the right to. */
static void lies(void **state)
{
	struct fixture *fixture = *state;
	struct cell_shared *shared = fixture->cell.shared;
	struct kicker kicker = { .cell = &fixture->cell };
	pthread_t thread;

	/* mov [rdi], eax; mov dword [rsi], 0; jmp . */
	PUT_CODE(fixture, 0x89, 0x07, 0xc7, 0x06, 0, 0, 0, 0, 0xeb, 0xfe);
	if (fixture->cell.is_protected)
		set_rights(fixture, 0);
	registers(fixture)[REG_RAX] = -1;
	registers(fixture)[REG_RDI] = (greg_t)(fixture->cell.self + offsetof(struct cell_shared, changes));
	registers(fixture)[REG_RSI] = (greg_t)fixture->cell.self;
	fixture->cell.runs = true;
	assert_int_equal(pthread_create(&thread, NULL, kick_now_and_then, &kicker), 0);
	assert_int_equal(cell_turn(&fixture->cell), 0);
	assert_int_equal(shared->changes, ~0u);
	shared->self = 0;
	add_change(fixture, CODE_AT, 0, PROT_READ);
	/* It comes back from the lie, where that is heard of, or from a kick. */
	assert_int_equal(cell_turn(&fixture->cell), 0);
	atomic_store(&kicker.stop, true);
	pthread_join(thread, NULL);
	assert_int_equal(fixture->cell.changes, 0);
	assert_int_not_equal(fixture->cell.self, 0);
}

/* It has the key, and takes the signal stack away: no signal can be delivered any more. */
static void loses_its_stack(void **state)
{
	struct fixture *fixture = *state;
	greg_t *regs = registers(fixture);

	regs[REG_RIP] = (greg_t)find_syscall(fixture);
	regs[REG_RAX] = SYS_munmap;
	regs[REG_RDI] = (greg_t)fixture->cell.self;
	regs[REG_RSI] = sizeof(struct cell_shared);
	regs[REG_RDX] = (greg_t)fixture->cell.key;
	assert_int_equal(cell_turn(&fixture->cell), -ECHILD);
}

static void is_killed(void **state)
{
	struct fixture *fixture = *state;
	siginfo_t info;

	kill(fixture->cell.pid, SIGKILL);
	assert_int_equal(waitid(P_PID, (id_t)fixture->cell.pid, &info, WEXITED | WNOWAIT), 0);
	assert_int_equal(cell_turn(&fixture->cell), -ESRCH);
	assert_true(cell_is_mine(&fixture->cell));
	cell_end(&fixture->cell);
	assert_false(cell_is_mine(&fixture->cell));
	/* To nobody. */
	fixture->cell.runs = true;
	cell_kick(&fixture->cell);
}

static void *kick_on(void *opaque)
{
	struct kicker *kicker = opaque;

	while (!atomic_load(&kicker->stop))
		cell_kick(kicker->cell);
	return NULL;
}

/* No kick is lost, and none goes elsewhere when the cell ends meanwhile. */
static void is_kicked_by_all(void **state)
{
	struct fixture *fixture = *state;
	struct kicker kicker = { .cell = &fixture->cell };
	pthread_t threads[3];

	/* jmp . */
	PUT_CODE(fixture, 0xeb, 0xfe);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, kick_on, &kicker), 0);
	for (unsigned i = 0; i < 300; i++) {
		atomic_store(&fixture->cell.runs, true);
		assert_int_equal(cell_turn(&fixture->cell), 0);
		assert_int_equal(fixture->cell.shared->signal, SIGUSR1);
		assert_int_equal(registers(fixture)[REG_RIP], CODE_AT);
		atomic_store(&fixture->cell.runs, i % 2);
	}
	cell_end(&fixture->cell);
	atomic_store(&kicker.stop, true);
	for (unsigned i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
}

/* As the host does with a machine that is suspended, when it has the last one of its calls in hand. */
static pid_t stopped_at_ioctl;
int __real_ioctl(int fd, unsigned long request, void *argument);
int __wrap_ioctl(int fd, unsigned long request, void *argument);

int __wrap_ioctl(int fd, unsigned long request, void *argument)
{
	siginfo_t info;

	if (stopped_at_ioctl && request == SECCOMP_IOCTL_NOTIF_RECV) {
		kill(stopped_at_ioctl, SIGSTOP);
		assert_int_equal(waitid(P_PID, (id_t)stopped_at_ioctl, &info, WSTOPPED), 0);
		kill(stopped_at_ioctl, SIGCONT);
		stopped_at_ioctl = 0;
	}
	return __real_ioctl(fd, request, argument);
}

static void is_stopped_while_it_gives_the_turn(void **state)
{
	struct fixture *fixture = *state;

	for (unsigned i = 0; i < 3; i++) {
		stopped_at_ioctl = holds_calls ? fixture->cell.pid : 0;
		runs_code(state);
		assert_int_equal(stopped_at_ioctl, 0);
	}
}

/* Stopped and let go on, as when all processes of a machine are suspended: nothing is lost. */
static void is_stopped(void **state)
{
	struct fixture *fixture = *state;
	siginfo_t info;

	for (unsigned i = 0; i < 3; i++) {
		kill(fixture->cell.pid, SIGSTOP);
		assert_int_equal(waitid(P_PID, (id_t)fixture->cell.pid, &info, WSTOPPED), 0);
		kill(fixture->cell.pid, SIGCONT);
		if (i)
			usleep(10000); /* by now it has made its call anew */
		runs_code(state);
	}
}

/* What a terminal or a supervisor sends to the process group is not for it. */
static void is_not_meant(void **state)
{
	const int numbers[] = { SIGINT, SIGTERM, SIGHUP, SIGTSTP, SIGQUIT, SIGPIPE, SIGUSR2, SIGALRM };
	struct fixture *fixture = *state;

	for (unsigned i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		kill(fixture->cell.pid, numbers[i]);
	runs_code(state);
	assert_true(cell_is_mine(&fixture->cell));
}

#define NOBODY 65534u

/* Not even for a program that the host gives cores to: such a process's files are root's. */
static void leaves_no_core(void **state)
{
	struct fixture *fixture = *state;
	int status;

	if (!fork()) {
		struct cell cell;
		struct error err;
		struct stat stat_of;
		char path[32];

		if (!geteuid() && setresuid(NOBODY, NOBODY, NOBODY))
			_exit(1);
		if (cell_start(&cell, fixture->file, &err))
			_exit(2);
		snprintf(path, sizeof(path), "/proc/%d/mem", cell.pid);
		_exit(stat(path, &stat_of) || stat_of.st_uid ? 3 : 0);
	}
	assert_int_not_equal(wait(&status), -1);
	assert_int_equal(status, 0);
}

/* A change that the host refuses: nothing runs, and what was there before is told. */
static void cannot_change(void **state)
{
	struct fixture *fixture = *state;
	greg_t rip;

	runs_code(state);
	rip = registers(fixture)[REG_RIP];
	add_change(fixture, CODE_AT + 1, 0, PROT_READ);
	assert_int_equal(cell_turn(&fixture->cell), -ENOMEM);
	assert_int_equal(registers(fixture)[REG_RIP], rip);
	runs_code(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(runs_code, set_up, tear_down),
		cmocka_unit_test_setup_teardown(is_out_of_the_way, set_up, tear_down),
		cmocka_unit_test_setup_teardown(makes_no_calls, set_up, tear_down),
		cmocka_unit_test_setup_teardown(makes_no_calls_of_its_own, set_up, tear_down),
		cmocka_unit_test_setup_teardown(gives_no_turn, set_up, tear_down),
		cmocka_unit_test_setup_teardown(forgets_the_key, set_up, tear_down),
		cmocka_unit_test_setup_teardown(touches_nothing, set_up, tear_down),
		cmocka_unit_test_setup_teardown(takes_no_rights, set_up, tear_down),
		cmocka_unit_test_setup_teardown(jumps_anywhere, set_up, tear_down),
		cmocka_unit_test_setup_teardown(lies, set_up, tear_down),
		cmocka_unit_test_setup_teardown(loses_its_stack, set_up, tear_down),
		cmocka_unit_test_setup_teardown(is_killed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(is_kicked_by_all, set_up, tear_down),
		cmocka_unit_test_setup_teardown(is_stopped, set_up, tear_down),
		cmocka_unit_test_setup_teardown(is_stopped_while_it_gives_the_turn, set_up, tear_down),
		cmocka_unit_test_setup_teardown(is_not_meant, set_up, tear_down),
		cmocka_unit_test_setup_teardown(leaves_no_core, set_up, tear_down),
		cmocka_unit_test_setup_teardown(cannot_change, set_up, tear_down),
	};

	int failed = cmocka_run_group_tests_name("by the futex", tests, NULL, NULL);

	holds_calls = true;
	return failed + cmocka_run_group_tests_name("by the call", tests, NULL, NULL);
}

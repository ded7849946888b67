/* SPDX-License-Identifier: MIT */
/*
 * Runs the oracle. Without arguments: the quick run, as cmocka tests. With arguments: see usage.
 *
 * Case n of a seed is the same whatever the number of workers: worker w of j takes the batches w, w
 * + j … Each form in turn gives a case's first instruction, in an order that the seed shuffles.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "generate.h"

#define QUICK_CASES 50000u
#define QUICK_TRANSLATED_CASES 8000u
#define MAX_REPORTS 20u
#define ENGINE_LIFE 400u /* batches */

struct options {
	const char *engine;
	const char *replay, *regressions;
	const char *only; /* cases begin with mnemonics that begin so */
	uint64_t seed, cases;
	unsigned bits, jobs;
	bool list, counts;
	bool stubless; /* the engine's cache of host stubs is full from its first instruction on */
};

/* Shared by the workers. */
struct totals {
	uint64_t cases, instructions, exceptions, endless, differences, unrepeatable;
	uint64_t vectors[32];
	uint32_t completed[]; /* by form: times that it ran to its end as the first instruction */
};

struct worker {
	const struct options *options;
	const struct forms *forms;
	const uint32_t *order; /* of the forms that cases begin with */
	unsigned order_count;
	struct totals *totals;
	struct native *native;
	struct engine *engine;
	unsigned reports;
};

static void add(uint64_t *to, uint64_t value)
{
	__atomic_fetch_add(to, value, __ATOMIC_RELAXED);
}

/* ---- judging ---- */

static void report(struct worker *worker, const struct oracle_case *original)
{
	static struct outcome native, engine;
	struct oracle_case c = *original;
	char first[64];

	case_shrink(worker->native, worker->engine, &c);
	if (case_check(worker->native, worker->engine, &c, &native, &engine)) {
		add(&worker->totals->unrepeatable, 1);
		printf("not repeatable: ");
		case_write(stdout, original);
		return;
	}
	add(&worker->totals->differences, 1);
	outcome_equal(&native, &engine, first, sizeof(first));
	printf("DIFFERENT in %s:\n", first);
	case_disassemble(stdout, &c);
	outcome_print(stdout, &native, &engine);
	case_write(stdout, &c);
	printf("before it was made smaller:\n");
	case_write(stdout, original);
	fflush(stdout);
}

static void judge(struct worker *worker, const struct oracle_case *c, const struct outcome *native,
		  const struct outcome *engine)
{
	struct totals *totals = worker->totals;

	add(&totals->cases, 1);
	add(&totals->instructions, c->insns);
	if (native->kind == OUTCOME_STOPPED && native->vector < 32)
		add(&totals->vectors[native->vector], 1);
	if (native->kind != OUTCOME_STOPPED)
		add(&totals->endless, 1);
	if (c->form[0] >= 0 && native->kind == OUTCOME_STOPPED &&
	    native->rip != CODE_BASE + c->code_offset)
		__atomic_fetch_add(&totals->completed[c->form[0]], 1, __ATOMIC_RELAXED);
	if (outcome_equal(native, engine, NULL, 0))
		return;
	/* Once more: what does not happen again was a signal at the wrong time. */
	if (case_check(worker->native, worker->engine, c, NULL, NULL)) {
		add(&totals->unrepeatable, 1);
		return;
	}
	if (worker->reports++ < MAX_REPORTS)
		report(worker, c);
	else
		add(&totals->differences, 1);
}

static void run_batch(struct worker *worker, uint64_t first, unsigned count)
{
	static struct oracle_case cases[NATIVE_BATCH];
	static struct outcome engine[NATIVE_BATCH], native[NATIVE_BATCH];

	for (unsigned i = 0; i < count; i++) {
		uint64_t seed = worker->options->seed * 0x9e3779b97f4a7c15ull + first + i;
		unsigned form = worker->order[(first + i) % worker->order_count];

		generate_case(worker->forms, engine_cpu(worker->engine), form, seed, &cases[i]);
	}
	native_begin(worker->native, cases, count);
	for (unsigned i = 0; i < count; i++)
		engine_run(worker->engine, &cases[i], false, &engine[i]);
	memcpy(native, native_finish(worker->native), count * sizeof(native[0]));
	for (unsigned i = 0; i < count; i++)
		judge(worker, &cases[i], &native[i], &engine[i]);
}

/* ---- running ---- */

static bool open_engine(struct worker *worker)
{
	worker->engine = engine_create(worker->options->engine, native_pkru(worker->native));
	if (worker->engine && worker->options->stubless)
		engine_fill_stubs(worker->engine);
	return worker->engine;
}

static bool open_sides(struct worker *worker)
{
	worker->native = native_create();
	return worker->native && open_engine(worker);
}

static void close_sides(struct worker *worker)
{
	engine_destroy(worker->engine);
	native_destroy(worker->native);
}

/* Engines do not live for ever, so that full caches and empty ones are both met. */
static void renew_engine(struct worker *worker)
{
	engine_destroy(worker->engine);
	if (!open_engine(worker))
		exit(2);
}

static _Noreturn void run_worker(struct worker *worker, unsigned number)
{
	const struct options *options = worker->options;
	uint64_t batches = (options->cases + NATIVE_BATCH - 1) / NATIVE_BATCH;
	unsigned age = 0;

	prctl(PR_SET_PDEATHSIG, 9);
	if (!open_sides(worker))
		exit(2);
	for (uint64_t i = number; i < batches; i += options->jobs) {
		uint64_t first = i * NATIVE_BATCH, left = options->cases - first;

		run_batch(worker, first, left < NATIVE_BATCH ? (unsigned)left : NATIVE_BATCH);
		if (++age % ENGINE_LIFE == 0)
			renew_engine(worker);
	}
	close_sides(worker);
	fflush(stdout);
	_exit(0);
}

static uint32_t *shuffle(unsigned count, uint64_t seed)
{
	uint32_t *order = malloc(count * sizeof(*order));

	for (unsigned i = 0; order && i < count; i++) {
		unsigned j = random_below(&seed, i + 1);

		order[i] = order[j];
		order[j] = i;
	}
	return order;
}

/* Leaves those that were asked for; how many. */
static unsigned choose(const struct forms *forms, const char *only, uint32_t *order)
{
	unsigned count = 0;

	for (unsigned i = 0; i < forms->count; i++) {
		const char *name = ZydisMnemonicGetString(forms->form[order[i]].mnemonic);

		if (!only || !strncmp(name, only, strlen(only)))
			order[count++] = order[i];
	}
	return count;
}

static void print_totals(const struct options *options, const struct forms *forms,
			 const struct totals *totals, double seconds)
{
	unsigned completed = 0;

	for (unsigned i = 0; i < forms->count; i++)
		completed += totals->completed[i] != 0;
	printf("%u-bit code, engine %s, seed %lu: %lu cases, %lu instructions, %.0f s\n",
	       forms->bits, options->engine, options->seed, totals->cases, totals->instructions, seconds);
	printf("%u of %u forms ran to their end as a case's first instruction\n", completed,
	       forms->count);
	printf("ended by exception:");
	for (unsigned i = 0; i < 32; i++) {
		if (totals->vectors[i])
			printf(" %u:%lu", i, totals->vectors[i]);
	}
	printf("\n%lu without an end, %lu not repeatable, %lu DIFFERENT\n", totals->endless,
	       totals->unrepeatable, totals->differences);
	fflush(stdout);
}

static void print_counts(const struct forms *forms, const struct totals *totals)
{
	for (unsigned i = 0; i < forms->count; i++) {
		const struct template *t = &forms->form[i].template;

		if (!totals->completed[i])
			printf("never ran to its end: %s encoding %u map %u prefixes %u "
			       "opcode %02x modrm %02x w %u length %u b %u aaa %u z %u\n",
			       ZydisMnemonicGetString(forms->form[i].mnemonic), t->encoding,
			       t->map, t->prefixes, t->opcode, t->modrm, t->w, t->length, t->b,
			       t->aaa, t->z);
	}
}

static void print_exclusions(const struct forms *forms)
{
	printf("%u-bit code: %u forms; not tested:\n", forms->bits, forms->count);
	for (unsigned i = 0; i < forms->reasons; i++) {
		const struct excluded *excluded = &forms->excluded[i];

		printf("  %s: %u forms of", excluded->reason, excluded->forms);
		for (unsigned j = 0; j < excluded->mnemonics; j++)
			printf(" %s", ZydisMnemonicGetString(excluded->mnemonic[j]));
		printf("\n");
	}
}

/* The model is asked for what it has before there is an engine that could have one. */
static void find_forms(struct forms *forms, const struct options *options)
{
	struct engine *engine = engine_create(options->engine, 0);

	if (!engine)
		exit(2);
	forms_create(forms, engine_cpu(engine), options->bits);
	engine_destroy(engine);
}

/* A worker that is gone has left cases out. */
static int wait_for(unsigned jobs)
{
	int result = 0, status;

	for (unsigned i = 0; i < jobs; i++) {
		if (wait(&status) < 0)
			return 2;
		if (!status)
			continue;
		printf("A worker ended with %s %d: what is left of its cases did not run\n",
		       WIFSIGNALED(status) ? "signal" : "status",
		       WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
		result = 2;
	}
	return result;
}

/* 0: no differences; 1: some; 2: it could not be run. */
static int run(const struct options *options)
{
	struct forms forms;
	struct totals *totals;
	struct timespec begin, end;
	uint32_t *order;
	unsigned order_count;
	int result;

	find_forms(&forms, options);
	if (options->list)
		print_exclusions(&forms);
	totals = mmap(NULL, sizeof(*totals) + forms.count * sizeof(uint32_t),
		      PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	order = shuffle(forms.count, options->seed);
	if (totals == MAP_FAILED || !order)
		return 2;
	order_count = choose(&forms, options->only, order);
	if (!order_count)
		return 2;
	fflush(stdout);
	clock_gettime(CLOCK_MONOTONIC, &begin);
	for (unsigned i = 0; i < options->jobs; i++) {
		struct worker worker = { .options = options, .forms = &forms, .order = order,
					 .order_count = order_count, .totals = totals };

		if (!fork())
			run_worker(&worker, i);
	}
	result = wait_for(options->jobs);
	clock_gettime(CLOCK_MONOTONIC, &end);
	print_totals(options, &forms, totals, (double)(end.tv_sec - begin.tv_sec));
	if (options->counts)
		print_counts(&forms, totals);
	if (!result)
		result = totals->differences ? 1 : 0;
	munmap(totals, sizeof(*totals) + forms.count * sizeof(uint32_t));
	forms_destroy(&forms);
	free(order);
	return result;
}

/* ---- single cases ---- */

static int replay(const struct options *options, const char *text, bool always)
{
	static struct outcome native, engine;
	struct worker worker = { .options = options };
	struct oracle_case c;
	bool equal;

	if (!case_read(text, &c)) {
		fprintf(stderr, "oracle: no case: %s\n", text);
		return 2;
	}
	if (!open_sides(&worker))
		return 2;
	equal = case_check(worker.native, worker.engine, &c, &native, &engine);
	if (!equal || always) {
		case_disassemble(stdout, &c);
		outcome_print(stdout, &native, &engine);
		case_write(stdout, &c);
	}
	close_sides(&worker);
	return !equal;
}

/* Lines that begin with # are comments. */
static int replay_file(const struct options *options, const char *path)
{
	FILE *file = fopen(path, "r");
	char line[4096];
	int result = 0;

	if (!file) {
		fprintf(stderr, "oracle: %s: %s\n", path, strerror(errno));
		return 2;
	}
	while (fgets(line, sizeof(line), file)) {
		if (line[0] != '#' && line[0] != '\n')
			result |= replay(options, line, false);
	}
	fclose(file);
	return result;
}

/* ---- the two ways to be called ---- */

static void usage(void)
{
	puts("usage: test_oracle [--engine NAME] [--bits 64|32] [--seed N] [--cases N] [--jobs N]\n"
	     "                   [--only MNEMONIC] [--full-cache]\n"
	     "                   [--list] [--counts] [--replay CASE] [--regressions FILE]\n"
	     "Runs generated code natively and in an engine and compares. --list says what is not\n"
	     "tested, --counts which forms never ran to their end. --full-cache: with no room for stubs\n"
	     "that run host instructions. Status 1: a difference, 2: it could not be run whole.");
}

static bool parse(int argc, char **argv, struct options *options)
{
	for (int i = 1; i < argc; i++) {
		const char *name = argv[i], *value = i + 1 < argc ? argv[i + 1] : NULL;

		if (!strcmp(name, "--list") || !strcmp(name, "--counts")) {
			*(name[2] == 'l' ? &options->list : &options->counts) = true;
			continue;
		}
		if (!strcmp(name, "--full-cache")) {
			options->stubless = true;
			continue;
		}
		if (!value)
			return false;
		i++;
		if (!strcmp(name, "--engine"))
			options->engine = value;
		else if (!strcmp(name, "--bits"))
			options->bits = (unsigned)strtoul(value, NULL, 10);
		else if (!strcmp(name, "--seed"))
			options->seed = strtoull(value, NULL, 0);
		else if (!strcmp(name, "--cases"))
			options->cases = strtoull(value, NULL, 0);
		else if (!strcmp(name, "--only"))
			options->only = value;
		else if (!strcmp(name, "--jobs"))
			options->jobs = (unsigned)strtoul(value, NULL, 0);
		else if (!strcmp(name, "--replay"))
			options->replay = value;
		else if (!strcmp(name, "--regressions"))
			options->regressions = value;
		else
			return false;
	}
	return (options->bits == 64 || options->bits == 32) && options->jobs;
}

static const struct options defaults = { .engine = "interp", .bits = 64, .seed = 1,
					 .cases = QUICK_CASES, .jobs = 2 };

/*
 * In a process of its own: the engine catches signals once in a process, and cmocka puts its own
 * handlers back for each test.
 */
static int run_apart(const struct options *options)
{
	pid_t child;
	int status;

	fflush(stdout);
	child = fork();
	if (!child) {
		status = options->regressions ? replay_file(options, options->regressions) :
						run(options);
		fflush(stdout);
		_exit(status);
	}
	if (child < 0 || waitpid(child, &status, 0) != child)
		return 2;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 2;
}

static void code_of_64_bits(void **state)
{
	(void)state;
	assert_int_equal(run_apart(&defaults), 0);
}

static void code_of_32_bits(void **state)
{
	struct options options = defaults;

	(void)state;
	options.bits = 32;
	assert_int_equal(run_apart(&options), 0);
}

static void cases_that_once_differed(void **state)
{
	struct options options = defaults;

	(void)state;
	options.regressions = "tests/oracle/regressions.txt";
	assert_int_equal(run_apart(&options), 0);
}

static void translated_code_of_64_bits(void **state)
{
	struct options options = defaults;

	(void)state;
	options.engine = "translate";
	options.cases = QUICK_TRANSLATED_CASES;
	assert_int_equal(run_apart(&options), 0);
}

static void translated_code_without_room_for_stubs(void **state)
{
	struct options options = defaults;

	(void)state;
	options.engine = "translate";
	options.cases = QUICK_TRANSLATED_CASES;
	options.stubless = true;
	assert_int_equal(run_apart(&options), 0);
}

static void translated_code_of_32_bits(void **state)
{
	struct options options = defaults;

	(void)state;
	options.engine = "translate";
	options.bits = 32;
	options.cases = QUICK_TRANSLATED_CASES;
	assert_int_equal(run_apart(&options), 0);
}

static void translated_cases_that_once_differed(void **state)
{
	struct options options = defaults;

	(void)state;
	options.engine = "translate";
	options.regressions = "tests/oracle/regressions.txt";
	assert_int_equal(run_apart(&options), 0);
}

int main(int argc, char **argv)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(cases_that_once_differed),
		cmocka_unit_test(code_of_64_bits),
		cmocka_unit_test(code_of_32_bits),
		cmocka_unit_test(translated_cases_that_once_differed),
		cmocka_unit_test(translated_code_of_64_bits),
		cmocka_unit_test(translated_code_without_room_for_stubs),
		cmocka_unit_test(translated_code_of_32_bits),
	};
	struct options options = defaults;

	if (argc == 1)
		return cmocka_run_group_tests(tests, NULL, NULL);
	if (!parse(argc, argv, &options)) {
		usage();
		return 2;
	}
	if (options.replay)
		return replay(&options, options.replay, true);
	if (options.regressions)
		return replay_file(&options, options.regressions);
	return run(&options);
}

/* SPDX-License-Identifier: MIT */
/*
 * Several processors, "cpus=N" on the command line: INIT and SIPI, locked counters, memory order, code changed by another processor,
 * TLB shoot-downs, IPIs of each destination kind, HLT ping-pong, NMI and INIT from outside.
 * Intel SDM vol. 3, 8.2, 8.4, 10.6, 4.10.5.
 */
#include "guest.h"

#define CPUS_MAX 4
#define ROUNDS 20000
#define TEST (1ul << 39)
#define FRAME 0x800000ul
#define CODE_AT (TEST + 0x103) /* its immediate is aligned */
#define LOOP_AT (TEST + 0x200)
#define VECTOR_PING 0x41
#define VECTOR_FLUSH 0x42
#define VECTOR_COUNT 0x43

enum job { IDLE, COUNT, SPLIT, ORDER, RUN_CODE, LOOP, READ_PAGE, PING, LISTEN, HALT_FOREVER };

extern word boot_pml4[512];
static word level[3][512] __attribute__((aligned(4096)));
static enum job job;
static unsigned job_number, finished, alive;
static uint32_t counter, tickets, plain, guarded;
static uint8_t split[128] __attribute__((aligned(64)));
static volatile unsigned received[CPUS_MAX], flushed, good[CPUS_MAX], pings[CPUS_MAX];
static volatile bool stop, wrong;
static unsigned cpus; /* 2 to CPUS_MAX */

static unsigned self(void)
{
	return apic_read(APIC_ID) >> 24;
}

static bool on_ping(struct frame *frame)
{
	(void)frame;
	__atomic_fetch_add(&pings[self()], 1, __ATOMIC_SEQ_CST);
	apic_write(APIC_EOI, 0);
	return true;
}

static bool on_flush(struct frame *frame)
{
	(void)frame;
	invlpg((void *)TEST);
	__atomic_fetch_add(&flushed, 1, __ATOMIC_SEQ_CST);
	apic_write(APIC_EOI, 0);
	return true;
}

static bool on_count(struct frame *frame)
{
	(void)frame;
	__atomic_fetch_add(&received[self()], 1, __ATOMIC_SEQ_CST);
	apic_write(APIC_EOI, 0);
	return true;
}

static void send(unsigned id, uint32_t command)
{
	apic_write(APIC_ICR_HIGH, id << 24);
	apic_write(APIC_ICR, command);
	WAIT(!(apic_read(APIC_ICR) & 1 << 12));
}

/* ---- jobs: each runs on all processors at once ---- */

static void do_count(void)
{
	for (unsigned i = 0; i < ROUNDS; i++) {
		asm volatile("lock incl %0" : "+m"(counter));
		__atomic_fetch_add(&tickets, 3, __ATOMIC_SEQ_CST);
		/* a lock around what is none */
		while (__atomic_exchange_n(&plain, 1, __ATOMIC_SEQ_CST))
			asm volatile("pause");
		guarded++;
		__atomic_store_n(&plain, 0, __ATOMIC_SEQ_CST);
	}
}

/* A locked operation on a word that lies in two cache lines. */
static void do_split(void)
{
	for (unsigned i = 0; i < ROUNDS / 10; i++)
		asm volatile("lock addl $1, %0" : "+m"(*(uint32_t *)(split + 62)));
}

/* Until both processors of a pair have come this far. */
static void meet(uint32_t *arrived, uint32_t all)
{
	__atomic_fetch_add(arrived, 1, __ATOMIC_SEQ_CST);
	while (__atomic_load_n(arrived, __ATOMIC_SEQ_CST) < all)
		asm volatile("pause");
}

/* The classic: with MFENCE between a store and a load, not both may miss the other's store. */
static void do_order(unsigned id)
{
	static uint32_t x, y, saw[2], arrived;

	if (id > 1)
		return;
	for (uint32_t i = 0; i < 2000; i++) {
		if (id == 0)
			ONCE(x) = ONCE(y) = 0;
		meet(&arrived, 4 * i + 2);
		ONCE(*(id ? &y : &x)) = 1;
		asm volatile("mfence" : : : "memory");
		ONCE(saw[id]) = ONCE(*(id ? &x : &y));
		meet(&arrived, 4 * i + 4);
		if (!ONCE(saw[0]) && !ONCE(saw[1]))
			wrong = true;
	}
}

static void do_run_code(unsigned id)
{
	uint32_t value = 0, last = 0;

	while (!ONCE(stop)) {
		asm volatile("call *%1" : "=a"(value) : "r"(CODE_AT) : "memory");
		if (value < last)
			wrong = true;
		last = value;
		asm volatile("pause");
	}
	asm volatile("call *%1" : "=a"(value) : "r"(CODE_AT) : "memory");
	good[id] = value == 1000;
}

/* Round and round until another processor makes the jump something else. */
static void do_loop(unsigned id)
{
	good[id] = 1;
	asm volatile("call *%0" : : "r"(LOOP_AT) : "memory");
	good[id] = 2;
}

static void do_read_page(unsigned id)
{
	asm volatile("sti");
	while (!ONCE(stop))
		good[id] += *(volatile uint8_t *)TEST == 0xaa;
	asm volatile("cli");
	good[id] = *(volatile uint8_t *)TEST == 0xbb;
}

static void do_ping(unsigned id)
{
	/* Each wakes the next one, and halts until it is its turn again. */
	for (unsigned i = 0; i < 200; i++) {
		while (ONCE(pings[id]) <= i)
			asm volatile("sti; hlt; cli" : : : "memory");
		send((id + 1) % cpus, VECTOR_PING);
	}
}

static void do_listen(void)
{
	asm volatile("sti");
	while (!ONCE(stop))
		asm volatile("pause");
	asm volatile("cli");
}

static void work(unsigned id, enum job what)
{
	switch (what) {
	case COUNT: do_count(); break;
	case SPLIT: do_split(); break;
	case ORDER: do_order(id); break;
	case RUN_CODE: do_run_code(id); break;
	case LOOP: do_loop(id); break;
	case READ_PAGE: do_read_page(id); break;
	case PING: do_ping(id); break;
	case LISTEN: do_listen(); break;
	default: break;
	}
	__atomic_fetch_add(&finished, 1, __ATOMIC_SEQ_CST);
}

static void ap(unsigned id)
{
	unsigned done = 0;

	apic_write(APIC_SVR, 0x1ff);
	apic_write(0xd0, 1u << (24 + id));
	__atomic_fetch_add(&alive, 1, __ATOMIC_SEQ_CST);
	for (;;) {
		while (__atomic_load_n(&job_number, __ATOMIC_SEQ_CST) == done)
			asm volatile("pause");
		done++;
		if (job == HALT_FOREVER)
			return;
		work(id, job);
	}
}

static void begin(enum job what)
{
	finished = 0;
	stop = wrong = false;
	job = what;
	__atomic_fetch_add(&job_number, 1, __ATOMIC_SEQ_CST);
}

static bool all_finished(unsigned n)
{
	for (unsigned i = 0; i < 10; i++)
		if (WAIT(ONCE(finished) == n))
			return true;
	return false;
}

static void counters(void)
{
	begin(COUNT);
	work(0, COUNT);
	CHECK(all_finished(cpus));
	CHECK_EQ(counter, cpus * ROUNDS);
	CHECK_EQ(tickets, 3 * cpus * ROUNDS);
	CHECK_EQ(guarded, cpus * ROUNDS);
	*(uint32_t *)(split + 62) = 0;
	begin(SPLIT);
	work(0, SPLIT);
	CHECK(all_finished(cpus));
	CHECK_EQ(*(uint32_t *)(split + 62), cpus * (ROUNDS / 10));
}

static void ordering(void)
{
	begin(ORDER);
	work(0, ORDER);
	CHECK(all_finished(cpus));
	CHECK(!wrong);
}

static void emit_value(word at, uint32_t value)
{
	*(volatile uint8_t *)at = 0xb8;
	*(volatile uint32_t *)(at + 1) = value;
	*(volatile uint8_t *)(at + 5) = 0xc3;
}

/* The others run it while it is changed, by aligned stores of its immediate. */
static void changed_code(void)
{
	emit_value(CODE_AT, 0);
	begin(RUN_CODE);
	for (uint32_t i = 1; i <= 1000; i++) {
		*(volatile uint32_t *)(CODE_AT + 1) = i;
		asm volatile("pause");
	}
	ONCE(stop) = true;
	CHECK(all_finished(cpus - 1));
	CHECK_EQ(good[1] + good[2] + good[3], cpus - 1);
}

static void end_a_loop(void)
{
	*(volatile uint32_t *)LOOP_AT = 0xfceb90f3; /* pause; jmp here */
	*(volatile uint8_t *)(LOOP_AT + 4) = 0xc3;
	good[1] = good[2] = good[3] = 0;
	begin(LOOP);
	CHECK(WAIT(ONCE(good[1]) + ONCE(good[2]) + ONCE(good[3]) == cpus - 1));
	for (unsigned i = 0; i < ROUNDS; i++)
		asm volatile("pause");
	CHECK_EQ(good[1] + good[2] + good[3], cpus - 1);
	*(volatile uint16_t *)(LOOP_AT + 2) = 0x9090;
	CHECK(all_finished(cpus - 1));
	CHECK_EQ(good[1] + good[2] + good[3], 2 * (cpus - 1));
}

static void shoot_down(void)
{
	*(volatile uint8_t *)FRAME = 0xaa;
	*(volatile uint8_t *)(FRAME + 0x1000) = 0xbb;
	hook[VECTOR_FLUSH] = on_flush;
	flushed = good[1] = good[2] = good[3] = 0;
	begin(READ_PAGE);
	for (unsigned i = 1; i < cpus; i++)
		CHECK(WAIT(ONCE(good[i])));
	level[2][0] = (FRAME + 0x1000) | 7;
	send(0, 0xc4000 | VECTOR_FLUSH); /* all but self */
	CHECK(WAIT(ONCE(flushed) == cpus - 1));
	ONCE(stop) = true;
	CHECK(all_finished(cpus - 1));
	CHECK_EQ(good[1] + good[2] + good[3], cpus - 1);
	level[2][0] = FRAME | 7;
	invlpg((void *)TEST);
}

/* Of four processors. */
static void destinations(void)
{
	hook[VECTOR_COUNT] = on_count;
	begin(LISTEN);
	asm volatile("sti");
	send(2, 0x4000 | VECTOR_COUNT);
	CHECK(WAIT(ONCE(received[2]) == 1));
	send(0, 0x84000 | VECTOR_COUNT); /* all */
	CHECK(WAIT(received[0] == 1 && ONCE(received[1]) == 1 && ONCE(received[2]) == 2 &&
		   ONCE(received[3]) == 1));
	send(0x0a, 0x4800 | VECTOR_COUNT); /* logical: processors 1 and 3 */
	CHECK(WAIT(ONCE(received[1]) == 2 && ONCE(received[3]) == 2));
	send(0xff, 0x4000 | VECTOR_COUNT); /* physical broadcast */
	CHECK(WAIT(received[0] == 2 && ONCE(received[1]) == 3 && ONCE(received[2]) == 3 &&
		   ONCE(received[3]) == 3));
	send(0x0f, 0x4900 | VECTOR_COUNT); /* lowest priority: one of them */
	CHECK(WAIT(received[0] + ONCE(received[1]) + ONCE(received[2]) + ONCE(received[3]) == 12));
	send(9, 0x4000 | VECTOR_COUNT); /* nobody */
	asm volatile("cli");
	ONCE(stop) = true;
	CHECK(all_finished(cpus - 1));
	CHECK_EQ(received[0] + received[1] + received[2] + received[3], 12);
}

static void ping_pong(void)
{
	hook[VECTOR_PING] = on_ping;
	begin(PING);
	pings[0] = 1; /* the ball */
	work(0, PING);
	CHECK(all_finished(cpus));
	for (unsigned i = 1; i < cpus; i++)
		CHECK_EQ(pings[i], 200);
}

static bool on_nmi(struct frame *frame)
{
	(void)frame;
	__atomic_fetch_add(&received[self()], 100, __ATOMIC_SEQ_CST);
	return true;
}

static void from_outside(void)
{
	unsigned before = alive, last = cpus - 1;

	hook[NMI] = on_nmi;
	received[last] = 0;
	send(last, 0x4400); /* NMI, with its interrupts off */
	CHECK(WAIT(ONCE(received[last]) == 100));
	/* INIT and SIPI start it anew. */
	send(last, 0xc500);
	for (uint64_t start = rdtsc(); rdtsc() - start < 10000000;)
		;
	CHECK_EQ(ONCE(alive), before);
	send(last, 0x4608);
	CHECK(WAIT(ONCE(alive) == before + 1));
	/* A SIPI to one that is not waiting for it does nothing. */
	send(last, 0x4608);
	for (uint64_t start = rdtsc(); rdtsc() - start < 10000000;)
		;
	CHECK_EQ(ONCE(alive), before + 1);
}

void guest_main(void)
{
	boot_pml4[1] = (word)level[0] | 7;
	level[0][0] = (word)level[1] | 7;
	level[1][0] = (word)level[2] | 7;
	level[2][0] = FRAME | 7;
	WRITE_REG(cr3, READ_REG(cr3));
	cpus = smp_wanted();
	CHECK(cpus >= 2 && cpus <= CPUS_MAX);
	CHECK_EQ(smp_start(ap, cpus - 1), cpus - 1);
	CHECK(WAIT(ONCE(alive) == cpus - 1));
	apic_write(0xd0, 1u << 24);
	counters();
	ordering();
	changed_code();
	end_a_loop();
	shoot_down();
	if (cpus == 4)
		destinations();
	ping_pong();
	from_outside();
}

/* SPDX-License-Identifier: MIT */
/*
 * How fast the host's time-stamp counter runs, and where it is. Runs before the guest does, or while it
 * stands.
 */
#include <cpuid.h>
#include <pthread.h>

#include "host/clock.h"
#include "isa/x86/cpuid/cpuid_model.h"

#define MEASURE_NS 10000000ull
#define HYPERVISOR_TIMING 0x40000010u

/* Leaf 15H, where the processor fills it in whole. */
static uint64_t from_crystal(void)
{
	uint32_t regs[4];

	x86_host_cpuid(0x15, 0, regs);
	if (!regs[X86_EAX] || !regs[X86_EBX])
		return 0;
	return (uint64_t)regs[X86_ECX] * regs[X86_EBX] / regs[X86_EAX];
}

/* The hypervisors' common leaf: kHz in EAX. */
static uint64_t from_hypervisor(void)
{
	uint32_t a, b, c, d;

	__cpuid(1, a, b, c, d);
	if (!(c & 1u << 31))
		return 0;
	__cpuid(0x40000000, a, b, c, d);
	if (a < HYPERVISOR_TIMING || a >= 0x40010000)
		return 0;
	__cpuid(HYPERVISOR_TIMING, a, b, c, d);
	return (uint64_t)a * 1000;
}

struct sample {
	uint64_t tsc, ns, spread;
};

/* The clock and the counter at one moment: of several tries, the one that was interrupted least. */
static struct sample sample(void)
{
	struct sample best = { .spread = ~0ull };

	for (unsigned i = 0; i < 16; i++) {
		uint64_t before = __builtin_ia32_rdtsc();
		uint64_t ns = clock_now_ns();
		uint64_t after = __builtin_ia32_rdtsc();

		if (after - before < best.spread)
			best = (struct sample){ before + (after - before) / 2, ns, after - before };
	}
	return best;
}

static uint64_t measure(void)
{
	struct sample start = sample(), end;
	uint64_t hz;

	while (clock_now_ns() - start.ns < MEASURE_NS)
		;
	end = sample();
	hz = (uint64_t)((unsigned __int128)(end.tsc - start.tsc) * CLOCK_NS_PER_S /
			(end.ns - start.ns));
	/* Guests reckon in kHz; a whole number of them loses nothing on the way. */
	return (hz + 500) / 1000 * 1000;
}

/* A constant of the host, found out once: CPUs that disagreed on it could not share a clock. */
static uint64_t host_hz;

/* What somebody who knows said before anyone asked. */
static uint64_t known_hz;

static void find(void)
{
	host_hz = known_hz ? known_hz : from_crystal();
	if (!host_hz)
		host_hz = from_hypervisor();
	if (host_hz < 100000000)
		host_hz = measure();
}

void x86_host_tsc_sample(uint64_t *tsc, uint64_t *ns)
{
	struct sample now = sample();

	*tsc = now.tsc;
	*ns = now.ns;
}

uint64_t x86_host_tsc_hz(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, find);
	return host_hz;
}

void x86_host_tsc_known(uint64_t hz)
{
	known_hz = hz;
}

uint64_t x86_crystal_hz(uint64_t tsc_hz)
{
	/* Leaf 15H has 32 bits for it. */
	return tsc_hz / (1 + (tsc_hz >> 32));
}

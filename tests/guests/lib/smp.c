/* SPDX-License-Identifier: MIT */
/* Starting the other processors. */
#include "guest.h"

#define AP_PAGE 0x8000ul
#define ICR_INIT 0x000c4500
#define ICR_STARTUP 0x000c4600

extern char ap_code[], ap_code_end[];
void ap_main(void);

static void (*ap_fn)(unsigned id);
static unsigned ap_up;

void ap_main(void)
{
	unsigned id = apic_read(APIC_ID) >> 24;

	__atomic_fetch_add(&ap_up, 1, __ATOMIC_SEQ_CST);
	ap_fn(id);
}

unsigned smp_start(void (*fn)(unsigned id), unsigned others)
{
	char *page = (char *)AP_PAGE;

	ap_fn = fn;
	for (size_t i = 0; i < (size_t)(ap_code_end - ap_code); i++)
		page[i] = ap_code[i];
	apic_write(APIC_SVR, 0x1ff);
	apic_write(APIC_ICR, ICR_INIT);
	for (uint64_t start = rdtsc(); rdtsc() - start < 30000000;)
		;
	apic_write(APIC_ICR, ICR_STARTUP | AP_PAGE >> 12);
	WAIT(ONCE(ap_up) == others);
	return ONCE(ap_up);
}

unsigned smp_wanted(void)
{
	const char *line = *(const char **)(boot_info + 16);

	while (line[1])
		line++;
	return (unsigned)(*line - '0');
}

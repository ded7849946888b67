/* SPDX-License-Identifier: MIT */
/* #AC: when it is on, for whom, by which size. Intel SDM vol. 3, 6.15 (interrupt 17). */
#include "guest.h"

#define ON (ACF | 2)

CODE(u_word, "mov record + 1, %ax; int $0x80");
CODE(u_dword, "mov record + 2, %eax; int $0x80");
CODE(u_dword_ok, "mov record + 4, %eax; mov record + 8, %rax; mov record + 1, %al; int $0x80");
CODE(u_qword, "mov record + 4, %rax; int $0x80");
CODE(u_store, "mov %eax, record + 3; int $0x80");
CODE(u_locked, "lock incl record + 2; int $0x80");
CODE(u_string, "mov $record + 1, %esi; mov $record, %edi; lodsw; int $0x80");
CODE(u_push, "dec %rsp; push %rax; int $0x80");
CODE(u_bts, "mov $32, %eax; bts %eax, record + 2; int $0x80");
CODE(u_cmpxchg16, "cmpxchg16b record + 8; int $0x80");
CODE(u_popf, "pushf; orl $0x40000, (%rsp); popf; u_p: mov record + 1, %eax; int $0x80");
extern char u_p[];

static void faults(const void *code, word offset, int line)
{
	unsigned vector = user_flags(code, ON);

	check_equal(vector, AC, "vector", line);
	check_equal(caught.error, 0, "error", line);
	check_equal(caught.ip, AT(code) + offset, "ip", line);
}
#define FAULTS(code, offset) faults(code, offset, __LINE__)

void guest_main(void)
{
	CHECK_EQ(user_flags(u_dword, ON), USER_DONE); /* CR0.AM is clear */
	WRITE_REG(cr0, READ_REG(cr0) | CR0_AM);
	CHECK_EQ(user_flags(u_dword, 2), USER_DONE); /* AC is clear */
	FAULTS(u_word, 0);
	FAULTS(u_dword, 0);
	FAULTS(u_qword, 0);
	FAULTS(u_store, 0);
	FAULTS(u_locked, 0);
	FAULTS(u_string, 10);
	FAULTS(u_push, 3);
	FAULTS(u_popf, AT(u_p) - AT(u_popf));
	FAULTS(u_bts, 5);
	CHECK_EQ(user_flags(u_dword_ok, ON), USER_DONE);
	CHECK_EQ(user_flags(u_cmpxchg16, ON), GP); /* its own rule */
	/* Not in ring 0. */
	write_flags(ACF | 2);
	EXPECT(NONE, 0, "mov record + 1, %%eax", "r"(0));
	write_flags(2);
	WRITE_REG(cr0, READ_REG(cr0) & ~CR0_AM);
}

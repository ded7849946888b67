/* SPDX-License-Identifier: MIT */
/*
 * What every bare-metal guest has: a flat GDT, an IDT whose handlers record what happened, checks
 * that report over COM1, and an end through the debug-exit port (value 0: all checks passed; else
 * the number of the first that did not).
 *
 * An event (exception, interrupt, trap) that comes inside CATCH ends it: the handler keeps the
 * frame in caught and goes back to where CATCH was entered, whatever ring, mode or stack it came
 * from. A hook that is set for its vector sees it first and may have it resumed.
 */
#ifndef GUEST_H
#define GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef unsigned long word; /* as wide as a register */

#ifdef __x86_64__
#define LONG_GUEST 1
#define MARK_IP "movq $771f, mark_ip\n771: "
#else
#define LONG_GUEST 0
#define MARK_IP "movl $771f, mark_ip\n771: "
#endif

enum { DE, DB, NMI, BP, OF, BR, UD, NM, DF, TS = 10, NP, SS, GP, PF, MF = 16, AC, MC, XM,
		NONE = 0x100 };
#define USER_DONE 0x80 /* the vector with which code in ring 3 says that it got to its end */

/* Selectors. SYSCALL, SYSENTER and their returns want this order. */
#define KCS 0x08
#define KDS 0x10
#define UCS32 0x1b
#define UDS 0x23
#define UCS64 0x2b
#define UDS_SYSEXIT 0x33
#define KCS32 0x38
#define KCS16 0x40
#define KDS16 0x48
#define KTSS 0x50
#define SLOT(n) (0x60 + 8 * (n)) /* free for tests; n below 50 */
#define UCS (LONG_GUEST ? UCS64 : UCS32)

/* Descriptor attributes: bits 40-47 as 0-7, G D L AVL as bits 15-12. */
#define A_DATA 0x93
#define A_CODE 0x9b
#define A_G 0x8000
#define A_DB 0x4000
#define A_L 0x2000
#define A_DPL(n) ((n) << 5)
#define FLAT_DATA (A_DATA | A_G | A_DB)
#define FLAT_CODE (A_CODE | A_G | A_DB)

#define CF (1ul << 0)
#define PFLAG (1ul << 2)
#define ZF (1ul << 6)
#define SFLAG (1ul << 7)
#define TF (1ul << 8)
#define IF (1ul << 9)
#define DFLAG (1ul << 10)
#define OFLAG (1ul << 11)
#define IOPL(n) ((word)(n) << 12)
#define NT (1ul << 14)
#define RF (1ul << 16)
#define VM (1ul << 17)
#define ACF (1ul << 18)
#define VIF (1ul << 19)
#define VIP (1ul << 20)
#define ID (1ul << 21)

#define CR0_PE (1ul << 0)
#define CR0_MP (1ul << 1)
#define CR0_EM (1ul << 2)
#define CR0_TS (1ul << 3)
#define CR0_NE (1ul << 5)
#define CR0_WP (1ul << 16)
#define CR0_AM (1ul << 18)
#define CR0_NW (1ul << 29)
#define CR0_CD (1ul << 30)
#define CR0_PG (1ul << 31)
#define CR4_VME (1ul << 0)
#define CR4_PVI (1ul << 1)
#define CR4_TSD (1ul << 2)
#define CR4_DE (1ul << 3)
#define CR4_PSE (1ul << 4)
#define CR4_PAE (1ul << 5)
#define CR4_PGE (1ul << 7)
#define CR4_PCE (1ul << 8)
#define CR4_OSFXSR (1ul << 9)
#define CR4_OSXMMEXCPT (1ul << 10)
#define CR4_UMIP (1ul << 11)
#define CR4_FSGSBASE (1ul << 16)
#define CR4_PCIDE (1ul << 17)
#define CR4_OSXSAVE (1ul << 18)
#define CR4_SMEP (1ul << 20)
#define CR4_SMAP (1ul << 21)
#define CR4_PKE (1ul << 22)

#define MSR_APIC_BASE 0x1b
#define MSR_SYSENTER_CS 0x174
#define MSR_SYSENTER_ESP 0x175
#define MSR_SYSENTER_EIP 0x176
#define MSR_EFER 0xc0000080
#define MSR_STAR 0xc0000081
#define MSR_LSTAR 0xc0000082
#define MSR_CSTAR 0xc0000083
#define MSR_FMASK 0xc0000084
#define MSR_FS_BASE 0xc0000100
#define MSR_GS_BASE 0xc0000101
#define MSR_KERNEL_GS_BASE 0xc0000102
#define EFER_SCE (1ul << 0)
#define EFER_LME (1ul << 8)
#define EFER_LMA (1ul << 10)
#define EFER_NXE (1ul << 11)

/* What the handler finds on its stack. sp and ss: in 32-bit guests only from an outer ring. */
struct frame {
#ifdef __x86_64__
	word r15, r14, r13, r12, r11, r10, r9, r8;
	word di, si, bp, bx, dx, cx, ax;
#else
	word gs, fs, es, ds;
	word di, si, bp, unused, bx, dx, cx, ax;
#endif
	word vector, error, ip, cs, flags, sp, ss;
#ifndef __x86_64__
	word v86_es, v86_ds, v86_fs, v86_gs;
#endif
};

/* The event that ended CATCH, with CR2 as it was then. vector NONE: none did. */
extern struct frame caught;
extern word caught_cr2;
/* For what code pieces want to tell. */
extern volatile word record[16];
/* Address of the instruction after MARK_IP. */
extern word mark_ip;
/* Sees an event first; true: resume. Called with interrupts as its gate left them. */
typedef bool hook_fn(struct frame *frame);
extern hook_fn *hook[256];

/* What Multiboot left in EAX and EBX. */
extern word boot_magic, boot_info;

/* ---- checks ---- */

void guest_main(void);
void check(bool good, const char *text, int line);
void check_equal(word got, word want, const char *text, int line);
void check_event(unsigned vector, word error, bool at_mark, const char *text, int line);
void guest_print(const char *format, ...); /* %s, %d, %x */
_Noreturn void guest_exit(void);

#define CHECK(condition) check(condition, #condition, __LINE__)
#define CHECK_EQ(got, want) check_equal((word)(got), (word)(want), #got, __LINE__)

int __attribute__((returns_twice)) context_save(void);
void context_drop(void);

/* Runs statements until an event; its vector or NONE. Locals that they change are volatile. */
#define CATCH(...) ({ \
	caught.vector = NONE; \
	if (!context_save()) { \
		__VA_ARGS__; \
		context_drop(); \
	} \
	(unsigned)caught.vector; })

#define CLOBBERS "eax", "ecx", "edx", "memory", "cc"

/* The instructions raise vector with that error code, at their first one; NONE: they do not. */
#define EXPECT(vector, error, text, ...) do { \
	CATCH(asm volatile(MARK_IP text : : __VA_ARGS__ : CLOBBERS)); \
	check_event(vector, error, true, text, __LINE__); \
} while (0)

/* The same wherever the event finds the processor. */
#define EXPECT_EVENT(vector, error, text, ...) do { \
	CATCH(asm volatile(text : : __VA_ARGS__ : CLOBBERS)); \
	check_event(vector, error, false, text, __LINE__); \
} while (0)

/* A piece of code that is run by address: see code_at. */
#define CODE(name, text) \
	asm(".pushsection .text\n.balign 4\n" #name ":\n" text "\n" #name "_end:\n.popsection"); \
	extern char name[], name##_end[]

#define AT(code) ((word)(code))

/* ---- rings ---- */

/* Leaves for ring 3 by IRET: to be used inside CATCH. Flags are without IF unless given. */
_Noreturn void enter(word cs, word ip, word flags, word ss, word sp);
/* Runs code in ring 3 on a stack of its own until an event (USER_DONE at its end). */
unsigned user(const void *code);
unsigned user_flags(const void *code, word flags);
extern char user_stack_top[], stack_top[];

/* ---- tables ---- */

extern uint64_t gdt[64];
struct gate {
	uint64_t low;
#ifdef __x86_64__
	uint64_t high;
#endif
};
extern struct gate idt[256];
/* The TSS in use: ring 0's stack is stack_top. */
#ifdef __x86_64__
struct tss {
	uint32_t unused0;
	uint64_t sp[3], unused1, ist[7], unused2;
	uint16_t unused3, iomap;
	uint8_t bitmap[8193];
} __attribute__((packed));
#else
struct tss {
	uint32_t back, esp0, ss0, esp1, ss1, esp2, ss2, cr3, eip, eflags;
	uint32_t eax, ecx, edx, ebx, esp, ebp, esi, edi;
	uint32_t es, cs, ss, ds, fs, gs, ldt;
	uint16_t trap, iomap;
	uint8_t redirect[32], bitmap[8193];
} __attribute__((packed));
#endif
extern struct tss tss;
extern char fault_stack_top[]; /* for IST and for #DF's task */

uint64_t descriptor(uint32_t base, uint32_t limit, unsigned attr);
void gdt_set(unsigned selector, uint32_t base, uint32_t limit, unsigned attr);
/* type: 0x8e interrupt gate, 0x8f trap gate, 0x85 task gate … with DPL. */
void idt_set(unsigned vector, unsigned selector, const void *handler, unsigned type);
/* The gate of the recording handler, as it was in the beginning. */
void idt_reset(unsigned vector);

/* ---- the processor ---- */

#define READ_REG(name) ({ word value_; asm volatile("mov %%" #name ", %0" \
		: "=r"(value_)); value_; })
#define WRITE_REG(name, value) asm volatile("mov %0, %%" #name : : "r"((word)(value)) : "memory")

static inline uint64_t rdmsr(uint32_t index)
{
	uint32_t low, high;

	asm volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(index));
	return (uint64_t)high << 32 | low;
}

static inline void wrmsr(uint32_t index, uint64_t value)
{
	asm volatile("wrmsr" : : "c"(index), "a"((uint32_t)value), "d"((uint32_t)(value >> 32))
		     : "memory");
}

/* The vector that the access raised, or NONE. */
unsigned try_rdmsr(uint32_t index);
unsigned try_wrmsr(uint32_t index, uint64_t value);

struct cpuid { uint32_t eax, ebx, ecx, edx; };

static inline struct cpuid cpuid(uint32_t leaf, uint32_t subleaf)
{
	struct cpuid r;

	asm volatile("cpuid" : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx)
		     : "a"(leaf), "c"(subleaf));
	return r;
}

/* Prints that the processor lacks something, so that its checks are left out. */
bool have(const char *what, bool present);

static inline void outb(uint16_t port, uint8_t value)
{
	asm volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static inline uint8_t inb(uint16_t port)
{
	uint8_t value;

	asm volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

static inline word read_flags(void)
{
	word flags;

	asm volatile("pushf; pop %0" : "=r"(flags));
	return flags;
}

static inline void write_flags(word flags)
{
	asm volatile("push %0; popf" : : "r"(flags) : "memory", "cc");
}

static inline uint64_t rdtsc(void)
{
	uint32_t low, high;

	asm volatile("rdtsc" : "=a"(low), "=d"(high));
	return (uint64_t)high << 32 | low;
}

static inline void invlpg(const volatile void *page)
{
	asm volatile("invlpg (%0)" : : "r"(page) : "memory");
}

/* Marks a value as one that another processor or the hardware changes. */
#define ONCE(x) (*(volatile typeof(x) *)&(x))

/* Waits for a condition, at most for some ten seconds of spinning; whether it came. */
#define WAIT(condition) ({ \
	uint64_t start_ = rdtsc(); \
	bool came_; \
	while (!(came_ = (condition)) && rdtsc() - start_ < 40000000000ull) \
		asm volatile("pause"); \
	came_; })

#ifdef __x86_64__
/* Calls code, which finds an address in RDI and 0 in RAX and may use RCX, RDX and R9 to R11: what it leaves in RAX. */
static inline word read_by(const void *code, word at)
{
	word value = 0;

	asm volatile("call *%2" : "+a"(value), "+D"(at) : "b"(code)
		     : "rcx", "rdx", "r9", "r10", "r11", "memory", "cc");
	return value;
}

/* ---- other processors, 64-bit guests only: lib/smp.c ---- */

/* Starts the other processors with INIT and SIPI; each runs fn(its APIC ID) with interrupts off,
 * then halts. How many came up before all had, or the time was over. */
unsigned smp_start(void (*fn)(unsigned id), unsigned others);
/* The command line's last character, a digit: with "cpus=N" there, how many processors it says. */
unsigned smp_wanted(void);

#define APIC_BASE 0xfee00000ul
#define APIC_ID 0x20
#define APIC_TPR 0x80
#define APIC_PPR 0xa0
#define APIC_EOI 0xb0
#define APIC_SVR 0xf0
#define APIC_ISR 0x100
#define APIC_TMR 0x180
#define APIC_IRR 0x200
#define APIC_ESR 0x280
#define APIC_ICR 0x300
#define APIC_ICR_HIGH 0x310
#define APIC_LVT_TIMER 0x320
#define APIC_LVT_LINT0 0x350
#define APIC_LVT_ERROR 0x370
#define APIC_TIMER_INITIAL 0x380
#define APIC_TIMER_COUNT 0x390
#define APIC_TIMER_DIVIDE 0x3e0

static inline uint32_t apic_read(unsigned reg)
{
	return *(volatile uint32_t *)(APIC_BASE + reg);
}

static inline void apic_write(unsigned reg, uint32_t value)
{
	*(volatile uint32_t *)(APIC_BASE + reg) = value;
}
#endif

#endif

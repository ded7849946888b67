/* SPDX-License-Identifier: MIT */
/*
 * What a machine is made of, as its user asked for it: the command line fills it in, the machine
 * only reads it. Strings are borrowed; they outlive the machine. Any thread.
 */
#ifndef RINGLET_VM_CONFIG_H
#define RINGLET_VM_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/options.h"
#include "cpu/isa.h"
#include "fs/tree.h"

struct error;
struct json;
struct vm_board;

/* What the user's terminal is for the guest. */
enum vm_console { VM_CONSOLE_SERIAL, VM_CONSOLE_VIRTIO };

enum vm_accel { VM_ACCEL_AUTO, VM_ACCEL_KVM, VM_ACCEL_TRANSLATE, VM_ACCEL_INTERP };

/* An xAPIC's identifiers have 8 bits, of which 0xff is the broadcast and one is the I/O APIC's. */
#define VM_CPUS_MAX 254u
#define VM_MEM_MIN (1ull << 20)
#define VM_MEM_MAX (64ull << 30)
#define VM_MEM_DEFAULT (512ull << 20)

#define VM_CODE_CACHE_MIN (1ull << 20)
#define VM_CODE_CACHE_MAX (1ull << 30)
#define VM_CODE_CACHE_DEFAULT (128ull << 20)

/* Port of the --debug-exit device: a write of V ends the machine with status V << 1 | 1. */
#define VM_DEBUG_EXIT_PORT 0xf4

#define VM_SHARES_MAX 16u

#define VM_VSOCK_CID_AUTO 3u /* the lowest that a guest may have */

/* A bit each: as both, where nobody knows what the guest has drivers for. */
enum vm_share_as { VM_SHARE_FS = 1, VM_SHARE_9P = 2 };

/* A directory tree of the host that the guest may mount by its tag. */
struct vm_share {
	const char *tag, *path;
	unsigned as; /* VM_SHARE_… */
	bool readonly;
	enum tree_map map;
	unsigned cache_ms; /* FS: how long the guest may believe what it was told … */
	bool direct;       /* … and whether it asks again for what it has read */
	bool dax;          /* … and whether it sees files in memory that it shares with the host */
};

struct vm_config {
	const struct vm_board *board; /* from board/catalog.h */
	const char *name;      /* for humans and for what is named after the machine */
	const char *kernel;    /* file, NULL: none */
	const char *initrd;    /* file, NULL: none */
	bool guest_init;       /* it was made for this run, with our init: there is a port to it */
	bool streams;          /* … and three for the standard streams, instead of a terminal */
	const char *params;    /* the kernel's command line; never NULL */
	const char *firmware;  /* file, NULL: none; a kernel is then its to load (fw_cfg) */
	const char *cpu_model; /* NULL: the default */
	struct vm_share shares[VM_SHARES_MAX];
	unsigned share_count;
	uint64_t balloon_bytes; /* what the guest is asked to give back */
	bool default_vsock;    /* nobody asked for sockets: a guest that has no driver does without */
	uint32_t vsock_cid;    /* the guest's address for sockets; 0: there are none */
	const char *vsock_path; /* what clients on the host connect to; NULL: nothing */
	struct option_list disks; /* as block_options_parse takes them */
	struct option_list networks; /* as net_options_parse takes them */
	bool default_network;  /* nobody has asked for it */
	unsigned cpus;         /* 1 … VM_CPUS_MAX */
	uint64_t mem_bytes;    /* RAM: multiple of the page size */
	enum vm_accel accel;
	enum vm_console console;
	const char *unpack_cache; /* directory that keeps unpacked kernels; NULL: none does */
	bool kaslr;            /* the kernel unpacks itself, where it likes */
	bool debug_exit;
	bool virtio_mmio; /* virtio devices are not on the PCI bus */
	uint64_t code_cache_bytes; /* of generated code, at most */
	bool debug_translate;  /* print translated blocks on stderr */
	enum translator_direct direct; /* user code as it is */
	bool debug_lockstep;   /* compare translated code with the interpreter; one CPU */
	bool perf_map;         /* name generated code for perf */
	bool stats;            /* print counts on stderr at the end */
	unsigned switch_accel_ms; /* change the accelerator that often, for tests; 0: never */
	const char *kvm_without;  /* capabilities of KVM not to use, for tests; NULL: none */
	bool reboot;           /* a reset starts the guest again; else it ends the machine */
};

void vm_config_init(struct vm_config *config);

/* Whether such a machine can be: limits, what excludes what, this host's memory. 0 or -EINVAL. */
int vm_config_check(const struct vm_config *config, struct error *err);

/* The configuration as members of the JSON object that is open in json. */
void vm_config_describe(const struct vm_config *config, struct json *json);

const char *vm_accel_name(enum vm_accel accel);

#endif

/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/json.h"
#include "base/log.h"
#include "base/options.h"
#include "boot/boot.h"
#include "board/catalog.h"
#include "cli/attend.h"
#include "cli/commands.h"
#include "cli/defaults.h"
#include "cli/detach.h"
#include "cli/find_kernel.h"
#include "cli/guest_root.h"
#include "cli/guest_socket.h"
#include "net/options.h"
#include "vm/config.h"
#include "vm/vm.h"

struct run_args {
	struct vm_config config;
	const char *name, *vsock;      /* NULL: not given */
	int accel, console, log_level; /* enums, as OPTION_CHOICE stores them */
	bool dry_run, no_config, help;
	struct guest_root_options root;
	struct guest_root made_root;
	struct guest_socket socket;
	char *found_kernel, *params, *unpack_cache; /* ours to free */
};

#define CONSOLE_UNSET (-1)

static const struct option_choice accel_choices[] = {
	{ "auto", VM_ACCEL_AUTO },
	{ "kvm", VM_ACCEL_KVM },
	{ "translate", VM_ACCEL_TRANSLATE },
	{ "interp", VM_ACCEL_INTERP },
	{ NULL, 0 },
};

static const struct option_choice console_choices[] = {
	{ "serial", VM_CONSOLE_SERIAL },
	{ "virtio", VM_CONSOLE_VIRTIO },
	{ NULL, 0 },
};

static const struct option_choice direct_choices[] = {
	{ "auto", TRANSLATOR_DIRECT_AUTO }, { "never", TRANSLATOR_DIRECT_NEVER },
	{ "always", TRANSLATOR_DIRECT_ALWAYS }, { NULL, 0 },
};

static const struct option_choice log_choices[] = {
	{ "error", LOG_LEVEL_ERROR },
	{ "warn", LOG_LEVEL_WARN },
	{ "info", LOG_LEVEL_INFO },
	{ "debug", LOG_LEVEL_DEBUG },
	{ "trace", LOG_LEVEL_TRACE },
	{ NULL, 0 },
};

#define ARG(member) offsetof(struct run_args, member)

const struct option_spec run_options[] = {
	{ .name = "kernel", .letter = 'k', .type = OPTION_STRING, .offset = ARG(config.kernel),
	  .metavar = "FILE",
	  .help = "kernel to boot; without it, the one built in the current directory, this "
		  "host's or the newest cached one" },
	{ .name = "initrd", .letter = 'i', .type = OPTION_STRING, .offset = ARG(config.initrd),
	  .metavar = "FILE",
	  .help = "initial RAM disk, instead of one that brings up the host's files; 'none': no "
		  "disk at all" },
	{ .name = "root", .type = OPTION_STRING, .offset = ARG(root.root), .metavar = "DIR",
	  .help = "directory tree to be the guest's root (this machine's own); what the guest "
		  "writes to it is lost with the machine" },
	{ .name = "rw", .type = OPTION_FLAG, .offset = ARG(root.rw),
	  .help = "write what the guest writes to its root to the tree itself" },
	{ .name = "rwdir", .type = OPTION_LIST, .offset = ARG(root.rwdirs), .metavar = "PATH",
	  .help = "directory that the guest writes to itself" },
	{ .name = "rodir", .type = OPTION_LIST, .offset = ARG(root.rodirs), .metavar = "PATH",
	  .help = "directory that the guest only reads" },
	{ .name = "overlay-rwdir", .type = OPTION_LIST, .offset = ARG(root.overlay_dirs),
	  .metavar = "PATH",
	  .help = "directory of which the guest writes a copy, lost with the machine" },
	{ .name = "fs", .type = OPTION_LIST, .offset = ARG(root.shares), .metavar = "DIR,TAG[,...]",
	  .help = "directory that the guest can mount (mount -t virtiofs TAG WHERE); options behind "
		  "the tag: ro, map=none|xattr, cache=always|auto|none, dax" },
	{ .name = "9p", .type = OPTION_LIST, .offset = ARG(root.shares_9p), .metavar = "DIR,TAG[,...]",
	  .help = "the same by another protocol (mount -t 9p -o trans=virtio,version=9p2000.L TAG "
		  "WHERE); options behind the tag: ro, map=none|xattr" },
	{ .name = "env", .type = OPTION_LIST, .offset = ARG(root.env), .metavar = "NAME=VALUE",
	  .help = "a variable in the environment of what runs in the guest" },
	{ .name = "user", .type = OPTION_STRING, .offset = ARG(root.user), .metavar = "NAME",
	  .help = "user who runs it (root)" },
	{ .name = "systemd", .type = OPTION_FLAG, .offset = ARG(root.systemd),
	  .help = "have the tree's systemd bring up its services; the shell or command is one of them" },
	{ .name = "params", .letter = 'p', .type = OPTION_STRING, .offset = ARG(config.params),
	  .metavar = "STRING",
	  .help = "kernel parameters; console=ttyS0 (hvc0), panic=-1, no_timer_check and "
		  "cryptomgr.notests are added where it has none of these" },
	{ .name = "kaslr", .type = OPTION_FLAG, .offset = ARG(config.kaslr),
	  .help = "let the kernel unpack itself, at an address of its choice; slow" },
	{ .name = "firmware", .letter = 'f', .type = OPTION_STRING,
	  .offset = ARG(config.firmware), .metavar = "FILE",
	  .help = "firmware image to start from; a kernel is only handed to it when named" },
	{ .name = "disk", .letter = 'd', .type = OPTION_LIST, .offset = ARG(config.disks),
	  .metavar = "FILE[,...]",
	  .help = "a disk (/dev/vda, vdb ... in the order given); options behind the file: ro, "
		  "direct, discard, format=raw|qcow2, backing, snapshot=NAME, overlay=FILE, "
		  "serial=TEXT, errors=report|wait|pause, io=threads|uring" },
	{ .name = "network", .letter = 'n', .type = OPTION_LIST, .offset = ARG(config.networks),
	  .metavar = "KIND[,...]",
	  .help = "a network card: user (the default; net=, host=, hostfwd=tcp:8080-:80, restrict), "
		  "tap (ifname=, script=, fd=, queues=, vhost=auto|on|off), vde (url=), or none; "
		  "all: mac=, mtu=" },
	{ .name = "cpus", .letter = 'c', .type = OPTION_UINT, .offset = ARG(config.cpus),
	  .metavar = "N", .min = 1, .max = VM_CPUS_MAX, .help = "number of CPUs (1)" },
	{ .name = "mem", .letter = 'm', .type = OPTION_SIZE, .offset = ARG(config.mem_bytes),
	  .metavar = "SIZE", .min = VM_MEM_MIN, .max = VM_MEM_MAX,
	  .help = "memory, with K, M or G behind the number; M without (512M)" },
	{ .name = "balloon", .type = OPTION_SIZE, .offset = ARG(config.balloon_bytes),
	  .metavar = "SIZE", .max = VM_MEM_MAX,
	  .help = "memory that the guest's balloon driver is asked to give back (none)" },
	{ .name = "accel", .type = OPTION_CHOICE, .offset = ARG(accel), .choices = accel_choices,
	  .help = "how to run the guest's instructions; auto takes the best there is" },
	{ .name = "cpu", .type = OPTION_STRING, .offset = ARG(config.cpu_model),
	  .metavar = "MODEL", .help = "CPU model the guest sees" },
	{ .name = "console", .type = OPTION_CHOICE, .offset = ARG(console),
	  .choices = console_choices,
	  .help = "what this terminal is for the guest: ttyS0 (serial) or hvc0 (virtio: the default "
		  "with the host's files, where serial shows the kernel's messages, too)" },
	{ .name = "virtio-mmio", .type = OPTION_FLAG, .offset = ARG(config.virtio_mmio),
	  .help = "virtio devices beside the PCI bus, described by ACPI; 8 at most" },
	{ .name = "vsock", .type = OPTION_STRING, .offset = ARG(vsock), .metavar = "CID|auto|none",
	  .help = "the guest's address for sockets between it and the host, by which 'ringlet exec' "
		  "and 'ringlet cp' reach it (auto for a machine that is given a name, else none)" },
	{ .name = "vsock-path", .type = OPTION_STRING, .offset = ARG(config.vsock_path),
	  .metavar = "PATH",
	  .help = "socket by which the host reaches the guest's ports; PATH_PORT are the host's" },
	{ .name = "name", .type = OPTION_STRING, .offset = ARG(name), .metavar = "NAME",
	  .help = "the machine's name for other commands, and the guest's host name" },
	{ .name = "reboot", .type = OPTION_FLAG, .offset = ARG(config.reboot),
	  .help = "start again when the guest resets; without it, a reset ends the machine" },
	{ .name = "debug-exit", .type = OPTION_FLAG, .offset = ARG(config.debug_exit),
	  .help = "a guest's write of V to port 0xf4 ends the machine with status V << 1 | 1" },
	{ .name = "code-cache", .type = OPTION_SIZE, .offset = ARG(config.code_cache_bytes),
	  .metavar = "SIZE", .min = VM_CODE_CACHE_MIN, .max = VM_CODE_CACHE_MAX,
	  .help = "bound of the memory for translated code (128M)" },
	{ .name = "debug-translate", .type = OPTION_FLAG, .offset = ARG(config.debug_translate),
	  .help = "print each translated block on standard error, guest and host code" },
	{ .name = "direct", .type = OPTION_CHOICE, .offset = ARG(config.direct),
	  .choices = direct_choices,
	  .help = "run long-running programs' own code as it is, in processes of their own, where code is "
		  "translated (auto); 'ringlet doctor' tells what the host has for it" },
	{ .name = "debug-lockstep", .type = OPTION_FLAG, .offset = ARG(config.debug_lockstep),
	  .help = "run translated code beside the interpreter; end at the first difference" },
	{ .name = "perf-map", .type = OPTION_FLAG, .offset = ARG(config.perf_map),
	  .help = "name translated code for perf, in /tmp/perf-PID.map" },
	{ .name = "stats", .type = OPTION_FLAG, .offset = ARG(config.stats),
	  .help = "print what the engine counted on standard error, at the end and at SIGUSR1" },
	{ .name = "debug-switch-accel", .type = OPTION_UINT, .offset = ARG(config.switch_accel_ms),
	  .metavar = "MS", .min = 1, .max = 3600000,
	  .help = "change between KVM and another accelerator each MS milliseconds" },
	{ .name = "debug-kvm-without", .type = OPTION_STRING, .offset = ARG(config.kvm_without),
	  .metavar = "LIST",
	  .help = "capabilities of KVM not to use, with commas, or all: see ringlet doctor" },
	{ .name = "log-level", .type = OPTION_CHOICE, .offset = ARG(log_level),
	  .choices = log_choices, .help = "how much to say on standard error (warn)" },
	{ .name = "detach", .type = OPTION_FLAG, .offset = ARG(root.detached), .not_in_file = true,
	  .help = "run in the background: print the machine's name once it runs, and return" },
	{ .name = "no-config", .type = OPTION_FLAG, .offset = ARG(no_config), .not_in_file = true,
	  .help = "leave out the configuration file" },
	{ .name = "dry-run", .type = OPTION_FLAG, .offset = ARG(dry_run), .not_in_file = true,
	  .help = "print the machine as JSON instead of running it" },
	{ .name = "help", .letter = 'h', .type = OPTION_FLAG, .offset = ARG(help), .not_in_file = true,
	  .help = "print this help" },
	{ .name = NULL },
};

/* ---- from arguments to a configuration ---- */

static bool has_param(const char *params, const char *name)
{
	size_t length = strlen(name);

	for (const char *at = strstr(params, name); at; at = strstr(at + length, name))
		if (at == params || at[-1] == ' ')
			return true;
	return false;
}

/*
 * What lets a guest be seen and end: a console where the user is, and no waiting after a panic. On a
 * host with much else to do, Linux may find in the 80 ms that it tries them that its timers do not
 * tick, and panic. Its tests of its own cryptography are a fifth of a boot.
 */
static int complete_params(struct run_args *args, struct error *err)
{
	const char *given = args->config.params;
	bool virtio = args->config.console == VM_CONSOLE_VIRTIO;
	/* With our init, the kernel speaks where it is kept for the case that something goes wrong. */
	const char *tty = !virtio ? "console=ttyS0 " :
			  args->config.guest_init ? "console=ttyS0 quiet " : "console=hvc0 ";
	bool console = !has_param(given, "console="), panic = !has_param(given, "panic=");
	bool timers = !has_param(given, "no_timer_check");
	bool crypto = !has_param(given, "cryptomgr.notests");
	int length = asprintf(&args->params, "%s%s%s%s%s", console ? tty : "",
			      panic ? "panic=-1 " : "", timers ? "no_timer_check " : "",
			      crypto ? "cryptomgr.notests " : "", given);

	if (length < 0) {
		args->params = NULL;
		return error_set(err, ENOMEM, "no memory");
	}
	if (!*given && length)
		args->params[length - 1] = 0;
	args->config.params = args->params;
	return 0;
}

/* The host's files, unless there is something else to start from. */
static int prepare_root(struct run_args *args, struct error *err)
{
	struct vm_config *config = &args->config;

	if (config->initrd || config->firmware || !boot_is_linux(config->kernel)) {
		if (config->initrd && !strcmp(config->initrd, "none"))
			config->initrd = NULL;
		return guest_root_share(&args->made_root, &args->root, config, err);
	}
	if (args->console == CONSOLE_UNSET)
		config->console = VM_CONSOLE_VIRTIO;
	return guest_root_prepare(&args->made_root, &args->root, config, err);
}

/* Without a wish, what needs no privilege; "none" takes back those before it. */
static void choose_networks(struct vm_config *config)
{
	struct option_list *networks = &config->networks;
	unsigned count = 0;

	config->default_network = !networks->count;
	if (!networks->count && net_has_user())
		networks->item[networks->count++] = "user";
	for (unsigned i = 0; i < networks->count; i++) {
		if (!strcmp(networks->item[i], "none"))
			count = 0;
		else
			networks->item[count++] = networks->item[i];
	}
	networks->count = count;
}

static int choose_kernel(struct run_args *args, struct error *err)
{
	struct vm_config *config = &args->config;
	int ret;

	if (args->root.command_count && (config->firmware || config->initrd))
		return error_set(err, EINVAL, "'%s': a command runs in the host's files, which "
				 "--initrd and --firmware leave out", args->root.command[0]);
	if (config->firmware && !config->kernel)
		return guest_root_share(&args->made_root, &args->root, config, err);
	if (!config->kernel)
		config->kernel = args->found_kernel = find_kernel();
	if (!config->kernel)
		return error_set(err, ENOENT, "no kernel found: name one with --kernel, or have "
				 "'ringlet kernel fetch' fetch Debian's");
	config->unpack_cache = args->unpack_cache = cache_path("unpacked");
	ret = prepare_root(args, err);
	return ret ? ret : complete_params(args, err);
}

static int complete(struct run_args *args, struct error *err)
{
	int ret;

	args->config.accel = (enum vm_accel)args->accel;
	if (args->name)
		args->config.name = args->name;
	if (args->console != CONSOLE_UNSET)
		args->config.console = (enum vm_console)args->console;
	ret = guest_socket_choose(&args->config, args->vsock, args->name, err);
	if (ret)
		return ret;
	log_set_level((enum log_level)args->log_level);
	if (!args->no_config)
		defaults_warn();
	choose_networks(&args->config);
	ret = choose_kernel(args, err);
	return ret ? ret : vm_config_check(&args->config, err);
}

/* ---- from a machine's end to a status ---- */

/*
 * How our init's program ended, as a shell would say it. A command that did not end has not
 * succeeded, nor has one whose output is lost: it may have ended before it could be told.
 */
static int outcome_status(const struct vm_result *result, bool is_command)
{
	switch (result->outcome.kind) {
	case VM_OUTCOME_EXIT:
		if (!result->outcome.number && result->output_lost)
			return STATUS_INTERNAL;
		return (int)result->outcome.number;
	case VM_OUTCOME_SIGNAL:
		return 128 + (int)result->outcome.number;
	case VM_OUTCOME_FAILED:
		log_error("the guest gave up: %s", result->outcome.text);
		return STATUS_GUEST_LOST;
	case VM_OUTCOME_NONE:
		break;
	}
	if (result->end == VM_END_QUIT && is_command) {
		log_error("the machine was ended before its program");
		return STATUS_GUEST_LOST;
	}
	if (!vm_crashed(result))
		return STATUS_OK; /* somebody switched it off, from in- or outside */
	log_error("the guest ended before its program did; its kernel's last messages are above");
	return STATUS_GUEST_LOST;
}

static int end_status(const struct run_args *args, const struct vm_result *result)
{
	if (args->config.guest_init && result->end != VM_END_DEBUG_EXIT &&
	    result->end != VM_END_DISAGREEMENT)
		return outcome_status(result, args->root.command_count);
	switch (result->end) {
	case VM_END_POWEROFF:
	case VM_END_QUIT:
		return STATUS_OK;
	case VM_END_RESET:
		return STATUS_RESET;
	case VM_END_TRIPLE_FAULT:
		log_error("the guest crashed: triple fault");
		return STATUS_CRASHED;
	case VM_END_PANIC:
		log_error("the guest crashed: it reported a panic");
		return STATUS_CRASHED;
	case VM_END_DEBUG_EXIT:
		return (int)(result->value << 1 | 1);
	case VM_END_DISAGREEMENT:
		log_error("translated code does not do what the interpreter does: see above");
		return STATUS_INTERNAL;
	case VM_END_FAILED: /* which vm_run returns as an error */
		break;
	}
	return STATUS_INTERNAL;
}

/* Errors that an input or an option causes, against those of a host that refuses. */
static int error_status(int ret)
{
	switch (-ret) {
	case EINVAL:
	case EEXIST:
	case ENOENT:
	case ENOEXEC:
	case EACCES:
	case EISDIR:
	case EFBIG:
	case E2BIG:
	case ENOSPC: /* in the guest's memory */
	case ENOTDIR:
	case ELOOP:
	case ENAMETOOLONG:
	case ENOTSUP:
		return STATUS_USAGE;
	default:
		return STATUS_INTERNAL;
	}
}

static int run(struct run_args *args)
{
	struct detachment detachment = { .fd = -1 };
	struct attendance attendance;
	struct vm_result result;
	struct error err;
	int ret, status;

	if (args->root.detached && !detach_begin(&detachment, &status))
		return status;
	ret = attend_claim(&attendance, args->name, &detachment, &err);
	args->config.name = attendance.name;
	if (!ret)
		ret = guest_socket_place(&args->socket, &args->config, attendance.dir, &err);
	if (!ret)
		ret = vm_run(&args->config, &attendance.attendant, &result, &err);
	attend_release(&attendance);
	if (!ret)
		return end_status(args, &result);
	usage_error(err.message);
	return error_status(ret);
}

/* Written aside first: a machine that cannot be built leaves nothing on standard output. */
static int describe(const struct vm_config *config)
{
	struct json json;
	struct error err;
	char *text = NULL;
	size_t size = 0;
	FILE *stream = open_memstream(&text, &size);
	int ret;

	if (!stream) {
		usage_error("no memory");
		return STATUS_INTERNAL;
	}
	json_init(&json, stream);
	json_object_begin(&json, NULL);
	ret = vm_describe(config, &json, &err);
	json_object_end(&json);
	fclose(stream);
	if (!ret)
		fwrite(text, 1, size, stdout);
	else
		usage_error(err.message);
	free(text);
	return ret ? error_status(ret) : finish_output(STATUS_OK);
}

static int help(void)
{
	printf("usage: ringlet run [OPTION]... [[--] COMMAND [ARGUMENT]...]\n\n");
	options_help(run_options, stdout);
	return finish_output(STATUS_OK);
}

static int run_or_describe(struct run_args *args)
{
	struct error err;
	int status;

	if (complete(args, &err))
		status = usage_error(err.message);
	else
		status = args->dry_run ? describe(&args->config) : run(args);
	free(args->found_kernel);
	free(args->unpack_cache);
	guest_root_release(&args->made_root);
	free(args->params);
	return status;
}

int cmd_run(int argc, char **argv)
{
	struct run_args args = { .accel = VM_ACCEL_AUTO, .console = CONSOLE_UNSET,
				 .log_level = LOG_LEVEL_WARN, .made_root.initramfs = -1 };
	struct defaults defaults = { .section = "run", .specs = run_options,
				     .none_offset = ARG(no_config) };
	struct error err;
	int operands, status;

	vm_config_init(&args.config);
	args.config.board = board_find(NULL);
	if (defaults_parse(&defaults, &args, sizeof(args), argc, argv, &operands, &err)) {
		status = usage_error(err.message);
	} else if (args.help) {
		status = help();
	} else {
		args.root.command = argv;
		args.root.command_count = (unsigned)operands;
		status = run_or_describe(&args);
	}
	free(defaults.text);
	return status;
}

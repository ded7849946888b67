/* SPDX-License-Identifier: MIT */
#include "vm/config.h"

#include <errno.h>
#include <inttypes.h>
#include <sys/sysinfo.h>

#include "base/error.h"
#include "base/json.h"

#define PAGE_BYTES 4096u

void vm_config_init(struct vm_config *config)
{
	*config = (struct vm_config){
		.name = "ringlet",
		.params = "",
		.cpus = 1,
		.mem_bytes = VM_MEM_DEFAULT,
		.code_cache_bytes = VM_CODE_CACHE_DEFAULT,
	};
}

/* Memory costs only what the guest touches, but it may touch all. */
static int check_memory(const struct vm_config *config, struct error *err)
{
	struct sysinfo info;
	uint64_t host_bytes;

	if (config->mem_bytes < VM_MEM_MIN || config->mem_bytes > VM_MEM_MAX)
		return error_set(err, EINVAL, "memory must be 1M to 64G");
	if (config->mem_bytes % PAGE_BYTES)
		return error_set(err, EINVAL, "memory must be a multiple of 4K");
	if (sysinfo(&info))
		return 0;
	host_bytes = ((uint64_t)info.totalram + info.totalswap) * info.mem_unit;
	if (config->mem_bytes > host_bytes)
		return error_set(err, EINVAL,
				 "%" PRIu64 "M of memory asked for, this host has %" PRIu64 "M",
				 config->mem_bytes >> 20, host_bytes >> 20);
	return 0;
}

int vm_config_check(const struct vm_config *config, struct error *err)
{
	if (!config->cpus || config->cpus > VM_CPUS_MAX)
		return error_set(err, EINVAL, "a machine has 1 to %u CPUs, not %u", VM_CPUS_MAX,
				 config->cpus);
	if (!config->kernel && !config->firmware)
		return error_set(err, EINVAL, "nothing to start: neither kernel nor firmware");
	if (config->balloon_bytes > config->mem_bytes)
		return error_set(err, EINVAL, "a balloon larger than the memory");
	if (config->initrd && !config->kernel)
		return error_set(err, EINVAL, "an initrd needs a kernel");
	if (config->debug_lockstep && config->cpus > 1)
		return error_set(err, EINVAL, "--debug-lockstep compares one CPU, not %u: use -c 1",
				 config->cpus);
	if (config->debug_lockstep && config->switch_accel_ms)
		return error_set(err, EINVAL, "--debug-lockstep and --debug-switch-accel exclude each "
				 "other");
	if (config->debug_lockstep && config->accel != VM_ACCEL_AUTO &&
	    config->accel != VM_ACCEL_TRANSLATE)
		return error_set(err, EINVAL, "--debug-lockstep needs --accel translate, not %s",
				 vm_accel_name(config->accel));
	return check_memory(config, err);
}

const char *vm_accel_name(enum vm_accel accel)
{
	static const char *const names[] = {
		[VM_ACCEL_AUTO] = "auto",
		[VM_ACCEL_KVM] = "kvm",
		[VM_ACCEL_TRANSLATE] = "translate",
		[VM_ACCEL_INTERP] = "interp",
	};

	return names[accel];
}

void vm_config_describe(const struct vm_config *config, struct json *json)
{
	json_string(json, "name", config->name);
	json_string(json, "kernel", config->kernel);
	json_string(json, "initrd", config->guest_init ? NULL : config->initrd);
	json_string(json, "params", config->params);
	json_string(json, "firmware", config->firmware);
	json_string(json, "cpu_model", config->cpu_model);
	json_array_begin(json, "shares");
	for (unsigned i = 0; i < config->share_count; i++) {
		json_object_begin(json, NULL);
		json_string(json, "tag", config->shares[i].tag);
		json_string(json, "path", config->shares[i].path);
		json_bool(json, "fs", config->shares[i].as & VM_SHARE_FS);
		json_bool(json, "9p", config->shares[i].as & VM_SHARE_9P);
		json_bool(json, "readonly", config->shares[i].readonly);
		json_bool(json, "dax", config->shares[i].dax);
		json_object_end(json);
	}
	json_array_end(json);
	json_uint(json, "vsock_cid", config->vsock_cid);
	json_array_begin(json, "disks");
	for (unsigned i = 0; i < config->disks.count; i++)
		json_string(json, NULL, config->disks.item[i]);
	json_array_end(json);
	json_array_begin(json, "networks");
	for (unsigned i = 0; i < config->networks.count; i++)
		json_string(json, NULL, config->networks.item[i]);
	json_array_end(json);
	json_uint(json, "cpus", config->cpus);
	json_uint(json, "mem_bytes", config->mem_bytes);
	json_uint(json, "balloon_bytes", config->balloon_bytes);
	json_string(json, "accel", vm_accel_name(config->accel));
	json_string(json, "console", config->console == VM_CONSOLE_VIRTIO ? "virtio" : "serial");
	json_bool(json, "kaslr", config->kaslr);
	json_bool(json, "virtio_mmio", config->virtio_mmio);
	json_bool(json, "debug_exit", config->debug_exit);
	json_bool(json, "reboot", config->reboot);
}

/* SPDX-License-Identifier: MIT */
/* See host.h. Linux, Documentation/virt/kvm/api.rst, sections 2 to 4. */
#include "accel/kvm/host.h"

#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "accel/kvm/abi.h"
#include "base/error.h"

#define XSAVE_BYTES 4096u
#define SLOTS_OF_OLD 32u
#define TILE_DATA 18ul /* AMX's component of the vector state */

const struct kvm_feature_info kvm_features[KVM_FEATURE_COUNT] = {
#define X(name, word, cap, lost) [KVM_HAS_##name] = { word, lost, cap },
	KVM_FEATURES(X)
#undef X
};

/* What has been there since Linux 2.6.34, and cannot be done without. */
static const struct {
	unsigned cap;
	const char *name;
} needed[] = {
	{ KVM_CAP_USER_MEMORY, "user memory" },
	{ KVM_CAP_EXT_CPUID, "CPUID" },
	{ KVM_CAP_VCPU_EVENTS, "CPU events" },
	{ KVM_CAP_DEBUGREGS, "debug registers" },
	{ KVM_CAP_XSAVE, "XSAVE" },
	{ KVM_CAP_XCRS, "XCR0" },
	{ KVM_CAP_DESTROY_MEMORY_REGION_WORKS, "removal of memory" },
};

int kvm_host_cpu(void)
{
	uint32_t a, b, c, d;

	if (__get_cpuid(1, &a, &b, &c, &d) && c & 1u << 5)
		return KVM_CPU_VMX;
	if (__get_cpuid(0x80000001, &a, &b, &c, &d) && c & 1u << 2)
		return KVM_CPU_SVM;
	return KVM_CPU_NONE;
}

static int no_device(const char *path, struct error *err)
{
	static const char *const modules[] = {
		[KVM_CPU_NONE] = NULL, [KVM_CPU_VMX] = "kvm-intel", [KVM_CPU_SVM] = "kvm-amd",
	};
	const char *module = modules[kvm_host_cpu()];

	if (!module)
		return error_set(err, ENOENT, "there is no %s, and this processor has no "
				 "virtualisation: it is not built in, the firmware disables it, or "
				 "this is itself a virtual machine that was given none", path);
	return error_set(err, ENOENT, "there is no %s: load the module ('modprobe %s'; if it "
			 "refuses, the firmware disables virtualisation), or have the container given "
			 "the device", path, module);
}

static int no_permission(const char *path, struct error *err)
{
	struct stat st;
	const struct group *group;

	if (stat(path, &st) || !(st.st_mode & S_IWGRP))
		return error_set(err, EACCES, "no permission to open %s: only its owner may", path);
	group = getgrgid(st.st_gid);
	if (!group)
		return error_set(err, EACCES, "no permission to open %s: group %u may", path,
				 (unsigned)st.st_gid);
	return error_set(err, EACCES, "no permission to open %s: join the group '%s' ('adduser "
			 "$USER %s', then log in again)", path, group->gr_name, group->gr_name);
}

static int cannot_open(const char *path, int errnum, struct error *err)
{
	switch (errnum) {
	case ENOENT:
		return no_device(path, err);
	case EACCES:
	case EPERM:
		return no_permission(path, err);
	case ENODEV:
	case ENXIO:
		return error_set(err, errnum, "%s is not connected to anything: this kernel has no "
				 "KVM for this processor, or its firmware disables virtualisation", path);
	default:
		return error_set_errno(err, errnum, "cannot open %s", path);
	}
}

static int check_needed(const struct kvm_host *host, const char *path, struct error *err)
{
	int version = ioctl(host->fd, KVM_GET_API_VERSION, 0);

	if (version != KVM_API_VERSION)
		return error_set(err, ENOTSUP, "%s is not what it should be: version %d, not %d", path,
				 version, KVM_API_VERSION);
	for (unsigned i = 0; i < sizeof(needed) / sizeof(needed[0]); i++)
		if (ioctl(host->fd, KVM_CHECK_EXTENSION, needed[i].cap) <= 0)
			return error_set(err, ENOTSUP, "%s is too old: it lacks %s", path,
					 needed[i].name);
	return 0;
}

static int mask_word(uint32_t *features, const char *word, size_t length, struct error *err)
{
	if (length == 3 && !strncmp(word, "all", length)) {
		*features = 0;
		return 0;
	}
	for (unsigned i = 0; i < KVM_FEATURE_COUNT; i++) {
		if (strlen(kvm_features[i].word) == length &&
		    !strncmp(kvm_features[i].word, word, length)) {
			*features &= ~(1u << i);
			return 0;
		}
	}
	return error_set(err, EINVAL, "'%.*s' is no capability of KVM; 'ringlet doctor' lists them",
			 (int)length, word);
}

int kvm_host_mask(uint32_t *features, const char *without, struct error *err)
{
	const uint32_t split = 1u << KVM_HAS_SPLIT_IRQCHIP | 1u << KVM_HAS_SIGNAL_MSI |
			       1u << KVM_HAS_IRQ_ROUTING | 1u << KVM_HAS_MP_STATE;
	int ret = 0;

	while (without && *without && !ret) {
		size_t length = strcspn(without, ",");

		ret = mask_word(features, without, length, err);
		without += length + (without[length] == ',');
	}
	/* Local APICs in the kernel are worth something only with ways to reach them. */
	if ((*features & split) != split)
		*features &= ~(1u << KVM_HAS_SPLIT_IRQCHIP | 1u << KVM_HAS_TSC_DEADLINE);
	return ret;
}

static void ask(struct kvm_host *host)
{
	int slots = ioctl(host->fd, KVM_CHECK_EXTENSION, KVM_CAP_NR_MEMSLOTS);

	for (unsigned i = 0; i < KVM_FEATURE_COUNT; i++)
		if (ioctl(host->fd, KVM_CHECK_EXTENSION, kvm_features[i].cap) > 0)
			host->features |= 1u << i;
	host->slots = slots > 0 ? (uint32_t)slots : SLOTS_OF_OLD;
}

/* Guests may have tiles where the processor does: the kernel wants to be asked, and counts them then. */
static void size_vectors(struct kvm_host *host)
{
	int bytes;

	syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_GUEST_PERM, TILE_DATA);
	bytes = ioctl(host->fd, KVM_CHECK_EXTENSION, KVM_CAP_XSAVE2);
	if (bytes > (int)XSAVE_BYTES)
		host->xsave_bytes = (uint32_t)bytes;
}

int kvm_host_open(struct kvm_host *host, const char *path, const char *without,
		  struct error *err)
{
	int ret;

	*host = (struct kvm_host){ .fd = open(path, O_RDWR | O_CLOEXEC), .xsave_bytes = XSAVE_BYTES };
	if (host->fd < 0)
		return cannot_open(path, errno, err);
	ret = check_needed(host, path, err);
	if (!ret) {
		ask(host);
		ret = kvm_host_mask(&host->features, without, err);
	}
	if (!ret && kvm_has(host, KVM_HAS_XSAVE2))
		size_vectors(host);
	if (ret)
		kvm_host_close(host);
	return ret;
}

void kvm_host_close(struct kvm_host *host)
{
	if (host->fd >= 0)
		close(host->fd);
	host->fd = -1;
}

/* SPDX-License-Identifier: MIT */
#include "net/vhost.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/vhost.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/error.h"

static int complain(const char *what, struct error *err)
{
	return error_set_errno(err, errno, "vhost-net: %s", what);
}

/* ---- opening ---- */

static int cannot_open(struct error *err)
{
	if (errno == ENOENT || errno == ENODEV || errno == ENXIO)
		return error_set(err, errno, "there is no " VHOST_DEVICE ": load its module (modprobe "
				 "vhost_net)");
	if (errno == EACCES || errno == EPERM)
		return error_set(err, errno, "no permission to open " VHOST_DEVICE ": be in the group "
				 "that it belongs to");
	return complain("cannot open " VHOST_DEVICE, err);
}

int vhost_open(struct error *err)
{
	int fd = open(VHOST_DEVICE, O_RDWR | O_CLOEXEC), ret = 0;
	uint64_t features = 0;

	if (fd < 0)
		return cannot_open(err);
	if (ioctl(fd, VHOST_SET_OWNER))
		ret = complain("cannot have a thread of the kernel", err);
	else if (ioctl(fd, VHOST_GET_FEATURES, &features))
		ret = complain("it does not say what it can do", err);
	else if (VHOST_FEATURES & ~features)
		ret = error_set(err, ENOTSUP, "vhost-net: this kernel's lacks features %#llx",
				(unsigned long long)(VHOST_FEATURES & ~features));
	if (!ret)
		return fd;
	close(fd);
	return ret;
}

/* ---- serving ---- */

static int give_memory(int fd, const struct vhost_plan *plan, struct error *err)
{
	struct vhost_memory *table = calloc(1, sizeof(*table) + plan->region_count *
								sizeof(table->regions[0]));
	int ret = 0;

	if (!table)
		return error_set(err, ENOMEM, "vhost-net: no memory");
	table->nregions = plan->region_count;
	for (unsigned i = 0; i < plan->region_count; i++)
		table->regions[i] = (struct vhost_memory_region){
			.guest_phys_addr = plan->regions[i].gpa,
			.memory_size = plan->regions[i].bytes,
			.userspace_addr = (uintptr_t)plan->regions[i].host,
		};
	if (ioctl(fd, VHOST_SET_MEM_TABLE, table))
		ret = complain("it does not take the guest's memory", err);
	free(table);
	return ret;
}

static int give_ring(int fd, unsigned index, const struct vhost_ring *ring, struct error *err)
{
	struct vhost_vring_state size = { .index = index, .num = ring->size };
	struct vhost_vring_state position = { .index = index, .num = ring->position };
	struct vhost_vring_addr where = {
		.index = index,
		.desc_user_addr = (uintptr_t)ring->desc,
		.avail_user_addr = (uintptr_t)ring->driver,
		.used_user_addr = (uintptr_t)ring->device,
	};
	struct vhost_vring_file kick = { .index = index, .fd = ring->kick };
	struct vhost_vring_file call = { .index = index, .fd = ring->call };
	struct vhost_vring_file fault = { .index = index, .fd = ring->fault };

	if (ioctl(fd, VHOST_SET_VRING_NUM, &size) || ioctl(fd, VHOST_SET_VRING_BASE, &position) ||
	    ioctl(fd, VHOST_SET_VRING_ADDR, &where))
		return complain("it does not take a ring", err);
	if (ioctl(fd, VHOST_SET_VRING_CALL, &call) || ioctl(fd, VHOST_SET_VRING_ERR, &fault) ||
	    ioctl(fd, VHOST_SET_VRING_KICK, &kick))
		return complain("it does not take a ring's events", err);
	return 0;
}

static int set_backend(int fd, unsigned index, int tap)
{
	struct vhost_vring_file backend = { .index = index, .fd = tap };

	return ioctl(fd, VHOST_NET_SET_BACKEND, &backend) ? -errno : 0;
}

int vhost_begin(int fd, const struct vhost_plan *plan, struct error *err)
{
	uint64_t features = plan->features & VHOST_FEATURES;
	uint16_t position[VHOST_RINGS];
	int ret = 0;

	if (ioctl(fd, VHOST_SET_FEATURES, &features))
		ret = complain("it does not take the driver's features", err);
	if (!ret)
		ret = give_memory(fd, plan, err);
	for (unsigned i = 0; i < VHOST_RINGS && !ret; i++)
		ret = give_ring(fd, i, &plan->ring[i], err);
	for (unsigned i = 0; i < VHOST_RINGS && !ret; i++)
		if (set_backend(fd, i, plan->tap))
			ret = complain("it does not take the tap", err);
	if (ret)
		vhost_end(fd, position);
	return ret;
}

int vhost_end(int fd, uint16_t position[VHOST_RINGS])
{
	int ret = 0;

	/* Returns when what is under way is over, as does taking the kick away. */
	for (unsigned i = 0; i < VHOST_RINGS; i++)
		set_backend(fd, i, -1);
	for (unsigned i = 0; i < VHOST_RINGS; i++) {
		struct vhost_vring_file none = { .index = i, .fd = -1 };
		struct vhost_vring_state state = { .index = i };

		ioctl(fd, VHOST_SET_VRING_KICK, &none);
		ioctl(fd, VHOST_SET_VRING_CALL, &none);
		ioctl(fd, VHOST_SET_VRING_ERR, &none);
		if (ioctl(fd, VHOST_GET_VRING_BASE, &state))
			ret = -errno;
		position[i] = (uint16_t)state.num;
	}
	return ret;
}

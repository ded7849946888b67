/* SPDX-License-Identifier: MIT */
/*
 * The PC's virtio devices. One line a device in pc_add_virtio; each takes the next PCI slot (or,
 * with --virtio-mmio, page and interrupt), so that a machine of the same configuration always
 * looks the same to its guest.
 */
#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "block/block.h"
#include "board/x86_pc_parts.h"
#include "legacy/pci_host.h"
#include "mem/window.h"
#include "net/options.h"
#include "virtio/balloon.h"
#include "virtio/blk.h"
#include "virtio/console.h"
#include "virtio/fs.h"
#include "virtio/p9.h"
#include "virtio/net.h"
#include "virtio/rng.h"
#include "virtio/transport_mmio.h"
#include "virtio/transport_pci.h"
#include "virtio/vsock.h"
#include "ui/sink.h"
#include "ui/source.h"
#include "vm/config.h"

#define FIRST_SLOT 2 /* behind the host bridge and the south bridge */
#define SLOTS 32

static int plug_mmio(struct pc *pc, struct virtio_device *virtio, struct device **dev,
		     struct error *err)
{
	unsigned number = pc->virtio_mmio_count;
	struct virtio_mmio_config config = {
		.base = PC_VIRTIO_START + (uint64_t)number * VIRTIO_MMIO_BYTES,
	};

	if (number == PC_VIRTIO_MAX) {
		virtio->class->destroy(virtio);
		return error_set(err, ENOSPC, "--virtio-mmio: more than %u devices",
				 PC_VIRTIO_MAX);
	}
	config.irq = irq_share_line(&pc->gsi_irq[number], GSI_VIRTIO);
	pc->virtio_mmio_count++;
	return virtio_mmio_create(&pc->vm->env, &config, virtio, dev, err);
}

static int plug_pci(struct pc *pc, struct virtio_device *virtio, struct device **dev,
		    struct error *err)
{
	struct virtio_pci_config config = { .bus = pci_host_bus(pc->pci_host) };

	if (pc->next_slot == SLOTS) {
		virtio->class->destroy(virtio);
		return error_set(err, ENOSPC, "more devices than the PCI bus has slots");
	}
	config.devfn = PCI_DEVFN(pc->next_slot++, 0);
	return virtio_pci_create(&config, virtio, dev, err);
}

/* Gives what a constructor just made, if it did, a place and the machine. */
static int plug(struct pc *pc, int ret, struct virtio_device *virtio, struct error *err)
{
	struct device *dev = NULL;

	if (ret)
		return ret;
	if (pc->vm->config->virtio_mmio)
		ret = plug_mmio(pc, virtio, &dev, err);
	else
		ret = plug_pci(pc, virtio, &dev, err);
	return ret ? ret : vm_add_device(pc->vm, dev, err);
}

static int add_rng(struct pc *pc, struct error *err)
{
	const struct virtio_rng_config config = { 0 };
	struct virtio_device *virtio = NULL;
	int ret = virtio_rng_create(&pc->vm->env, &config, &virtio, err);

	return plug(pc, ret, virtio, err);
}

static int add_balloon(struct pc *pc, struct error *err)
{
	const struct virtio_balloon_options options = {
		.target_bytes = pc->vm->config->balloon_bytes,
	};
	struct virtio_device *virtio = NULL;
	int ret = virtio_balloon_create(&pc->vm->env, &options, &virtio, err);

	ret = plug(pc, ret, virtio, err);
	if (!ret)
		pc->vm->balloon = virtio;
	return ret;
}

/* The ports that our init knows: guest/init/report.c, run.c. */
static void add_init_ports(struct vm *vm, struct virtio_console_options *options)
{
	options->port[options->ports++] = (struct virtio_console_port){
		.name = "org.ringlet.control", .chardev = &vm->report.chardev,
	};
	if (!vm->config->streams)
		return;
	options->port[options->ports++] = (struct virtio_console_port){
		.name = "org.ringlet.stdin", .chardev = source_chardev(vm->input),
	};
	options->port[options->ports++] = (struct virtio_console_port){
		.name = "org.ringlet.stdout", .chardev = sink_chardev(vm->output[0]),
	};
	options->port[options->ports++] = (struct virtio_console_port){
		.name = "org.ringlet.stderr", .chardev = sink_chardev(vm->output[1]),
	};
}

static int add_console(struct pc *pc, struct error *err)
{
	const struct vm_config *config = pc->vm->config;
	struct virtio_console_options options = {
		.ports = 1,
		.port = { { .chardev = config->console == VM_CONSOLE_VIRTIO ? pc->vm->console : NULL,
			    .console = true } },
	};
	struct virtio_device *virtio = NULL;
	int ret;

	if (config->console != VM_CONSOLE_VIRTIO && !config->guest_init)
		return 0;
	if (config->guest_init)
		add_init_ports(pc->vm, &options);
	ret = virtio_console_create(&pc->vm->env, &options, &virtio, err);
	return plug(pc, ret, virtio, err);
}

/* A queue a CPU, as far as there are. */
static unsigned disk_queues(const struct pc *pc)
{
	unsigned cpus = pc->vm->config->cpus;

	return cpus < VIRTIO_BLK_QUEUES_MAX ? cpus : VIRTIO_BLK_QUEUES_MAX;
}

static int add_disk(struct pc *pc, struct block_options *options, struct error *err)
{
	struct virtio_blk_options blk = {
		.queues = disk_queues(pc), .file = options->file, .serial = options->serial,
		.errors = options->errors,
	};
	struct virtio_device *virtio = NULL;
	int ret;

	options->look = pc->vm->described;
	ret = block_open(options, &blk.block, err);
	if (ret)
		return ret;
	ret = virtio_blk_create(&pc->vm->env, &blk, &virtio, err);
	return plug(pc, ret, virtio, err);
}

static int add_disks(struct pc *pc, struct error *err)
{
	const struct option_list *disks = &pc->vm->config->disks;
	struct block_options options[OPTION_LIST_MAX];
	unsigned count = 0;
	int ret = 0;

	while (count < disks->count && !ret) {
		ret = block_options_parse(&options[count], disks->item[count], err);
		if (ret)
			break;
		for (unsigned i = 0; i < count && !ret; i++)
			ret = block_options_share(&options[i], &options[count], err);
		count++;
	}
	for (unsigned i = 0; i < count && !ret; i++)
		ret = add_disk(pc, &options[i], err);
	while (count)
		block_options_release(&options[--count]);
	return ret;
}

/* A queue a CPU, as far as there are. */
static unsigned card_queues(const struct pc *pc)
{
	unsigned cpus = pc->vm->config->cpus;

	return cpus < NET_QUEUES_MAX ? cpus : NET_QUEUES_MAX;
}

/*
 * vhost-net writes to memory unseen, and the engines keep code that was made of it.
 */
static int settle_vhost(const struct vm *vm, struct net_options *options, struct error *err)
{
	if (options->kind != NET_TAP || vm->host_accel)
		return 0;
	if (options->vhost == NET_VHOST_ON)
		return error_set(err, EINVAL, "network tap: vhost=on is for --accel kvm: the engine '%s' "
				 "must see what is written to the guest's code; use vhost=off",
				 vm->accel->name);
	options->vhost = NET_VHOST_OFF;
	log_debug("network tap: no vhost-net beside the engine '%s'", vm->accel->name);
	return 0;
}

static int add_network(struct pc *pc, const char *text, unsigned index, struct error *err)
{
	struct virtio_net_options card;
	struct virtio_device *virtio = NULL;
	struct net_options options;
	struct error why;
	int ret = net_options_parse(&options, text, index, err);

	if (ret)
		return ret;
	if (!options.queues)
		options.queues = card_queues(pc);
	memcpy(card.mac, options.mac, sizeof(card.mac));
	ret = settle_vhost(pc->vm, &options, &why);
	if (!ret)
		ret = net_open(&options, &card.net, &why);
	if (!ret) {
		ret = virtio_net_create(&pc->vm->env, &card, &virtio, err);
		ret = plug(pc, ret, virtio, err);
	} else if (pc->vm->config->default_network) {
		/* What nobody has asked for is not worth the machine. */
		log_warn("no network: %s", why.message);
		ret = 0;
	} else {
		ret = error_set(err, -ret, "%s", why.message);
	}
	net_options_release(&options);
	return ret;
}

static int add_networks(struct pc *pc, struct error *err)
{
	const struct option_list *networks = &pc->vm->config->networks;
	int ret = 0;

	for (unsigned i = 0; i < networks->count && !ret; i++)
		ret = add_network(pc, networks->item[i], i, err);
	return ret;
}

/*
 * Memory in which the guest sees a share's files. KVM has no way to go on when a file became shorter.
 */
static int add_window(struct pc *pc, const struct vm_share *share, struct virtio_window *window,
		      struct error *err)
{
	if (pc->vm->config->virtio_mmio)
		return error_set(err, EINVAL, "--fs: 'dax' is for PCI, not for --virtio-mmio");
	if (pc->vm->host_accel)
		return error_set(err, EINVAL, "--fs: 'dax' wants --accel translate or interp");
	window->bytes = PC_WINDOW_BYTES;
	window->gpa = PC_MMIO64_START + PC_MMIO64_SIZE - ++pc->windows * PC_WINDOW_BYTES;
	return mem_add_window(pc->vm->env.mem, window->gpa, window->bytes, share->tag, err);
}

static int add_fs(struct pc *pc, const struct vm_share *share, const struct tree_config *tree,
		  struct error *err)
{
	struct virtio_fs_config_host config = {
		.tag = share->tag,
		.fuse = { .tree = *tree, .cache_ms = share->cache_ms, .direct = share->direct },
	};
	struct virtio_device *virtio = NULL;
	int ret = share->dax ? add_window(pc, share, &config.window, err) : 0;

	if (!ret)
		ret = virtio_fs_create(&pc->vm->env, &config, &virtio, err);
	return plug(pc, ret, virtio, err);
}

static int add_9p(struct pc *pc, const struct vm_share *share, const struct tree_config *tree,
		  struct error *err)
{
	const struct virtio_p9_config_host config = { .tag = share->tag, .tree = *tree };
	struct virtio_device *virtio = NULL;
	int ret = virtio_p9_create(&pc->vm->env, &config, &virtio, err);

	return plug(pc, ret, virtio, err);
}

static int add_share(struct pc *pc, const struct vm_share *share, struct error *err)
{
	const struct tree_config tree = { .path = share->path, .readonly = share->readonly,
					  .map = share->map };
	int ret = 0;

	if (share->as & VM_SHARE_FS)
		ret = add_fs(pc, share, &tree, err);
	if (!ret && share->as & VM_SHARE_9P)
		ret = add_9p(pc, share, &tree, err);
	return ret;
}

static int add_shares(struct pc *pc, struct error *err)
{
	const struct vm_config *config = pc->vm->config;
	int ret = 0;

	for (unsigned i = 0; i < config->share_count && !ret; i++)
		ret = add_share(pc, &config->shares[i], err);
	return ret;
}

static int add_vsock(struct pc *pc, struct error *err)
{
	const struct virtio_vsock_options options = {
		.cid = pc->vm->config->vsock_cid, .path = pc->vm->config->vsock_path,
	};
	struct virtio_device *virtio = NULL;
	int ret;

	if (!options.cid)
		return 0;
	ret = virtio_vsock_create(&pc->vm->env, &options, &virtio, err);
	return plug(pc, ret, virtio, err);
}

int pc_add_virtio(struct pc *pc, struct error *err)
{
	int ret;

	pc->next_slot = FIRST_SLOT;
	ret = add_rng(pc, err);
	if (!ret)
		ret = add_balloon(pc, err);
	if (!ret)
		ret = add_console(pc, err);
	if (!ret)
		ret = add_disks(pc, err);
	if (!ret)
		ret = add_shares(pc, err);
	if (!ret)
		ret = add_networks(pc, err);
	if (!ret)
		ret = add_vsock(pc, err);
	return ret;
}

/* SPDX-License-Identifier: MIT */
/*
 * The file system device: see fs.h. What a look at the host's caches answers is answered at once, on
 * the CPU's own thread: no thread can be woken as fast. What moves data or waits for a disk goes to
 * threads of the device; what they have answered is given back on the loop's thread.
 */
#include "virtio/fs.h"

#include <errno.h>
#include <linux/virtio_fs.h>
#include <linux/virtio_ids.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "host/loop.h"
#include "host/workers.h"

#define QUEUE_SIZE 256
#define QUEUES 2 /* forgetting, and all else */
#define THREADS_MAX 8

_Static_assert(sizeof(((struct virtio_fs_config *)0)->tag) == VIRTIO_FS_TAG_BYTES, "a tag's size");

struct virtio_fs {
	struct virtio_device virtio; /* must be first */
	struct virtio_fs_config config;
	struct fuse *fuse;
	struct workers *workers;
	pthread_mutex_t mutex;  /* answered */
	struct fs_job *answered;
	bool posted;            /* give_back will run */
};

/* A request on its way through the threads. */
struct fs_job {
	struct workers_job job; /* must be first */
	struct virtio_fs *fs;
	struct virtio_queue *queue;
	struct virtio_chain *chain;
	size_t written;
	struct fs_job *next;
};

static struct fs_job *take_answered(struct virtio_fs *fs)
{
	struct fs_job *jobs;

	pthread_mutex_lock(&fs->mutex);
	jobs = fs->answered;
	fs->answered = NULL;
	pthread_mutex_unlock(&fs->mutex);
	return jobs;
}

static void give_back(void *opaque)
{
	struct virtio_fs *fs = opaque;
	struct fs_job *job, *next;

	pthread_mutex_lock(&fs->mutex);
	fs->posted = false;
	pthread_mutex_unlock(&fs->mutex);
	for (job = take_answered(fs); job; job = next) {
		next = job->next;
		virtio_queue_push(job->queue, job->chain, job->written);
		virtio_queue_notify(job->queue);
		free(job);
	}
}

/* A thread of the device's. */
static void answer(struct workers_job *generic)
{
	struct fs_job *job = (struct fs_job *)generic;
	struct virtio_fs *fs = job->fs;
	bool post;

	job->written = fuse_serve(fs->fuse, job->chain->out, job->chain->out_count, job->chain->in,
				  job->chain->in_count);
	pthread_mutex_lock(&fs->mutex);
	job->next = fs->answered;
	fs->answered = job;
	post = !fs->posted;
	fs->posted = true;
	pthread_mutex_unlock(&fs->mutex);
	if (post)
		loop_post(fs->virtio.env->loop, give_back, fs);
}

static void answer_at_once(struct virtio_fs *fs, struct virtio_queue *queue,
			   struct virtio_chain *chain)
{
	virtio_queue_push(queue, chain, fuse_serve(fs->fuse, chain->out, chain->out_count, chain->in,
						   chain->in_count));
	virtio_queue_notify(queue);
}

static void fs_handle(struct virtio_device *dev, struct virtio_queue *queue)
{
	struct virtio_fs *fs = (struct virtio_fs *)dev;
	struct virtio_chain *chain;

	while ((chain = virtio_queue_pop(queue))) {
		struct fs_job *job = NULL;

		if (!fuse_is_quick(chain->out, chain->out_count))
			job = malloc(sizeof(*job));
		if (!job) {
			answer_at_once(fs, queue, chain);
			continue;
		}
		*job = (struct fs_job){ .job.run = answer, .fs = fs, .queue = queue,
					.chain = chain };
		workers_submit(fs->workers, &job->job);
	}
}

static void fs_stop(struct virtio_device *dev)
{
	struct virtio_fs *fs = (struct virtio_fs *)dev;
	struct fs_job *job, *next;

	workers_drain(fs->workers);
	for (job = take_answered(fs); job; job = next) {
		next = job->next;
		virtio_chain_drop(job->queue, job->chain);
		free(job);
	}
	fuse_reset(fs->fuse);
}

static void fs_destroy(struct virtio_device *dev)
{
	struct virtio_fs *fs = (struct virtio_fs *)dev;

	workers_destroy(fs->workers);
	fuse_destroy(fs->fuse);
	virtio_device_release(dev);
	pthread_mutex_destroy(&fs->mutex);
	free(fs);
}

static const struct virtio_class fs_class = {
	.name = "virtio-fs",
	.id = VIRTIO_ID_FS,
	.pci_class = 0x018000, /* mass storage, other */
	.handle = fs_handle,
	.stop = fs_stop,
	.destroy = fs_destroy,
};

int virtio_fs_create(const struct device_env *env, const struct virtio_fs_config_host *config,
		     struct virtio_device **dev, struct error *err)
{
	struct virtio_fs *fs;
	const size_t length = strlen(config->tag);
	int ret;

	if (!length || length > VIRTIO_FS_TAG_BYTES)
		return error_set(err, EINVAL, "a share's tag has 1 to %u bytes, not '%s'",
				 VIRTIO_FS_TAG_BYTES, config->tag);
	fs = calloc(1, sizeof(*fs));
	if (!fs)
		return error_set(err, ENOMEM, "no memory for virtio-fs");
	pthread_mutex_init(&fs->mutex, NULL);
	memcpy(fs->config.tag, config->tag, length);
	fs->config.num_request_queues = QUEUES - 1;
	ret = virtio_device_init(&fs->virtio,
				 &(struct virtio_setup){ .class = &fs_class, .env = env,
							 .config = &fs->config,
							 .config_bytes = sizeof(fs->config),
							 .queue_count = QUEUES,
							 .queue_size = QUEUE_SIZE },
				 err);
	if (!ret)
		ret = fuse_create(&fs->fuse, &config->fuse, err);
	if (!ret)
		ret = workers_create(&fs->workers, "virtio-fs", THREADS_MAX, err);
	if (ret) {
		fs_destroy(&fs->virtio);
		return ret;
	}
	*dev = &fs->virtio;
	return 0;
}

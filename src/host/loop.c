/* SPDX-License-Identifier: MIT */
/*
 * The event loop. Two locks: "lock" is the machine lock that callbacks run under; "inner" guards
 * the timer heap and the posts alone, is held for a few instructions and never around a callback,
 * so that a CPU thread may arm a timer whether it has the machine lock or not. Order: lock, inner.
 *
 * A callback may remove any watch, also one whose event waits in the batch being dispatched, and
 * another thread may do so between epoll_wait and our taking the lock. So a removed watch is only
 * marked; it is freed at the end of a batch, when no event can name it any more.
 */
#include "host/loop.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/error.h"
#include "host/clock.h"
#include "host/timer_heap.h"

#define BATCH 32

struct loop_watch {
	struct loop *loop;
	int fd;
	bool removed;
	void (*ready)(void *opaque, uint32_t events);
	void *opaque;
	struct loop_watch *prev, *next; /* among the living, or in the graveyard by next */
};

/* A clock and what waits for it. */
struct loop_clock {
	struct timer_heap timers;
	_Atomic uint64_t lag_ns;     /* behind the host's clock, while it runs */
	_Atomic uint64_t stopped_ns; /* what it shows while it is stopped; 0: it runs */
	uint64_t round_ns;           /* timers due by then have been, or are being, run */
};

struct loop_timer {
	struct timer_node node; /* must be first */
	struct loop *loop;
	struct loop_clock *clock;
	void (*expired)(void *opaque);
	void *opaque;
};

struct loop_job {
	void (*run)(void *opaque);
	void *opaque;
	struct loop_job *next;
};

struct loop {
	pthread_mutex_t lock;
	int epoll_fd, event_fd, timer_fd;
	atomic_bool stop;
	struct loop_watch *watches, *graveyard;

	pthread_mutex_t inner;
	struct loop_clock host_clock, guest_clock;
	uint64_t programmed_ns; /* when timer_fd goes off; UINT64_MAX: never */
	struct loop_job *jobs, **jobs_end;
};

/* ---- life ---- */

/* Errors from a second lock by the same thread turn into a failed assertion instead of silence. */
static void lock_init(pthread_mutex_t *lock)
{
	pthread_mutexattr_t attr;

	pthread_mutexattr_init(&attr);
	pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_ERRORCHECK);
	pthread_mutex_init(lock, &attr);
	pthread_mutexattr_destroy(&attr);
}

static int add_internal(struct loop *loop, int fd)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = NULL };

	return epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event);
}

int loop_create(struct loop **out, struct error *err)
{
	struct loop *loop = calloc(1, sizeof(*loop));
	int ret;

	if (!loop)
		return error_set(err, ENOMEM, "no memory for the event loop");
	lock_init(&loop->lock);
	lock_init(&loop->inner);
	loop->jobs_end = &loop->jobs;
	loop->programmed_ns = UINT64_MAX;
	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	loop->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	loop->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (loop->epoll_fd < 0 || loop->event_fd < 0 || loop->timer_fd < 0 ||
	    add_internal(loop, loop->event_fd) || add_internal(loop, loop->timer_fd)) {
		ret = error_set_errno(err, errno, "cannot create the event loop");
		loop_destroy(loop);
		return ret;
	}
	*out = loop;
	return 0;
}

static void bury(struct loop *loop)
{
	struct loop_watch *watch;

	while ((watch = loop->graveyard)) {
		loop->graveyard = watch->next;
		free(watch);
	}
}

static void close_fd(int fd)
{
	if (fd >= 0)
		close(fd);
}

void loop_destroy(struct loop *loop)
{
	struct loop_job *job;

	if (!loop)
		return;
	while (loop->watches)
		loop_watch_remove(loop->watches);
	bury(loop);
	while ((job = loop->jobs)) {
		loop->jobs = job->next;
		free(job);
	}
	timer_heap_release(&loop->host_clock.timers);
	timer_heap_release(&loop->guest_clock.timers);
	close_fd(loop->timer_fd);
	close_fd(loop->event_fd);
	close_fd(loop->epoll_fd);
	pthread_mutex_destroy(&loop->inner);
	pthread_mutex_destroy(&loop->lock);
	free(loop);
}

void loop_lock(struct loop *loop)
{
	int ret = pthread_mutex_lock(&loop->lock);

	assert(!ret);
	(void)ret;
}

void loop_unlock(struct loop *loop)
{
	int ret = pthread_mutex_unlock(&loop->lock);

	assert(!ret);
	(void)ret;
}

static void inner_lock(struct loop *loop)
{
	pthread_mutex_lock(&loop->inner);
}

static void inner_unlock(struct loop *loop)
{
	pthread_mutex_unlock(&loop->inner);
}

static void wake(struct loop *loop)
{
	uint64_t one = 1;

	/* Can only fail when the counter is full, and then the loop wakes anyway. */
	(void)!write(loop->event_fd, &one, sizeof(one));
}

void loop_stop(struct loop *loop)
{
	int saved = errno;

	atomic_store(&loop->stop, true);
	wake(loop);
	errno = saved;
}

/* ---- watches ---- */

static int watch_control(struct loop_watch *watch, int operation, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.ptr = watch };

	return epoll_ctl(watch->loop->epoll_fd, operation, watch->fd, &event) ? -errno : 0;
}

int loop_watch_add(struct loop *loop, int fd, uint32_t events,
		   void (*ready)(void *opaque, uint32_t events), void *opaque,
		   struct loop_watch **out)
{
	struct loop_watch *watch = calloc(1, sizeof(*watch));
	int ret;

	if (!watch)
		return -ENOMEM;
	watch->loop = loop;
	watch->fd = fd;
	watch->ready = ready;
	watch->opaque = opaque;
	ret = watch_control(watch, EPOLL_CTL_ADD, events);
	if (ret) {
		free(watch);
		return ret;
	}
	watch->next = loop->watches;
	if (watch->next)
		watch->next->prev = watch;
	loop->watches = watch;
	*out = watch;
	return 0;
}

void loop_watch_change(struct loop_watch *watch, uint32_t events)
{
	watch_control(watch, EPOLL_CTL_MOD, events);
}

void loop_watch_remove(struct loop_watch *watch)
{
	struct loop *loop;

	if (!watch)
		return;
	loop = watch->loop;
	watch_control(watch, EPOLL_CTL_DEL, 0);
	if (watch->next)
		watch->next->prev = watch->prev;
	if (watch->prev)
		watch->prev->next = watch->next;
	else
		loop->watches = watch->next;
	watch->removed = true;
	watch->next = loop->graveyard;
	loop->graveyard = watch;
}

/* ---- timers ---- */

static uint64_t clock_shows(const struct loop_clock *clock, uint64_t host_ns)
{
	uint64_t stopped_ns = atomic_load_explicit(&clock->stopped_ns, memory_order_relaxed);

	return stopped_ns ? stopped_ns :
			    host_ns - atomic_load_explicit(&clock->lag_ns, memory_order_relaxed);
}

uint64_t loop_timer_now(const struct loop_timer *timer)
{
	return clock_shows(timer->clock, clock_now_ns());
}

static int create_timer(struct loop *loop, struct loop_clock *clock, void (*expired)(void *opaque),
			void *opaque, struct loop_timer **out)
{
	struct loop_timer *timer = calloc(1, sizeof(*timer));
	int ret;

	if (!timer)
		return -ENOMEM;
	timer->loop = loop;
	timer->clock = clock;
	timer->expired = expired;
	timer->opaque = opaque;
	inner_lock(loop);
	ret = timer_heap_adopt(&clock->timers, &timer->node);
	inner_unlock(loop);
	if (ret) {
		free(timer);
		return ret;
	}
	*out = timer;
	return 0;
}

int loop_timer_create(struct loop *loop, void (*expired)(void *opaque), void *opaque,
		      struct loop_timer **timer)
{
	return create_timer(loop, &loop->host_clock, expired, opaque, timer);
}

int loop_guest_timer_create(struct loop *loop, void (*expired)(void *opaque), void *opaque,
			    struct loop_timer **timer)
{
	return create_timer(loop, &loop->guest_clock, expired, opaque, timer);
}

/* When, by the host's clock, the first timer of clock is due; UINT64_MAX: none is. Inner lock held. */
static uint64_t next_due(const struct loop_clock *clock)
{
	const struct timer_node *first = timer_heap_first(&clock->timers);

	return first && !clock->stopped_ns ? first->deadline_ns + clock->lag_ns : UINT64_MAX;
}

/*
 * Inner lock held. timer_fd is only moved forward to an earlier deadline; when a timer went away or
 * was put off, one idle wake-up is cheaper than a system call for each change.
 */
static void program(struct loop *loop)
{
	uint64_t host_ns = next_due(&loop->host_clock), guest_ns = next_due(&loop->guest_clock);
	uint64_t due_ns = host_ns < guest_ns ? host_ns : guest_ns;
	struct itimerspec spec = { 0 };

	if (due_ns >= loop->programmed_ns)
		return;
	spec.it_value.tv_sec = (time_t)(due_ns / CLOCK_NS_PER_S);
	spec.it_value.tv_nsec = (long)(due_ns % CLOCK_NS_PER_S);
	timerfd_settime(loop->timer_fd, TFD_TIMER_ABSTIME, &spec, NULL);
	loop->programmed_ns = due_ns;
}

void loop_timer_arm(struct loop_timer *timer, uint64_t deadline_ns)
{
	struct loop *loop = timer->loop;

	/* UINT64_MAX stands for "not programmed"; a quarter of it is still 146 years. */
	if (deadline_ns > UINT64_MAX / 4)
		deadline_ns = UINT64_MAX / 4;
	inner_lock(loop);
	/* So that a timer that arms itself in the past runs once a round and starves no other. */
	if (deadline_ns <= timer->clock->round_ns)
		deadline_ns = timer->clock->round_ns + 1;
	timer_heap_put(&timer->clock->timers, &timer->node, deadline_ns);
	program(loop);
	inner_unlock(loop);
}

void loop_timer_disarm(struct loop_timer *timer)
{
	inner_lock(timer->loop);
	timer_heap_take(&timer->clock->timers, &timer->node);
	inner_unlock(timer->loop);
}

void loop_timer_destroy(struct loop_timer *timer)
{
	if (!timer)
		return;
	inner_lock(timer->loop);
	timer_heap_abandon(&timer->clock->timers, &timer->node);
	inner_unlock(timer->loop);
	free(timer);
}

/* Takes the first timer that is due off the heap, or NULL. */
static struct loop_timer *take_due(struct loop *loop, struct loop_clock *clock)
{
	struct timer_node *node;

	inner_lock(loop);
	node = timer_heap_first(&clock->timers);
	if (node && node->deadline_ns <= clock->round_ns)
		timer_heap_take(&clock->timers, node);
	else
		node = NULL;
	inner_unlock(loop);
	return (struct loop_timer *)node;
}

static void run_timers_of(struct loop *loop, struct loop_clock *clock, uint64_t host_ns)
{
	struct loop_timer *timer;

	if (clock->stopped_ns)
		return;
	inner_lock(loop);
	clock->round_ns = clock_shows(clock, host_ns);
	inner_unlock(loop);
	while ((timer = take_due(loop, clock)))
		timer->expired(timer->opaque);
}

static void run_timers(struct loop *loop)
{
	uint64_t now_ns = clock_now_ns();

	run_timers_of(loop, &loop->host_clock, now_ns);
	run_timers_of(loop, &loop->guest_clock, now_ns);
	inner_lock(loop);
	if (loop->programmed_ns <= now_ns)
		loop->programmed_ns = UINT64_MAX;
	program(loop);
	inner_unlock(loop);
}

void loop_guest_clock_stop(struct loop *loop, uint64_t host_ns)
{
	struct loop_clock *clock = &loop->guest_clock;

	inner_lock(loop);
	clock->stopped_ns = clock_shows(clock, host_ns);
	inner_unlock(loop);
}

void loop_guest_clock_start(struct loop *loop, uint64_t host_ns)
{
	struct loop_clock *clock = &loop->guest_clock;

	inner_lock(loop);
	clock->lag_ns = host_ns - clock->stopped_ns;
	clock->stopped_ns = 0;
	program(loop);
	inner_unlock(loop);
}

/* ---- posts ---- */

int loop_post(struct loop *loop, void (*run)(void *opaque), void *opaque)
{
	struct loop_job *job = calloc(1, sizeof(*job));

	if (!job)
		return -ENOMEM;
	job->run = run;
	job->opaque = opaque;
	inner_lock(loop);
	*loop->jobs_end = job;
	loop->jobs_end = &job->next;
	inner_unlock(loop);
	wake(loop);
	return 0;
}

/* Jobs posted by a job wait for the next round. */
static void run_jobs(struct loop *loop)
{
	struct loop_job *job, *next;

	inner_lock(loop);
	job = loop->jobs;
	loop->jobs = NULL;
	loop->jobs_end = &loop->jobs;
	inner_unlock(loop);
	for (; job; job = next) {
		next = job->next;
		job->run(job->opaque);
		free(job);
	}
}

/* ---- the loop ---- */

static void drain(int fd)
{
	uint64_t count;

	(void)!read(fd, &count, sizeof(count));
}

static void dispatch(struct loop *loop, const struct epoll_event *events, int count)
{
	for (int i = 0; i < count; i++) {
		struct loop_watch *watch = events[i].data.ptr;

		if (watch && !watch->removed)
			watch->ready(watch->opaque, events[i].events);
	}
	run_jobs(loop);
	run_timers(loop);
	bury(loop);
}

void loop_run(struct loop *loop)
{
	struct epoll_event events[BATCH];

	while (!atomic_load(&loop->stop)) {
		int count = epoll_wait(loop->epoll_fd, events, BATCH, -1);
		bool internal = false;

		for (int i = 0; i < count; i++)
			internal |= !events[i].data.ptr;
		/* Before the work they announce is looked at: what comes later wakes us again. */
		if (internal) {
			drain(loop->event_fd);
			drain(loop->timer_fd);
		}
		loop_lock(loop);
		dispatch(loop, events, count);
		loop_unlock(loop);
	}
	atomic_store(&loop->stop, false);
}

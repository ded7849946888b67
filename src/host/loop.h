/* SPDX-License-Identifier: MIT */
/*
 * The event loop (epoll): one a machine, run by one thread. Callbacks run on that thread with the
 * loop's lock held (loop_lock): the machine lock, which also serialises the CPUs' device accesses,
 * so that a device needs no lock of its own. It is recursive in no way: never take it twice.
 */
#ifndef RINGLET_HOST_LOOP_H
#define RINGLET_HOST_LOOP_H

#include <stdint.h>

struct error;
struct loop;
struct loop_watch;
struct loop_timer;

int loop_create(struct loop **loop, struct error *err);
void loop_destroy(struct loop *loop);

/* Runs callbacks until loop_stop. */
void loop_run(struct loop *loop);
/* Any thread, signal handlers too. */
void loop_stop(struct loop *loop);

/* The machine lock. CPU threads hold it around device accesses. */
void loop_lock(struct loop *loop);
void loop_unlock(struct loop *loop);

/*
 * Watches fd for events (EPOLLIN …, level-triggered). fd stays the caller's. Callers hold the
 * lock or run before loop_run. -EPERM: a regular file, which is always ready.
 */
int loop_watch_add(struct loop *loop, int fd, uint32_t events,
		   void (*ready)(void *opaque, uint32_t events), void *opaque,
		   struct loop_watch **watch);
void loop_watch_change(struct loop_watch *watch, uint32_t events);
void loop_watch_remove(struct loop_watch *watch);

/*
 * A one-shot timer on the host's monotonic clock. Arming in the past fires as soon as the loop
 * runs; arming again moves it. timer_arm and timer_disarm may be called from any thread with or
 * without the lock; expired runs on the loop's thread with the lock held.
 */
int loop_timer_create(struct loop *loop, void (*expired)(void *opaque), void *opaque,
		      struct loop_timer **timer);
void loop_timer_arm(struct loop_timer *timer, uint64_t deadline_ns);
void loop_timer_disarm(struct loop_timer *timer);
void loop_timer_destroy(struct loop_timer *timer);

/*
 * The same on the guest's clock, which is the host's less the time that it was stopped. Made for
 * what a guest can see the time pass by.
 */
int loop_guest_timer_create(struct loop *loop, void (*expired)(void *opaque), void *opaque,
			    struct loop_timer **timer);
/* What the timer's clock shows. Any thread. */
uint64_t loop_timer_now(const struct loop_timer *timer);
/* Stops the guest's clock as it was when the host's showed host_ns, has it go on as from then. On the
 * loop's thread, while no CPU runs, without the lock. */
void loop_guest_clock_stop(struct loop *loop, uint64_t host_ns);
void loop_guest_clock_start(struct loop *loop, uint64_t host_ns);

/* Has run(opaque) called soon on the loop's thread, lock held. Any thread; -ENOMEM. */
int loop_post(struct loop *loop, void (*run)(void *opaque), void *opaque);

#endif

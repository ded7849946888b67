/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/error.h"
#include "host/clock.h"
#include "host/loop.h"
#include "host/thread.h"
#include "host/timer_heap.h"

#define MS 1000000ull

struct world {
	struct loop *loop;
	struct loop_timer *timer;
	struct loop_watch *watch[2];
	int pipes[2][2];
	unsigned fired, order[8];
	uint64_t fired_at_ns;
};

static int set_up(void **state)
{
	struct world *world = calloc(1, sizeof(*world));
	struct error err;

	assert_int_equal(loop_create(&world->loop, &err), 0);
	for (int i = 0; i < 2; i++)
		assert_int_equal(pipe(world->pipes[i]), 0);
	*state = world;
	return 0;
}

static int tear_down(void **state)
{
	struct world *world = *state;

	loop_timer_destroy(world->timer);
	loop_destroy(world->loop);
	for (int i = 0; i < 2; i++) {
		close(world->pipes[i][0]);
		close(world->pipes[i][1]);
	}
	free(world);
	return 0;
}

static void fire_and_stop(void *opaque)
{
	struct world *world = opaque;

	world->fired++;
	world->fired_at_ns = clock_now_ns();
	loop_stop(world->loop);
}

static void a_timer_fires_not_early(void **state)
{
	struct world *world = *state;
	uint64_t deadline_ns = clock_now_ns() + 5 * MS;

	assert_int_equal(loop_timer_create(world->loop, fire_and_stop, world, &world->timer), 0);
	loop_timer_arm(world->timer, deadline_ns + 3600 * CLOCK_NS_PER_S);
	loop_timer_arm(world->timer, deadline_ns);
	loop_run(world->loop);
	assert_int_equal(world->fired, 1);
	assert_true(world->fired_at_ns >= deadline_ns);
}

static void the_past_fires_at_once(void **state)
{
	struct world *world = *state;

	assert_int_equal(loop_timer_create(world->loop, fire_and_stop, world, &world->timer), 0);
	loop_timer_arm(world->timer, 0);
	loop_run(world->loop);
	assert_int_equal(world->fired, 1);
}

static void forbidden(void *opaque)
{
	(void)opaque;
	abort();
}

static void stop_loop(void *opaque)
{
	loop_stop(opaque);
}

static void a_disarmed_timer_is_silent(void **state)
{
	struct world *world = *state;
	struct loop_timer *other;

	assert_int_equal(loop_timer_create(world->loop, forbidden, world, &other), 0);
	assert_int_equal(loop_timer_create(world->loop, fire_and_stop, world, &world->timer), 0);
	loop_timer_arm(other, clock_now_ns() + MS);
	loop_timer_arm(world->timer, clock_now_ns() + 3 * MS);
	loop_timer_disarm(other);
	loop_run(world->loop);
	assert_int_equal(world->fired, 1);
	loop_timer_destroy(other);
}

/* While the guest's clock is stopped, nothing that waits for it happens; what was left is left. */
static void a_stopped_clock(void **state)
{
	struct world *world = *state;
	uint64_t shown_ns, stopped_at_ns;
	struct loop_timer *guest;

	assert_int_equal(loop_guest_timer_create(world->loop, forbidden, world, &guest), 0);
	assert_int_equal(loop_timer_create(world->loop, fire_and_stop, world, &world->timer), 0);
	stopped_at_ns = clock_now_ns();
	loop_guest_clock_stop(world->loop, clock_now_ns());
	shown_ns = loop_timer_now(guest);
	loop_timer_arm(guest, shown_ns + MS);
	loop_timer_arm(world->timer, clock_now_ns() + 3 * MS);
	loop_run(world->loop);
	assert_int_equal(world->fired, 1);
	assert_int_equal(loop_timer_now(guest), shown_ns);
	loop_timer_destroy(guest);
	loop_guest_clock_start(world->loop, clock_now_ns());

	assert_int_equal(loop_guest_timer_create(world->loop, fire_and_stop, world, &guest), 0);
	assert_true(loop_timer_now(guest) >= shown_ns);
	assert_true(loop_timer_now(guest) <= clock_now_ns() - 3 * MS);
	loop_timer_arm(guest, shown_ns + 2 * MS);
	loop_run(world->loop);
	assert_int_equal(world->fired, 2);
	assert_true(world->fired_at_ns >= stopped_at_ns + 5 * MS);
	loop_timer_destroy(guest);
}

static void *arm_soon(void *opaque)
{
	struct world *world = opaque;

	usleep(2000);
	loop_timer_arm(world->timer, clock_now_ns() + MS);
	return NULL;
}

static void another_thread_arms(void **state)
{
	struct world *world = *state;
	pthread_t thread;
	struct error err;

	assert_int_equal(loop_timer_create(world->loop, fire_and_stop, world, &world->timer), 0);
	assert_int_equal(thread_create(&thread, "arms", arm_soon, world, &err), 0);
	loop_run(world->loop);
	pthread_join(thread, NULL);
	assert_int_equal(world->fired, 1);
}

static void rearm_in_the_past(void *opaque)
{
	struct world *world = opaque;

	if (world->fired++ < 1000)
		loop_timer_arm(world->timer, 0);
}

static void a_greedy_timer_leaves_room(void **state)
{
	struct world *world = *state;
	struct loop_timer *stop;

	assert_int_equal(loop_timer_create(world->loop, rearm_in_the_past, world, &world->timer),
			 0);
	assert_int_equal(loop_timer_create(world->loop, stop_loop, world->loop,
					   &stop), 0);
	loop_timer_arm(world->timer, 0);
	loop_timer_arm(stop, 1);
	loop_run(world->loop);
	assert_true(world->fired < 1000);
	loop_timer_destroy(stop);
}

static void remove_both(void *opaque, uint32_t events)
{
	struct world *world = opaque;

	assert_true(events & EPOLLIN);
	world->fired++;
	loop_watch_remove(world->watch[0]);
	loop_watch_remove(world->watch[1]);
	loop_stop(world->loop);
}

static void a_watch_may_remove_all(void **state)
{
	struct world *world = *state;

	for (int i = 0; i < 2; i++) {
		assert_int_equal(loop_watch_add(world->loop, world->pipes[i][0], EPOLLIN,
						remove_both, world, &world->watch[i]), 0);
		assert_int_equal(write(world->pipes[i][1], "x", 1), 1);
	}
	loop_run(world->loop);
	assert_int_equal(world->fired, 1);
}

static void note_event(void *opaque, uint32_t events)
{
	struct world *world = opaque;

	(void)events;
	world->fired++;
	loop_watch_change(world->watch[0], 0);
	loop_timer_arm(world->timer, clock_now_ns() + 3 * MS);
}

static void a_watch_without_events_rests(void **state)
{
	struct world *world = *state;

	assert_int_equal(loop_timer_create(world->loop, stop_loop, world->loop,
					   &world->timer), 0);
	assert_int_equal(loop_watch_add(world->loop, world->pipes[0][0], EPOLLIN, note_event,
					world, &world->watch[0]), 0);
	assert_int_equal(write(world->pipes[0][1], "x", 1), 1);
	loop_run(world->loop);
	assert_int_equal(world->fired, 1);
}

static void a_file_cannot_be_watched(void **state)
{
	struct world *world = *state;
	char name[] = "/tmp/ringlet-loop-XXXXXX";
	int fd = mkstemp(name);

	assert_int_equal(loop_watch_add(world->loop, fd, EPOLLIN, note_event, world,
					&world->watch[0]), -EPERM);
	close(fd);
	unlink(name);
}

struct job {
	struct world *world;
	unsigned number;
};

static void note_job(void *opaque)
{
	struct job *job = opaque;

	job->world->order[job->world->fired++] = job->number;
	if (job->world->fired == 3)
		loop_stop(job->world->loop);
}

static void posts_run_in_order(void **state)
{
	struct world *world = *state;
	struct job jobs[3];

	for (unsigned i = 0; i < 3; i++) {
		jobs[i] = (struct job){ world, i };
		assert_int_equal(loop_post(world->loop, note_job, &jobs[i]), 0);
	}
	loop_run(world->loop);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(world->order[i], i);
}

static void a_stop_before_the_run_counts(void **state)
{
	struct world *world = *state;

	loop_stop(world->loop);
	loop_run(world->loop);
	loop_stop(world->loop);
	loop_run(world->loop);
}

static void what_is_left_is_released(void **state)
{
	struct world *world = *state;
	struct job job = { world, 0 };

	assert_int_equal(loop_watch_add(world->loop, world->pipes[0][0], EPOLLIN, note_event,
					world, &world->watch[0]), 0);
	assert_int_equal(loop_post(world->loop, note_job, &job), 0);
}

#define NODES 300

static void the_heap_sorts(void **state)
{
	struct timer_heap heap = { 0 };
	struct timer_node nodes[NODES] = { 0 };
	uint64_t last = 0;
	unsigned seed = 1;

	(void)state;
	for (unsigned i = 0; i < NODES; i++) {
		assert_int_equal(timer_heap_adopt(&heap, &nodes[i]), 0);
		timer_heap_put(&heap, &nodes[i], (uint64_t)rand_r(&seed) % 100);
	}
	for (unsigned i = 0; i < NODES; i += 2)
		timer_heap_put(&heap, &nodes[i], (uint64_t)rand_r(&seed) % 100);
	for (unsigned i = 0; i < NODES; i += 3)
		timer_heap_take(&heap, &nodes[i]);
	timer_heap_take(&heap, &nodes[0]);
	assert_int_equal(heap.count, NODES - NODES / 3);
	for (struct timer_node *node; (node = timer_heap_first(&heap));) {
		assert_true(node->deadline_ns >= last);
		assert_true((node - nodes) % 3);
		last = node->deadline_ns;
		timer_heap_abandon(&heap, node);
	}
	timer_heap_release(&heap);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_timer_fires_not_early, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_past_fires_at_once, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_disarmed_timer_is_silent, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_stopped_clock, set_up, tear_down),
		cmocka_unit_test_setup_teardown(another_thread_arms, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_greedy_timer_leaves_room, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_watch_may_remove_all, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_watch_without_events_rests, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_file_cannot_be_watched, set_up, tear_down),
		cmocka_unit_test_setup_teardown(posts_run_in_order, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_stop_before_the_run_counts, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_left_is_released, set_up, tear_down),
		cmocka_unit_test(the_heap_sorts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

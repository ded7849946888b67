/* SPDX-License-Identifier: MIT */
/*
 * io_uring (Linux 5.1), by its system calls alone: requests to the kernel that nobody waits for, and
 * what becomes of them. One thread at a time puts and pushes; one, the same or another, takes. The caller
 * sees to it that no more are under way than there are entries.
 */
#ifndef RINGLET_HOST_URING_H
#define RINGLET_HOST_URING_H

#include <linux/io_uring.h>
#include <stdint.h>

struct uring;

/* entries: a power of two. -ENOSYS, -EPERM …: this kernel has none, or refuses it, as containers do. */
int uring_create(struct uring **uring, unsigned entries);
/* Nothing is under way. NULL is allowed. */
void uring_destroy(struct uring *uring);

/* Puts a request in line for the next push. */
void uring_put(struct uring *uring, const struct io_uring_sqe *request);
/* Hands the kernel what was put since the last push, all in one system call. 0 or -errno. */
int uring_push(struct uring *uring);

/* Waits until the kernel is done with some. */
void uring_wait(struct uring *uring);
/* Up to max of those that it is done with; returns how many. */
unsigned uring_take(struct uring *uring, struct io_uring_cqe *done, unsigned max);

#endif

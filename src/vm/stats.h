/* SPDX-License-Identifier: MIT */
/*
 * --stats: what was counted, for humans, on standard error: at the end, and whenever the process gets
 * SIGUSR1. The loop's thread.
 */
#ifndef RINGLET_VM_STATS_H
#define RINGLET_VM_STATS_H

struct error;
struct vm;

/* From now on SIGUSR1 prints. */
int stats_listen(struct vm *vm, struct error *err);
void stats_ignore(struct vm *vm);

/* While CPUs run, counts may be some moments old, and not all from the same one. */
void stats_print(const struct vm *vm);

#endif

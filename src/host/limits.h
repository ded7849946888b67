/* SPDX-License-Identifier: MIT */
/* The process's limits, of which it has one set only. */
#ifndef RINGLET_HOST_LIMITS_H
#define RINGLET_HOST_LIMITS_H

/*
 * As many open files as the process may have: for who holds one for each that a guest knows. Any
 * thread, any number of times; where it is refused, the limit stays.
 */
void limits_raise_files(void);
/* How many the process may have. */
unsigned limits_files(void);

#endif

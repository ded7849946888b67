/* SPDX-License-Identifier: MIT */
/* "Did you mean": the nearest of some names to a word that is none of them. Any thread. */
#ifndef RINGLET_BASE_SUGGEST_H
#define RINGLET_BASE_SUGGEST_H

struct suggestion {
	const char *word;
	const char *best; /* the nearest name so far, NULL when none is near; borrowed */
	unsigned distance;
};

void suggest_begin(struct suggestion *suggestion, const char *word);
void suggest_consider(struct suggestion *suggestion, const char *name);

#endif

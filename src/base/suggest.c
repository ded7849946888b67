/* SPDX-License-Identifier: MIT */
#include "base/suggest.h"

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#define LONGEST 64

static unsigned least(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

/*
 * Edits (insert, delete, replace, swap of neighbours) between two words: Damerau and Levenshtein's
 * distance, row by row; row[0] is the current one, row[2] the one before the last.
 */
static unsigned edit_distance(const char *a, const char *b)
{
	size_t a_length = strlen(a), b_length = strlen(b);
	unsigned rows[3][LONGEST + 1], *row[3] = { rows[0], rows[1], rows[2] };

	if (a_length > LONGEST || b_length > LONGEST)
		return UINT_MAX;
	for (unsigned j = 0; j <= b_length; j++)
		row[0][j] = j;
	for (unsigned i = 1; i <= a_length; i++) {
		unsigned *oldest = row[2];

		row[2] = row[1];
		row[1] = row[0];
		row[0] = oldest;
		row[0][0] = i;
		for (unsigned j = 1; j <= b_length; j++) {
			unsigned cost = a[i - 1] != b[j - 1];

			row[0][j] = least(row[1][j - 1] + cost,
					  least(row[1][j], row[0][j - 1]) + 1);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				row[0][j] = least(row[0][j], row[2][j - 2] + 1);
		}
	}
	return row[0][b_length];
}

void suggest_begin(struct suggestion *suggestion, const char *word)
{
	/* A third of the word may be wrong, but one letter always; more is a guess, not help. */
	unsigned allowed = (unsigned)least((unsigned)strlen(word) / 3, 4);

	*suggestion = (struct suggestion){ .word = word, .distance = (allowed ? allowed : 1) + 1 };
}

/* Cut short, or with up to half of its letters left out, but for the first. */
static bool is_short_for(const char *word, const char *name)
{
	size_t length = strlen(word), found = 0;

	if (length < 2 || *word != *name)
		return false;
	if (!strncmp(name, word, length))
		return true;
	for (const char *letter = name; *letter; letter++)
		found += *letter == word[found];
	return found == length && strlen(name) <= 2 * length;
}

void suggest_consider(struct suggestion *suggestion, const char *name)
{
	/* That is as good as one typing error. */
	unsigned distance = is_short_for(suggestion->word, name) ?
				    1 : edit_distance(suggestion->word, name);

	/* All letters replaced is no likeness. */
	if (distance < suggestion->distance && distance < strlen(name)) {
		suggestion->best = name;
		suggestion->distance = distance;
	}
}

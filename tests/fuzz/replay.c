/* SPDX-License-Identifier: MIT */
/*
 * A fuzz target without the fuzzer: runs the files it is given through the target once, so that any
 * compiler can check that what was once found stays mended. Names each file before it is run.
 */
#include <stdio.h>
#include <stdlib.h>

#include "input.h"

#define INPUT_MAX (1u << 20)

static int replay(const char *path)
{
	FILE *file = fopen(path, "rb");
	uint8_t *data, *exact;
	size_t size;

	if (!file) {
		perror(path);
		return 1;
	}
	data = malloc(INPUT_MAX);
	size = data ? fread(data, 1, INPUT_MAX, file) : 0;
	fclose(file);
	/* Of just the size, so that a sanitizer sees reading past the end. */
	exact = data ? realloc(data, size ? size : 1) : NULL;
	if (!exact)
		return 1;
	printf("%s: %zu bytes\n", path, size);
	fflush(stdout);
	LLVMFuzzerTestOneInput(exact, size);
	free(exact);
	return 0;
}

int main(int argc, char **argv)
{
	int failed = 0;

	for (int i = 1; i < argc; i++)
		failed |= replay(argv[i]);
	return failed;
}

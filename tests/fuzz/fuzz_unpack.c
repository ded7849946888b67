/* SPDX-License-Identifier: MIT */
/* Fuzz target: a packed kernel of any format that the build knows is unpacked, or refused. */
#include "boot/unpack.h"
#include "boot_target.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct image packed, out;
	struct error err;

	if (!size)
		return 0;
	target_limit_files();
	if (image_open_bytes(&packed, "fuzz", data, size, &err))
		abort();
	if (!unpack_image(&packed, 0, size, NULL, &out, &err))
		image_close(&out);
	image_close(&packed);
	return 0;
}

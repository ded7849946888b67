/* SPDX-License-Identifier: MIT */
#if HAVE_SLIRP
#include "net/slirp_library.h"

#include <dlfcn.h>
#include <errno.h>
#include <stddef.h>

#include "base/error.h"

#define FILE_NAME "libslirp.so.0" /* of the interface that the header describes */

int slirp_library_load(struct slirp_library *library, struct error *err)
{
	static const struct {
		const char *name;
		size_t place;
	} functions[] = {
#define X(name) { "slirp_" #name, offsetof(struct slirp_library, name) },
		SLIRP_FUNCTIONS(X)
#undef X
	};
	void *handle = dlopen(FILE_NAME, RTLD_NOW);

	if (!handle)
		return error_set(err, ENOENT, "user-mode networking needs libslirp: %s", dlerror());
	for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++) {
		void *function = dlsym(handle, functions[i].name);

		if (!function)
			return error_set(err, ENOENT, "%s is too old: it lacks %s", FILE_NAME,
					 functions[i].name);
		*(void **)((char *)library + functions[i].place) = function;
	}
	return 0;
}
#endif

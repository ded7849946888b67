/* SPDX-License-Identifier: MIT */
#include "isa/x86/direct/probe.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/error.h"
#include "host/cell.h"
#include "isa/x86/direct/tables.h"

int direct_probe(bool *is_protected, struct error *err)
{
	int file = memfd_create("guest memory", MFD_CLOEXEC), ret;
	struct cell cell = { .pid = -1 };

	if (file < 0)
		return error_set_errno(err, ENOTSUP, "no memory that processes share (memfd_create)");
	if (tables_host_can())
		ret = cell_start(&cell, file, err);
	else
		ret = error_set(err, ENOTSUP, "the host's programs cannot set their segment bases (FSGSBASE)");
	*is_protected = cell.is_protected;
	cell_end(&cell);
	close(file);
	return ret;
}

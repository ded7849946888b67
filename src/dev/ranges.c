/* SPDX-License-Identifier: MIT */
/* Several bus ranges as one. */
#include "dev/ranges.h"

void ranges_remove(struct bus *bus, const struct bus_range *ranges, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		bus_remove(bus, ranges[i].base);
}

int ranges_add(struct bus *bus, const struct bus_range *ranges, unsigned count, struct error *err)
{
	for (unsigned i = 0; i < count; i++) {
		int ret = bus_add(bus, &ranges[i], err);

		if (ret) {
			ranges_remove(bus, ranges, i);
			return ret;
		}
	}
	return 0;
}

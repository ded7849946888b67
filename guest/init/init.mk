# SPDX-License-Identifier: MIT
# The init that guests get: $(BUILD)/guest/init, static, part of the program (src/boot/initramfs.c).
GUEST_INIT := $(BUILD)/guest/init
GUEST_INIT_FLAGS := -std=gnu17 -D_GNU_SOURCE -Isrc $(WARNINGS) -Os -static -s

# src/agent is what both ends of a connection to the agent need.
$(GUEST_INIT): $(wildcard guest/init/*.[ch] src/agent/*.[ch]) guest/init/init.mk
	@mkdir -p $(@D)
	$(CC) $(GUEST_INIT_FLAGS) -o $@ $(filter %.c,$^)

$(BUILD)/src/boot/initramfs.o: $(GUEST_INIT)
$(BUILD)/src/boot/initramfs.o: CPPFLAGS += -DGUEST_INIT='"$(abspath $(GUEST_INIT))"'

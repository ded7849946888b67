# SPDX-License-Identifier: MIT
# The init that guests get: $(BUILD)/guest/init, static, part of the program (src/boot/initramfs.c).
GUEST_INIT := $(BUILD)/guest/init
GUEST_INIT_FLAGS := -std=gnu17 -D_GNU_SOURCE $(WARNINGS) -Os -static -s

$(GUEST_INIT): $(wildcard guest/init/*.c guest/init/*.h) guest/init/init.mk
	@mkdir -p $(@D)
	$(CC) $(GUEST_INIT_FLAGS) -o $@ $(filter %.c,$^)

$(BUILD)/src/boot/initramfs.o: $(GUEST_INIT)
$(BUILD)/src/boot/initramfs.o: CPPFLAGS += -DGUEST_INIT='"$(abspath $(GUEST_INIT))"'

# SPDX-License-Identifier: MIT
# Bare-metal guests: tests/guests/{32,64}/<name>.c with lib/, each to a Multiboot image
# $(BUILD)/tests/guests/{32,64}/<name>.guest. test_guests.py runs them.
GUEST_LIB := $(wildcard tests/guests/lib/*.c tests/guests/lib/*.S)
# The other processors are started in 64-bit guests only.
GUEST_LIB_32 := $(filter-out %/smp.c %/ap.S,$(GUEST_LIB))
GUEST_LIB_64 := $(GUEST_LIB)
GUEST_HEADERS := $(wildcard tests/guests/lib/*.h tests/guests/lib/*.ld) tests/guests/guests.mk
GUEST_FLAGS := -std=gnu17 $(WARNINGS) -O1 -ffreestanding -fno-pic -fno-stack-protector \
	-fcf-protection=none -fno-asynchronous-unwind-tables -fno-omit-frame-pointer \
	-mgeneral-regs-only -Itests/guests/lib
GUEST_FLAGS_32 := -m32
GUEST_FLAGS_64 := -m64 -mno-red-zone
GUEST_LDFLAGS := -static -nostdlib -Wl,-n,--build-id=none,-z,noexecstack \
	-Wl,--no-warn-rwx-segments,-T,tests/guests/lib/guest.ld
GUEST_SOURCES := $(sort $(wildcard tests/guests/32/*.c tests/guests/64/*.c))
GUESTS := $(GUEST_SOURCES:%.c=$(BUILD)/%.guest)

.PHONY: guests
guests: $(GUESTS)

# $(1): width
define guest_rules
$(BUILD)/tests/guests/$(1)/lib/%.o: tests/guests/lib/% $(GUEST_HEADERS)
	@mkdir -p $$(@D)
	$$(CC) $$(GUEST_FLAGS) $$(GUEST_FLAGS_$(1)) -c -o $$@ $$<
$(BUILD)/tests/guests/$(1)/%.o: tests/guests/$(1)/%.c $(GUEST_HEADERS)
	@mkdir -p $$(@D)
	$$(CC) $$(GUEST_FLAGS) $$(GUEST_FLAGS_$(1)) -c -o $$@ $$<
# A 64-bit image dressed as a 32-bit one, which is what Multiboot loads.
$(BUILD)/tests/guests/$(1)/%.guest: $(BUILD)/tests/guests/$(1)/%.o \
		$(patsubst tests/guests/lib/%,$(BUILD)/tests/guests/$(1)/lib/%.o,$(GUEST_LIB_$(1)))
	$$(CC) $$(GUEST_FLAGS_$(1)) $$(GUEST_LDFLAGS) -o $$@ $$^
	@objcopy -O elf32-i386 $$@
endef
$(eval $(call guest_rules,32))
$(eval $(call guest_rules,64))
.SECONDARY: $(GUEST_SOURCES:%.c=$(BUILD)/%.o) \
	$(GUEST_LIB_32:tests/guests/lib/%=$(BUILD)/tests/guests/32/lib/%.o) \
	$(GUEST_LIB_64:tests/guests/lib/%=$(BUILD)/tests/guests/64/lib/%.o)

# SPDX-License-Identifier: MIT
CC ?= gcc
BUILD ?= build
CFLAGS ?= -O2 -g
WARNINGS := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wundef \
	-Wwrite-strings -Wold-style-definition -Wvla
CPPFLAGS += -Isrc -D_GNU_SOURCE 
ALL_CFLAGS := -std=gnu17 $(WARNINGS) $(CFLAGS) -pthread -fno-strict-aliasing -MMD -MP
LDLIBS += -lZydis -pthread

# Rooms that run while the guest's vector state is in the host's registers: src/isa/x86/x86.h, rule 1.
GRO_ROOMS := src/mem/mem.c src/isa/% src/accel/interp/% src/accel/translate/% src/cpu/% src/base/gro.c
GRO_FLAGS := -mgeneral-regs-only -fno-tree-loop-distribute-patterns
GRO_SYMBOLS := $(foreach f,memcpy memmove memset memcmp,--redefine-sym $(f)=gro_$(f))

SOURCES := $(sort $(shell find src -name '*.c'))
OBJECTS := $(SOURCES:%.c=$(BUILD)/%.o)
LIBRARY := $(BUILD)/libringlet.a

.PHONY: all clean
all: $(BUILD)/ringlet

$(BUILD)/ringlet: $(BUILD)/src/cli/main.o $(LIBRARY)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS)

$(LIBRARY): $(filter-out $(BUILD)/src/cli/main.o,$(OBJECTS))
	@rm -f $@
	$(AR) rcs $@ $^

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(ALL_CFLAGS) $(if $(filter $(GRO_ROOMS),$<),$(GRO_FLAGS)) -c -o $@ $<
	$(if $(filter $(GRO_ROOMS),$<),objcopy $(GRO_SYMBOLS) $@)

clean:
	rm -rf $(BUILD)

-include $(OBJECTS:.o=.d)

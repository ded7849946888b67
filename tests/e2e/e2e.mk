# SPDX-License-Identifier: MIT
# Programs that the end-to-end tests run in guests, static: one of each tests/e2e/guest/<name>.c, and
# tests/e2e/direct/*.c, which test_direct.py runs on the host, too.
GUEST_PROGRAM_FLAGS := -std=gnu17 -D_GNU_SOURCE $(WARNINGS) -O2 -static -pthread
GUEST_PROGRAMS := $(patsubst tests/e2e/guest/%.c,$(BUILD)/tests/e2e/%,$(wildcard tests/e2e/guest/*.c))
DIRECT_PROGRAM := $(BUILD)/tests/e2e/direct

.PHONY: guest-programs
guest-programs: $(GUEST_PROGRAMS) $(DIRECT_PROGRAM)

$(GUEST_PROGRAMS): $(BUILD)/tests/e2e/%: tests/e2e/guest/%.c tests/e2e/e2e.mk
	@mkdir -p $(@D)
	$(CC) $(GUEST_PROGRAM_FLAGS) -o $@ $<

$(DIRECT_PROGRAM): $(wildcard tests/e2e/direct/*.[ch]) tests/e2e/e2e.mk
	@mkdir -p $(@D)
	$(CC) $(GUEST_PROGRAM_FLAGS) -mfsgsbase -mxsave -mxsaveopt -mxsavec -o $@ $(filter %.c,$^)

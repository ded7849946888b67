# SPDX-License-Identifier: MIT
# The program of the processes that run guest programs' code as it is: $(BUILD)/cell/cell, without libc, part
# of the program (src/host/cell.c).
CELL := $(BUILD)/cell/cell
CELL_FLAGS := -std=gnu17 -Isrc $(WARNINGS) -O2 -ffreestanding -fno-stack-protector -fno-builtin \
	-mgeneral-regs-only -mfsgsbase -fPIE -fcf-protection=none -fno-asynchronous-unwind-tables
CELL_LDFLAGS := -static-pie -nostdlib -s -Wl,--build-id=none -Wl,-z,noexecstack -Wl,-z,norelro

$(CELL): cell/cell.c src/host/cell.h cell/cell.mk
	@mkdir -p $(@D)
	$(CC) $(CELL_FLAGS) $(CELL_LDFLAGS) -o $@ $<
	@if readelf -rW $@ | grep R_X86_64; then echo '$@ must not need relocation'; rm $@; exit 1; fi

$(BUILD)/src/host/cell.o: $(CELL)
$(BUILD)/src/host/cell.o: CPPFLAGS += -DCELL_IMAGE='"$(abspath $(CELL))"'

# SPDX-License-Identifier: MIT
# make         the program, build/ringlet        make test     everything that is tested
# make run     boot a kernel to a shell          make help     the other targets
ifeq ($(origin CC),default)
CC := gcc
endif
BUILD ?= build
CFLAGS ?= -O2 -g
WARNINGS := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wundef \
	-Wwrite-strings -Wold-style-definition -Wvla
CPPFLAGS += -Isrc -D_GNU_SOURCE
ALL_CFLAGS := -std=gnu17 $(WARNINGS) $(CFLAGS) -pthread -fno-strict-aliasing -MMD -MP
LDLIBS += -lZydis -pthread

# Libraries that the program can do without. HAVE_… is 1 for those that pkg-config finds, else 0.
FOUND := $(foreach l,liblzma zlib libzstd liblz4,$(if $(shell pkg-config --exists $(l) && echo y),$(l)))
found = $(if $(filter $(1),$(FOUND)),1,0)
CPPFLAGS += -DHAVE_LZMA=$(call found,liblzma) -DHAVE_ZLIB=$(call found,zlib) \
	-DHAVE_ZSTD=$(call found,libzstd) -DHAVE_LZ4=$(call found,liblz4)
LDLIBS += $(if $(FOUND),$(shell pkg-config --libs $(FOUND)))

PYTHON ?= /usr/bin/python3
PREFIX ?= /usr/local

# Rooms that run while the guest's vector state is in the host's registers: src/isa/x86/x86.h, rule 1.
GRO_ROOMS := src/isa/% src/accel/% src/cpu/% src/mem/% src/base/gro.c
GRO_FLAGS := -mgeneral-regs-only -fno-tree-loop-distribute-patterns
GRO_SYMBOLS := $(foreach f,memcpy memmove memset memcmp,--redefine-sym $(f)=gro_$(f))

SOURCES := $(sort $(shell find src -name '*.c'))
OBJECTS := $(SOURCES:%.c=$(BUILD)/%.o)
GRO_OBJECTS := $(patsubst %.c,$(BUILD)/%.o,$(filter $(GRO_ROOMS),$(SOURCES)))
LIBRARY := $(BUILD)/libringlet.a

# A C test is a program: tests/<kind>/test_<thing>.c, with the other C files of its directory.
TESTS := $(sort $(wildcard tests/unit/test_*.c tests/oracle/test_*.c))
TEST_PROGRAMS := $(TESTS:%.c=$(BUILD)/%)
UNIT_PROGRAMS := $(filter $(BUILD)/tests/unit/%,$(TEST_PROGRAMS))
TEST_OBJECTS := $(patsubst %.c,$(BUILD)/%.o,$(wildcard tests/*/*.c))
# Of a test program: its directory's objects that are no test program's.
test_helpers = $(filter-out $(dir $(1))test_%,$(filter $(dir $(1))%,$(TEST_OBJECTS)))
FUZZERS := $(sort $(wildcard tests/fuzz/fuzz_*.c))
FUZZ_PROGRAMS := $(FUZZERS:%.c=$(BUILD)/%)
FUZZ_SECONDS ?= 60

.PHONY: all help deps run test check check-unit check-long check-layers check-gro sanitize fuzz \
	fuzz-programs test-programs unit-programs install clean
# An object whose second step failed is not up to date.
.DELETE_ON_ERROR:
all: $(BUILD)/ringlet

help:
	@sed -n 's/^#: //p' Makefile

# ---- the program ----

$(BUILD)/ringlet: $(BUILD)/src/cli/main.o $(LIBRARY)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS)

$(LIBRARY): $(filter-out $(BUILD)/src/cli/main.o,$(OBJECTS))
	@rm -f $@
	$(AR) rcs $@ $^

$(BUILD)/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(ALL_CFLAGS) $(if $(filter $(GRO_ROOMS),$<),$(GRO_FLAGS)) -c -o $@ $<
	$(if $(filter $(GRO_ROOMS),$<),objcopy $(GRO_SYMBOLS) $@)

#: make deps          install the packages that building and testing need
deps:
	@tools/install-deps

#: make run           boot the cached Debian kernel to a shell; ARGS="..." goes to ringlet run
run: deps all
	@kernel=$$(tools/fetch-kernel) && initrd=$$(tools/make-initramfs) && \
		exec $(BUILD)/ringlet run --kernel "$$kernel" --initrd "$$initrd" $(ARGS)

# ---- tests ----

$(BUILD)/tests/fuzz/%: $(BUILD)/tests/fuzz/%.o $(LIBRARY)
	$(CC) $(CFLAGS) -fsanitize=fuzzer $(LDFLAGS) -o $@ $^ $(LDLIBS)

.SECONDEXPANSION:
$(BUILD)/tests/%: $(BUILD)/tests/%.o $$(call test_helpers,$(BUILD)/tests/%) $(LIBRARY)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ -lcmocka $(LDLIBS)
.PRECIOUS: $(BUILD)/%.o

-include tests/guests/guests.mk
-include bench/bench.mk

unit-programs: $(UNIT_PROGRAMS)
test-programs: $(TEST_PROGRAMS)

#: make test          packages, build, checks of the source, unit tests, oracle, guests
test: deps
	@$(MAKE) --no-print-directory check

#: make check         the same without looking for packages; PYTEST_ARGS="-k ..." picks tests
check: all test-programs guests check-layers check-gro
	@tools/fetch-kernel >/dev/null
	@tools/make-initramfs >/dev/null
	RINGLET_BUILD=$(abspath $(BUILD)) $(PYTHON) -m pytest $(PYTEST_ARGS) tests

#: make check-unit    the C unit tests alone, nothing fetched
check-unit: unit-programs
	RINGLET_BUILD=$(abspath $(BUILD)) $(PYTHON) -m pytest $(PYTEST_ARGS) tests/unit

#: make check-long    make test with the tests that take minutes
check-long: deps
	@$(MAKE) --no-print-directory check PYTEST_ARGS="--long $(PYTEST_ARGS)"

#: make check-layers  no room includes one beside or above it
check-layers:
	@$(PYTHON) tools/check-layers src

#: make check-gro     what runs beside live vector state calls nothing that could spoil it
check-gro: $(GRO_OBJECTS)
	@$(PYTHON) tools/check-gro --allow tools/gro-allowed $(GRO_OBJECTS)

# Where vector state is live, ASan's run-time calls would spoil it: there it is UBSan alone. Guests
# access their memory at any address, and so do we, on a host that allows it: no alignment checks.
# ASan's versions of longjmp and memcpy do use vector registers, so the test of these is left out.
#: make sanitize      the unit tests under the address and undefined-behaviour sanitizers
SANITIZE := -fsanitize=address,undefined -fno-sanitize=alignment -fno-sanitize-recover=undefined \
	-fno-omit-frame-pointer
sanitize:
	$(MAKE) BUILD=$(BUILD)/sanitize CFLAGS="-O1 -g $(SANITIZE)" \
		GRO_FLAGS="$(GRO_FLAGS) -fno-sanitize=address" \
		PYTEST_ARGS="--ignore=tests/unit/test_hostexec.c $(PYTEST_ARGS)" check-unit

#: make fuzz          each fuzz target for FUZZ_SECONDS; seeds in tests/fuzz/seeds/<target>
fuzz:
	$(MAKE) BUILD=$(BUILD)/fuzz CC=clang \
		CFLAGS="-O1 -g -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize=alignment" \
		GRO_FLAGS="$(GRO_FLAGS) -fno-sanitize=address,fuzzer-no-link" fuzz-programs
	@for target in $(FUZZERS:tests/fuzz/%.c=%); do \
		mkdir -p $(BUILD)/fuzz/corpus/$$target; seeds=tests/fuzz/seeds/$$target; \
		test -d $$seeds || seeds=; \
		$(BUILD)/fuzz/tests/fuzz/$$target -max_total_time=$(FUZZ_SECONDS) \
			-artifact_prefix=$(BUILD)/fuzz/$$target- \
			$(BUILD)/fuzz/corpus/$$target $$seeds || exit 1; done

fuzz-programs: $(FUZZ_PROGRAMS)

# ---- the rest ----

#: make bench         guests against the host and QEMU's TCG, into docs/BENCHMARKS.md; ARGS="--help"

#: make install       the program and its manual page below PREFIX (/usr/local)
install: all
	install -D -m 755 $(BUILD)/ringlet $(DESTDIR)$(PREFIX)/bin/ringlet
	install -D -m 644 ringlet.1 $(DESTDIR)$(PREFIX)/share/man/man1/ringlet.1

#: make clean         remove what was built; the cache of kernels stays
clean:
	rm -rf $(BUILD)

-include $(OBJECTS:.o=.d) $(TEST_OBJECTS:.o=.d)

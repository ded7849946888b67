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

, := ,
# Libraries that the program can do without. HAVE_… is 1 for those that pkg-config finds, else 0.
FOUND := $(foreach l,liblzma zlib libzstd liblz4,$(if $(shell pkg-config --exists $(l) && echo y),$(l)))
found = $(if $(filter $(1),$(FOUND)),1,0)
CPPFLAGS += -DHAVE_LZMA=$(call found,liblzma) -DHAVE_ZLIB=$(call found,zlib) \
	-DHAVE_ZSTD=$(call found,libzstd) -DHAVE_LZ4=$(call found,liblz4)
LDLIBS += $(if $(FOUND),$(shell pkg-config --libs $(FOUND)))
# The same for those that pkg-config does not know, or not alone: whether a header (and version) is there.
probe = $(if $(shell printf '\043include <%s>\n\043if !(%s)\n\043error\n\043endif\n' '$(1)' '$(2)' | \
	$(CC) -E -x c - >/dev/null 2>&1 && echo y),1,0)
HAVE_SLIRP := $(call probe,slirp/libslirp.h,SLIRP_CHECK_VERSION(4$(,)7$(,)0))
HAVE_VDEPLUG := $(call probe,libvdeplug.h,1)
CPPFLAGS += -DHAVE_SLIRP=$(HAVE_SLIRP) -DHAVE_VDEPLUG=$(HAVE_VDEPLUG)
LDLIBS += $(if $(filter 1,$(HAVE_VDEPLUG)),-lvdeplug)

PYTHON ?= /usr/bin/python3
PREFIX ?= /usr/local

# Rooms that run while the guest's vector state is in the host's registers: src/isa/x86/x86.h, rule 1.
GRO_ROOMS := src/isa/% src/accel/soft.c src/cpu/% src/mem/% src/base/gro.c
# A loop that copies is not to become a call of memcpy, which it may be the body of.
GRO_FLAGS_gcc := -mgeneral-regs-only -fno-tree-loop-distribute-patterns
GRO_FLAGS_clang := -mgeneral-regs-only -mllvm -disable-loop-idiom-all
GRO_FLAGS := $(GRO_FLAGS_$(if $(findstring clang,$(shell $(CC) --version)),clang,gcc))
GRO_SYMBOLS := $(foreach f,memcpy memmove memset memcmp,--redefine-sym $(f)=gro_$(f))

SOURCES := $(sort $(shell find src -name '*.c' -o -name '*.S'))
OBJECTS := $(patsubst %,$(BUILD)/%.o,$(basename $(SOURCES)))
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

.PHONY: all help deps run test check check-unit check-long check-layers check-gro sanitize tsan fuzz \
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
	@$(AR) rcs $@ $^

$(BUILD)/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(ALL_CFLAGS) $(if $(filter $(GRO_ROOMS),$<),$(GRO_FLAGS)) -c -o $@ $<
	$(if $(filter $(GRO_ROOMS),$<),objcopy $(GRO_SYMBOLS) $@)

$(BUILD)/%.o: %.S Makefile
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) -MMD -MP -c -o $@ $<

#: make deps          install the packages that building and testing need
deps:
	@tools/install-deps

#: make run           boot the cached Debian kernel to a shell; ARGS="..." goes to ringlet run
run: deps all
	@kernel=$$(RINGLET_BUILD=$(abspath $(BUILD)) tools/fetch-kernel) && exec $(BUILD)/ringlet run --kernel "$$kernel" $(ARGS)

# ---- tests ----

# A fuzz target runs files that it is given; 'make fuzz' links libFuzzer instead. Time is the input's.
FUZZ_MAIN ?= $(BUILD)/tests/fuzz/replay.o
FUZZ_HELPERS := $(addprefix $(BUILD)/tests/fuzz/,clock.o device_target.o tree_target.o \
	virtio_target.o x86_machine.o)
$(BUILD)/tests/fuzz/fuzz_%: $(BUILD)/tests/fuzz/fuzz_%.o $(FUZZ_HELPERS) $(filter %.o,$(FUZZ_MAIN)) \
		$(LIBRARY)
	$(CC) $(CFLAGS) $(LDFLAGS) -Wl,--wrap=clock_gettime -o $@ $(filter-out %.a,$^) \
		$(filter-out %.o,$(FUZZ_MAIN)) $(LIBRARY) $(LDLIBS)

.SECONDEXPANSION:
$(BUILD)/tests/%: $(BUILD)/tests/%.o $$(call test_helpers,$(BUILD)/tests/%) $(LIBRARY)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ -lcmocka $(LDLIBS)
.PRECIOUS: $(BUILD)/%.o
# It puts bugs into the translator.
$(BUILD)/tests/unit/test_lockstep: LDFLAGS += -Wl,--wrap=mirror_recode
# It is the kernel behind /dev/vhost-net.
$(BUILD)/tests/unit/test_vhost: LDFLAGS += -Wl,--wrap=open -Wl,--wrap=ioctl
# It sees what is there while those who run a page are made to leave it.
$(BUILD)/tests/unit/test_direct_pages: LDFLAGS += -Wl,--wrap=blocks_stop_exec
# It is a host that cannot hold calls, and one that can.
$(BUILD)/tests/unit/test_cell: LDFLAGS += -Wl,--wrap=handover_listen -Wl,--wrap=ioctl
# It is a host that crashes and fails.
$(BUILD)/tests/unit/test_qcow2_crash: LDFLAGS += \
	$(foreach f,preadv pwritev fdatasync fallocate,-Wl,--wrap=$(f))

-include guest/init/init.mk
-include cell/cell.mk
-include tests/guests/guests.mk
-include tests/e2e/e2e.mk
-include bench/bench.mk

unit-programs: $(UNIT_PROGRAMS)
test-programs: $(TEST_PROGRAMS)

# Two files of tests side by side: nearly all of them wait for one guest's CPU.
PYTEST = RINGLET_BUILD=$(abspath $(BUILD)) $(PYTHON) -m pytest -n 2 --dist loadfile

#: make test          packages, build, checks of the source, unit tests, oracle, guests
test: deps
	@$(MAKE) --no-print-directory check

#: make check         the same without looking for packages; PYTEST_ARGS="-k ..." picks tests
check: all test-programs fuzz-programs guests guest-programs check-layers check-gro
	@RINGLET_BUILD=$(abspath $(BUILD)) tools/fetch-kernel >/dev/null
	@tools/make-initramfs >/dev/null
	$(PYTEST) $(PYTEST_ARGS) tests

#: make check-unit    the C unit tests and the kept fuzz inputs alone, nothing fetched
check-unit: unit-programs fuzz-programs
	$(PYTEST) $(PYTEST_ARGS) tests/unit tests/fuzz

#: make check-long    make test with the tests that take minutes
check-long: deps
	@$(MAKE) --no-print-directory check PYTEST_ARGS="--long $(PYTEST_ARGS)"

#: make check-layers  no room includes one beside or above it
check-layers:
	@$(PYTHON) tools/check-layers src

#: make check-gro     what runs beside live vector state calls nothing that could spoil it
check-gro: $(GRO_OBJECTS)
	@$(PYTHON) tools/check-gro --allow tools/gro-allowed $(GRO_OBJECTS)

# Guests access their memory at any address, and so do we, on a host that allows it: no alignment
# checks. Where vector state is live, ASan's checks are inline and its run-time functions replaced:
# see src/base/gro.c. Frames of these rooms are left by longjmp, so their stacks are not watched.
#: make sanitize      the same under the address and undefined-behaviour sanitizers
SANITIZE := -fsanitize=address,undefined -fno-sanitize=alignment -fno-sanitize-recover=undefined \
	-fno-omit-frame-pointer
SANITIZE_GRO := -DGRO_SANITIZED --param asan-stack=0 \
	--param asan-instrumentation-with-call-threshold=1000000000
SANITIZE_SYMBOLS := --redefine-sym longjmp=gro_longjmp \
	--redefine-sym __asan_handle_no_return=gro_no_return
sanitize:
	$(MAKE) BUILD=$(BUILD)/sanitize CFLAGS="-O1 -g $(SANITIZE)" \
		GRO_FLAGS="$(GRO_FLAGS) $(SANITIZE_GRO)" \
		GRO_SYMBOLS="$(GRO_SYMBOLS) $(SANITIZE_SYMBOLS)" check-unit

# The functions that TSan calls at each access use vector registers, so no test that keeps the guest's
# there can run: those that race.
RACING := races cell loop block qcow2 virtio_blk virtio_p9 p9
#: make tsan          the tests of threads against each other under the thread sanitizer
tsan:
	$(MAKE) BUILD=$(BUILD)/tsan CFLAGS="-O1 -g -fsanitize=thread" \
		$(foreach t,$(RACING),$(BUILD)/tsan/tests/unit/test_$(t))
	$(foreach t,$(RACING),$(BUILD)/tsan/tests/unit/test_$(t) &&) true

# Counters of what was reached are inline too, which calls at each comparison are not.
FUZZ_GRO := -DGRO_SANITIZED -mllvm -asan-stack=0 -fsanitize-address-use-after-return=never \
	-mllvm -asan-instrumentation-with-call-threshold=1000000000 \
	-mllvm -asan-memory-access-callback-prefix=gro_ \
	-fno-sanitize=fuzzer-no-link -fsanitize-coverage=inline-8bit-counters,pc-table
FUZZ ?= $(FUZZERS:tests/fuzz/fuzz_%.c=%)
#: make fuzz          each fuzz target (FUZZ="uart x86": these) for FUZZ_SECONDS
fuzz:
	$(MAKE) BUILD=$(BUILD)/fuzz CC=clang FUZZ_MAIN=-fsanitize=fuzzer \
		CFLAGS="-O1 -g $(SANITIZE) -fsanitize=fuzzer-no-link" \
		GRO_FLAGS="$(GRO_FLAGS_clang) $(FUZZ_GRO)" \
		GRO_SYMBOLS="$(GRO_SYMBOLS) $(SANITIZE_SYMBOLS)" \
		$(FUZZ:%=$(BUILD)/fuzz/tests/fuzz/fuzz_%)
	@for target in $(FUZZ); do \
		mkdir -p $(BUILD)/fuzz/corpus/$$target tests/fuzz/corpus/$$target; \
		$(BUILD)/fuzz/tests/fuzz/fuzz_$$target -max_total_time=$(FUZZ_SECONDS) -timeout=10 \
			-rss_limit_mb=4096 -artifact_prefix=$(BUILD)/fuzz/$$target- \
			$(BUILD)/fuzz/corpus/$$target tests/fuzz/corpus/$$target || exit 1; done

fuzz-programs: $(FUZZ_PROGRAMS)

# ---- the rest ----

#: make bench         guests against the host and QEMU's TCG, into docs/BENCHMARKS.md; ARGS="--help"

#: make install       the program, its manual page and shells' completion below PREFIX (/usr/local)
install: all
	install -D -m 755 $(BUILD)/ringlet $(DESTDIR)$(PREFIX)/bin/ringlet
	install -D -m 644 ringlet.1 $(DESTDIR)$(PREFIX)/share/man/man1/ringlet.1
	for to in bash:bash-completion/completions/ringlet zsh:zsh/site-functions/_ringlet \
			fish:fish/vendor_completions.d/ringlet.fish; do \
		$(BUILD)/ringlet completion $${to%%:*} >$(BUILD)/completion && \
		install -D -m 644 $(BUILD)/completion $(DESTDIR)$(PREFIX)/share/$${to#*:} || exit 1; done

#: make clean         remove what was built; the cache of kernels stays
clean:
	rm -rf $(BUILD)

-include $(OBJECTS:.o=.d) $(TEST_OBJECTS:.o=.d)

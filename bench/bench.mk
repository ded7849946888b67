# SPDX-License-Identifier: MIT
# The benchmark's programs: bench/*.c to one static binary, $(BUILD)/bench/bench, which runs on the
# host and in guests. run.py compares them. Without errno, sqrt is an instruction.
BENCH_LIBRARIES := lua5.4 liblzma zlib libzstd
BENCH_FLAGS = -std=gnu17 -D_GNU_SOURCE $(WARNINGS) -O2 -fno-math-errno -pthread \
	$(shell pkg-config --cflags $(BENCH_LIBRARIES))

.PHONY: bench bench-program
bench-program: $(BUILD)/bench/bench

$(BUILD)/bench/bench: $(wildcard bench/*.c bench/*.h) bench/bench.mk
	@mkdir -p $(@D)
	$(CC) $(BENCH_FLAGS) -static -o $@ $(filter %.c,$^) \
		$(shell pkg-config --static --libs $(BENCH_LIBRARIES))

bench: deps all
	@tools/install-deps bench/packages
	@$(MAKE) --no-print-directory bench-program
	$(PYTHON) bench/run.py --build $(BUILD) --write docs/BENCHMARKS.md $(ARGS)

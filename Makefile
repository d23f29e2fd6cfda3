# bigmalloc: build, test, measure, install. See README.md.
#
#   make          build/libbigmalloc.so, and libbigmalloc-topology.so where hwloc and libnuma are
#   make demo     what it gains, on real programs       make bench    beside other allocators
#   make check    all tests, about fifteen minutes       make lint     style, layers, tables
#   make install  to $(DESTDIR)$(PREFIX)                make uninstall, make clean

CC     ?= cc
PREFIX ?= /usr/local
BUILD  ?= build

# make V=1 shows the commands, otherwise only what they make.
quiet = $(if $(V),,@echo '  $@';)

JEMALLOC_ARCHIVE ?= $(firstword $(wildcard $(addsuffix /libjemalloc_pic.a,/usr/lib/* /usr/lib /usr/lib64 /usr/local/lib)))

# ---- the library ----

WARN := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wstrict-prototypes \
        -Wmissing-prototypes -Wold-style-definition -Wcast-qual -Wcast-align -Wwrite-strings \
        -Wpointer-arith -Wundef -Wvla -Wformat=2 -Wnull-dereference -Wdouble-promotion \
        -Wswitch-enum -Wimplicit-fallthrough -Wdate-time -Werror
WARN_GCC   := -Wlogical-op -Wduplicated-cond -Wduplicated-branches -Wjump-misses-init \
              -Wtrampolines -Warith-conversion
WARN_CLANG := -Wthread-safety -Wthread-safety-beta -Wunreachable-code -Wcomma -Wassign-enum \
              -Wmissing-variable-declarations
IS_CLANG   := $(findstring clang,$(shell $(CC) --version))

# initial-exec: thread-local access must not call malloc. no-builtin: gcc would turn our calloc into
# a call of itself. lto: a request crosses five files, and is a quarter faster through all at once.
CODE := -std=c11 -D_GNU_SOURCE -I. -O2 -g -fPIC -fvisibility=hidden -ftls-model=initial-exec \
        -fno-plt -fno-builtin-malloc -fno-builtin-calloc -fno-builtin-realloc -fno-builtin-free \
        -fstack-protector-strong $(if $(IS_CLANG),,-flto=auto)
LIBRARY_FLAGS := $(CODE) $(WARN) $(if $(IS_CLANG),$(WARN_CLANG),$(WARN_GCC))
LINK := -shared -Wl,-soname,libbigmalloc.so.1 -Wl,--version-script=interpose/exports.map \
        -Wl,-z,defs,-z,now,-z,relro,-z,nodelete,-z,initfirst -Wl,--as-needed

SOURCES := $(wildcard pool/*.c cuda_hooks/*.c interpose/*.c)
# x86_64 and aarch64.
ARCHITECTURE := $(firstword $(subst -, ,$(shell $(CC) -dumpmachine)))
ASSEMBLY := cuda_hooks/resolve_$(ARCHITECTURE).S
OBJECTS  := $(SOURCES:%.c=$(BUILD)/%.o) $(ASSEMBLY:%.S=$(BUILD)/%.o)
LIBRARY := $(BUILD)/libbigmalloc.so

# The companion for machines with several NUMA nodes: a file of its own, made where this links.
COMPANION_LIBS := -lhwloc -lnuma
HAS_COMPANION  := $(shell echo 'int main(void) { return !hwloc_topology_get_allowed_nodeset; }' | \
    $(CC) $(CFLAGS) -include hwloc.h -include numaif.h -x c - -o /dev/null $(LDFLAGS) $(COMPANION_LIBS) 2>/dev/null && echo yes)
COMPANION_OBJECTS := $(BUILD)/pool/companion/topology.o $(BUILD)/pool/topology.o $(BUILD)/pool/text_file.o
COMPANION         := $(if $(HAS_COMPANION),$(BUILD)/libbigmalloc-topology.so)
COMPANION_LINK    := -shared -Wl,-soname,libbigmalloc-topology.so -Wl,-z,defs,-z,now,-z,relro -Wl,--as-needed

.PHONY: all demo check bench lint format install uninstall clean
all: $(LIBRARY) $(COMPANION)
	$(if $(HAS_COMPANION),,@echo '  no libbigmalloc-topology.so: hwloc or libnuma cannot be linked (libhwloc-dev, libnuma-dev)')

$(LIBRARY): $(OBJECTS) $(BUILD)/libjemalloc.a interpose/exports.map
	$(quiet)$(CC) $(LIBRARY_FLAGS) $(CFLAGS) $(LINK) $(LDFLAGS) -o $@ $(OBJECTS) $(BUILD)/libjemalloc.a

$(BUILD)/libbigmalloc-topology.so: $(COMPANION_OBJECTS)
	$(quiet)$(CC) $(LIBRARY_FLAGS) $(CFLAGS) $(COMPANION_LINK) $(LDFLAGS) -o $@ $^ $(COMPANION_LIBS)

$(sort $(SOURCES:%.c=$(BUILD)/%.o) $(COMPANION_OBJECTS)): $(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(quiet)$(CC) $(LIBRARY_FLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

$(ASSEMBLY:%.S=$(BUILD)/%.o): $(BUILD)/%.o: %.S
	@mkdir -p $(@D)
	$(quiet)$(CC) -c -o $@ $<

$(BUILD)/libjemalloc.a: $(JEMALLOC_ARCHIVE) scripts/bundle-jemalloc
	@mkdir -p $(@D)
	@test -n "$(JEMALLOC_ARCHIVE)" || { echo 'libjemalloc_pic.a is missing: scripts/bootstrap build' >&2; exit 1; }
	$(quiet)scripts/bundle-jemalloc $(JEMALLOC_ARCHIVE) $@

# ---- tests ----

TEST_FLAGS   := -std=c11 -D_GNU_SOURCE -I. -g -Wall -Wextra -Wshadow -Werror -pthread
UNIT_FLAGS   := $(TEST_FLAGS) -O1 -fsanitize=address,undefined -fno-sanitize-recover=undefined
STRESS_FLAGS := $(TEST_FLAGS) -O1 -fsanitize=thread $(if $(IS_CLANG),,-Wno-tsan)
PLAIN_FLAGS  := $(TEST_FLAGS) -O2
TESTS        := $(BUILD)/tests
# The system calls that tests/pool/inject.c can make fail.
WRAPPED      := mmap munmap mprotect madvise mremap prctl write open read poll getcpu posix_fallocate

# NVIDIA's toolkit, where there is one.
CUDA          ?= /usr/local/cuda
CUDA_RUNTIMES := $(wildcard $(addprefix $(CUDA)/lib64/libcudart,.so _static.a))

UNIT     := $(TESTS)/pool/tests $(TESTS)/cuda_hooks/tests
UNIT_OBJECTS := $(patsubst %.c,$(TESTS)/unit/%.o,$(wildcard pool/*.c cuda_hooks/*.c tests/pool/*.c tests/cuda_hooks/*.c))
POOL_SOURCES := $(wildcard pool/*.c)
RACED_OBJECTS := $(patsubst %.c,$(TESTS)/raced/%.o,$(POOL_SOURCES) $(wildcard tests/stress/*.c))
PLAIN_OBJECTS := $(RACED_OBJECTS:$(TESTS)/raced/%=$(TESTS)/plain/%)
STRESS   := $(patsubst tests/stress/%.c,$(TESTS)/stress/%,$(wildcard tests/stress/*.c))
PRELOAD  := $(TESTS)/preload/tests $(TESTS)/preload/subject $(TESTS)/preload/subject_cxx \
            $(patsubst tests/preload/%.c,$(TESTS)/preload/%.so,$(wildcard tests/preload/lib_*.c))
GUEST    := $(patsubst tests/stress/%.c,$(TESTS)/guest/stress/%,$(wildcard tests/stress/*.c))
CGROUP   := $(patsubst tests/cgroup/%.c,$(TESTS)/cgroup/%,$(wildcard tests/cgroup/*.c))
FAKE     := $(addprefix $(TESTS)/fake/,libcuda.so.1 11050/libcuda.so.1 12080/libcuda.so.1 libcudart_fake.so tests) \
            $(patsubst $(CUDA)/lib64/libcudart%,$(TESTS)/fake/subject_runtime%,$(CUDA_RUNTIMES))
GPU      := $(addprefix $(TESTS)/cuda/,probe blas timed_allocator.so rehearsal/libcublas.so rehearsal/libcudart.so.13) \
            $(patsubst $(CUDA)/lib64/libcudart.so,$(TESTS)/cuda/runtime_dynamic,$(filter %.so,$(CUDA_RUNTIMES))) \
            $(patsubst $(CUDA)/lib64/libcudart_static.a,$(TESTS)/cuda/runtime_static,$(filter %.a,$(CUDA_RUNTIMES)))
POOLS    := $(addprefix $(TESTS)/cuda_pools/,tests subject storm storm_inside)
PROGRAMS := $(patsubst tests/bench/%.c,$(TESTS)/bench/%,$(wildcard tests/bench/*.c))
COMPANY  := $(if $(HAS_COMPANION),$(patsubst %,$(TESTS)/companion/%,tests alone asker lib_loader.so lib_other.so))
IN_NUMA  := tests/numa/nodes.c tests/numa/refuse.c # are in every program of that folder
NUMA     := $(patsubst tests/numa/%.c,$(TESTS)/numa/%,$(filter-out $(IN_NUMA),$(wildcard tests/numa/*.c)))
HEADERS  := $(wildcard pool/*.h pool/*.def cuda_hooks/*.h cuda_hooks/*.def interpose/companion.h tests/*/*.h tests/*/*.def)
FAKE_DRIVER := $(filter-out tests/fake/test_% tests/fake/subject_% tests/fake/runtime.c,$(wildcard tests/fake/*.c))

$(TESTS)/pool/tests: $(filter $(TESTS)/unit/pool/% $(TESTS)/unit/tests/pool/%,$(UNIT_OBJECTS))
	@mkdir -p $(@D)
	$(quiet)$(CC) $(UNIT_FLAGS) $(WRAPPED:%=-Wl,--wrap=%) -o $@ $^ -lcriterion

$(UNIT_OBJECTS): $(TESTS)/unit/%.o: %.c
	@mkdir -p $(@D)
	$(quiet)$(CC) $(UNIT_FLAGS) -MMD -MP -c -o $@ $<

# Without a dlsym of its own, which the sanitizers could not stand, and before a loader of the tests'.
$(TESTS)/cuda_hooks/tests: $(filter-out $(TESTS)/unit/tests/pool/% %/cuda_hooks/loader.o,$(UNIT_OBJECTS))
	@mkdir -p $(@D)
	$(quiet)$(CC) $(UNIT_FLAGS) -Wl,--wrap=dlopen -o $@ $^ -lcriterion

$(STRESS): $(TESTS)/stress/%: $(TESTS)/raced/tests/stress/%.o $(POOL_SOURCES:%.c=$(TESTS)/raced/%.o)
	@mkdir -p $(@D)
	$(quiet)$(CC) $(STRESS_FLAGS) -o $@ $^

# The same without ThreadSanitizer, which knows one layout of addresses and is slow, for tests/guest.
$(GUEST): $(TESTS)/guest/stress/%: $(TESTS)/plain/tests/stress/%.o $(POOL_SOURCES:%.c=$(TESTS)/plain/%.o)
	@mkdir -p $(@D)
	$(quiet)$(CC) $(PLAIN_FLAGS) -o $@ $^

$(RACED_OBJECTS): $(TESTS)/raced/%.o: %.c
	@mkdir -p $(@D)
	$(quiet)$(CC) $(STRESS_FLAGS) -MMD -MP -c -o $@ $<

$(PLAIN_OBJECTS): $(TESTS)/plain/%.o: %.c
	@mkdir -p $(@D)
	$(quiet)$(CC) $(PLAIN_FLAGS) -MMD -MP -c -o $@ $<

$(CGROUP): $(TESTS)/cgroup/%: tests/cgroup/%.c
	@mkdir -p $(@D)
	$(quiet)$(CC) $(TEST_FLAGS) -O2 -fno-builtin -o $@ $<

$(NUMA): $(TESTS)/numa/%: tests/numa/%.c $(IN_NUMA) $(HEADERS)
	@mkdir -p $(@D)
	$(quiet)$(CC) $(TEST_FLAGS) -O2 -fno-builtin -o $@ $(filter %.c,$^)

$(TESTS)/preload/tests: $(wildcard tests/preload/test_*.c) tests/preload/child.c $(HEADERS)
	@mkdir -p $(@D)
	$(quiet)$(CC) $(TEST_FLAGS) -O1 -o $@ $(filter %.c,$^) -lcriterion

$(TESTS)/preload/subject: $(wildcard tests/preload/subject*.c) tests/preload/live_reader.c $(HEADERS)
	@mkdir -p $(@D)
	$(quiet)$(CC) $(TEST_FLAGS) -O1 -fno-builtin -o $@ $(filter %.c,$^) -ldl

$(TESTS)/preload/subject_cxx: tests/preload/subject_cxx.cc
	@mkdir -p $(@D)
	$(quiet)$(CXX) -std=c++17 -O1 -g -fno-builtin -fsized-deallocation -Wall -Wextra -Werror -pthread -o $@ $<

$(TESTS)/preload/lib_%.so: tests/preload/lib_%.c
	@mkdir -p $(@D)
	$(quiet)$(CC) $(TEST_FLAGS) -O1 -fno-builtin -fPIC -shared -o $@ $<

$(TESTS)/companion/tests: $(wildcard tests/companion/test_*.c) tests/companion/machine.c tests/numa/refuse.c $(HEADERS)
	@mkdir -p $(@D)
	$(quiet)$(CC) $(TEST_FLAGS) -O1 -o $@ $(filter %.c,$^) -lcriterion

$(TESTS)/companion/asker $(TESTS)/companion/lib_loader.so: interpose/companion.c interpose/shield.c

$(TESTS)/companion/alone $(TESTS)/companion/asker: $(TESTS)/companion/%: tests/companion/%.c $(HEADERS)
	@mkdir -p $(@D)
	$(quiet)$(CC) $(TEST_FLAGS) -O1 -o $@ $(filter %.c,$^) -ldl

$(TESTS)/companion/lib_%.so: tests/companion/lib_%.c $(HEADERS)
	@mkdir -p $(@D)
	$(quiet)$(CC) $(TEST_FLAGS) -O1 -fPIC -shared -o $@ $(filter %.c,$^)

# A stand-in driver of each version, which exports no function that came later. Bsymbolic: what it hands out is its
# own, as a real driver's, also where somebody before it exports the same names.
.PRECIOUS: $(TESTS)/fake/%.map $(TESTS)/fake/%/libcuda.so.1
$(TESTS)/fake/%.map: tests/fake/symbols.h $(HEADERS)
	@mkdir -p $(@D)
	$(quiet)$(CC) -I. -E -P $< | awk -v RS=';' -v version=$* \
	    'BEGIN { print "{ local: nothing_more;" } $$1 > version { print $$2 ";" } END { print "};" }' >$@

$(TESTS)/fake/%/libcuda.so.1: $(TESTS)/fake/%.map $(FAKE_DRIVER)
	@mkdir -p $(@D)
	$(quiet)$(CC) $(TEST_FLAGS) -O1 -fPIC -fvisibility=hidden -DFAKE_DRIVER_VERSION=$* -shared -Wl,-soname,libcuda.so.1 \
	    -Wl,-Bsymbolic,-z,defs -Wl,--version-script=$< -o $@ $(FAKE_DRIVER)

$(TESTS)/fake/libcuda.so.1: $(TESTS)/fake/13000/libcuda.so.1
	$(quiet)ln -sf 13000/libcuda.so.1 $@

$(TESTS)/fake/libcudart_fake.so: tests/fake/runtime.c $(HEADERS)
	@mkdir -p $(@D)
	$(quiet)$(CC) $(TEST_FLAGS) -O1 -fPIC -fvisibility=hidden -shared -Wl,-soname,libcudart_fake.so -o $@ $<

# The real runtimes, where the toolkit is installed: subject_runtime.so and subject_runtime_static.a are programs.
$(TESTS)/fake/subject_runtime%: tests/fake/subject_runtime.c $(CUDA)/lib64/libcudart% $(HEADERS)
	@mkdir -p $(@D)
	$(quiet)$(CC) $(TEST_FLAGS) -O1 -Wl,-rpath,$(CUDA)/lib64 -o $@ $(filter-out %.h %.def,$^) -ldl -lrt

$(TESTS)/fake/tests: $(wildcard tests/fake/test_*.c) $(TESTS)/fake/libcuda.so.1 $(HEADERS)
	@mkdir -p $(@D)
	$(quiet)$(CC) $(TEST_FLAGS) -O1 -Wl,-rpath,'$$ORIGIN' -o $@ $(filter %.c %.so.1,$^) -lcriterion

# Linked with the stand-in driver as programs are with the real one; bound at the first call, since an
# older one lacks some functions.
$(TESTS)/cuda_pools/subject: $(wildcard tests/cuda_pools/subject*.c) tests/cuda_pools/device.c tests/preload/subject.c $(TESTS)/fake/libcuda.so.1 $(HEADERS)
	@mkdir -p $(@D)
	$(quiet)$(CC) $(TEST_FLAGS) -O1 -fno-builtin '-DSUBJECT_TABLE="tests/cuda_pools/subject.def"' -Wl,-z,lazy -o $@ $(filter %.c %.so.1,$^) -ldl

$(TESTS)/cuda_pools/storm: tests/cuda_pools/storm.c $(TESTS)/fake/libcuda.so.1 $(HEADERS)
	@mkdir -p $(@D)
	$(quiet)$(CC) $(TEST_FLAGS) -O1 -fno-builtin -o $@ $(filter %.c %.so.1,$^)

# With the library's sources in it, for the thread sanitizer.
$(TESTS)/cuda_pools/storm_inside: tests/cuda_pools/storm.c tests/cuda_pools/inside.c $(wildcard pool/*.c) $(filter-out cuda_hooks/resolve.c,$(wildcard cuda_hooks/*.c)) $(TESTS)/fake/libcuda.so.1 $(HEADERS)
	@mkdir -p $(@D)
	$(quiet)$(CC) $(STRESS_FLAGS) -fno-builtin -o $@ $(filter %.c %.so.1,$^) -ldl

$(TESTS)/cuda_pools/tests: $(wildcard tests/cuda_pools/test_*.c) tests/preload/child.c $(HEADERS)
	@mkdir -p $(@D)
	$(quiet)$(CC) $(TEST_FLAGS) -O1 -o $@ $(filter %.c,$^) -lcriterion

# For a machine with a GPU (tests/cuda/run); no toolkit is needed but for those of its runtimes.
$(TESTS)/cuda/probe: $(addprefix tests/cuda/,probe.c facts.c latency.c waiting.c gpu.c) $(HEADERS)
	@mkdir -p $(@D)
	$(quiet)$(CC) $(TEST_FLAGS) -O2 -o $@ $(filter %.c,$^) -ldl

$(TESTS)/cuda/blas: tests/cuda/blas.c tests/cuda/gpu.c $(HEADERS)
	@mkdir -p $(@D)
	$(quiet)$(CC) $(TEST_FLAGS) -O2 -o $@ $(filter %.c,$^) -ldl

# Where there is no GPU tests/cuda/rehearse has the stand-in driver, its runtime under the real one's name, and this.
$(TESTS)/cuda/rehearsal/libcublas.so: tests/cuda/rehearsal/cublas.c
	@mkdir -p $(@D)
	$(quiet)$(CC) $(TEST_FLAGS) -O2 -ffast-math -fPIC -shared -o $@ $< -ldl

$(TESTS)/cuda/rehearsal/libcudart.so.13: $(TESTS)/fake/libcudart_fake.so
	@mkdir -p $(@D)
	$(quiet)cp $< $@

$(TESTS)/cuda/%.so: tests/cuda/%.c
	@mkdir -p $(@D)
	$(quiet)$(CC) $(TEST_FLAGS) -O2 -fPIC -shared -o $@ $< -ldl

$(TESTS)/cuda/runtime_dynamic: tests/cuda/runtime.c
	@mkdir -p $(@D)
	$(quiet)$(CC) $(TEST_FLAGS) -O2 -o $@ $< -L$(CUDA)/lib64 -lcudart -Wl,-rpath,$(CUDA)/lib64

$(TESTS)/cuda/runtime_static: tests/cuda/runtime.c
	@mkdir -p $(@D)
	$(quiet)$(CC) $(TEST_FLAGS) -O2 -o $@ $< -L$(CUDA)/lib64 -lcudart_static -ldl -lrt

$(PROGRAMS): $(TESTS)/bench/%: tests/bench/%.c $(HEADERS)
	@mkdir -p $(@D)
	$(quiet)$(CC) $(TEST_FLAGS) -O2 -o $@ $<

# What is built for a target comes after what it needs is installed, hence the second make.
check:
	@scripts/bootstrap check
	@$(MAKE) --no-print-directory $(if $(filter -j%,$(MAKEFLAGS)),,-j$$(nproc)) tests-built
	@tests/run $(BUILD)

.PHONY: tests-built bench-built
tests-built: all $(UNIT) $(STRESS) $(PRELOAD) $(CGROUP) $(GUEST) $(COMPANY) $(NUMA) $(FAKE) $(GPU) $(POOLS)

lint:
	@scripts/lint $(BUILD)

format:
	clang-format -i $(wildcard pool/*.[ch] pool/companion/*.c cuda_hooks/*.[ch] interpose/*.[ch] tests/*/*.[ch])

# ---- use ----

demo:
	@scripts/bootstrap demo
	@$(MAKE) --no-print-directory all
	@scripts/demo "$$(cat build/python.path)" $(LIBRARY)

bench:
	@scripts/bootstrap bench
	@$(MAKE) --no-print-directory bench-built

bench-built: all $(PROGRAMS)
	"$$(cat build/python.path)" tests/bench/bench.py --lib $(LIBRARY) --programs $(TESTS)/bench --out $(BUILD)/bench $(BENCH)

# Found as LD_PRELOAD=libbigmalloc.so.1 where PREFIX/lib is searched by the loader, which ldconfig tells of what is
# new there, and by the command beside it anywhere.
INSTALLED   := $(DESTDIR)$(PREFIX)
TOOL        := $(INSTALLED)/share/bigmalloc
MANUAL      := $(INSTALLED)/share/man/man1/bigmalloc.1
COMPLETIONS := $(INSTALLED)/share/bash-completion/completions

install: all
	install -D -m 755 $(LIBRARY) $(INSTALLED)/lib/libbigmalloc.so.1
	ln -sf libbigmalloc.so.1 $(INSTALLED)/lib/libbigmalloc.so
	$(if $(HAS_COMPANION),install -m 755 $(COMPANION) $(INSTALLED)/lib/)
	install -D -m 755 scripts/bigmalloc $(INSTALLED)/bin/bigmalloc
	rm -rf $(TOOL)/bigmalloc_tool
	install -d $(TOOL)/bigmalloc_tool
	install -m 644 scripts/bigmalloc_tool/*.py $(TOOL)/bigmalloc_tool
	install -m 644 scripts/grafana.json scripts/alerts.yml $(TOOL)
	install -D -m 644 scripts/bigmalloc.1 $(MANUAL)
	install -D -m 644 scripts/bigmalloc.bash $(COMPLETIONS)/bigmalloc
	$(if $(DESTDIR)$(filter-out /usr /usr/local,$(PREFIX)),,-/sbin/ldconfig)

uninstall:
	rm -f $(INSTALLED)/lib/libbigmalloc.so $(INSTALLED)/lib/libbigmalloc.so.1 $(INSTALLED)/lib/libbigmalloc-topology.so
	rm -f $(INSTALLED)/bin/bigmalloc $(MANUAL) $(COMPLETIONS)/bigmalloc
	rm -rf $(TOOL)

clean:
	rm -rf $(BUILD)

-include $(sort $(OBJECTS:.o=.d) $(COMPANION_OBJECTS:.o=.d) $(UNIT_OBJECTS:.o=.d) $(RACED_OBJECTS:.o=.d) $(PLAIN_OBJECTS:.o=.d))

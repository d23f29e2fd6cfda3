# bigmalloc: build, test, measure, install. See README.md.
#
#   make          build/libbigmalloc.so
#   make demo     what it gains, on real programs       make bench    beside other allocators
#   make check    all tests, about fifteen minutes       make lint     style, layers, tables
#   make install  to $(DESTDIR)$(PREFIX)                make clean

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

SOURCES := $(wildcard pool/*.c interpose/*.c)
OBJECTS := $(SOURCES:%.c=$(BUILD)/%.o)
LIBRARY := $(BUILD)/libbigmalloc.so

.PHONY: all demo check bench lint format install clean
all: $(LIBRARY)

$(LIBRARY): $(OBJECTS) $(BUILD)/libjemalloc.a interpose/exports.map
	$(quiet)$(CC) $(LIBRARY_FLAGS) $(CFLAGS) $(LINK) $(LDFLAGS) -o $@ $(OBJECTS) $(BUILD)/libjemalloc.a

$(OBJECTS): $(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(quiet)$(CC) $(LIBRARY_FLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/libjemalloc.a: $(JEMALLOC_ARCHIVE) scripts/bundle-jemalloc
	@mkdir -p $(@D)
	@test -n "$(JEMALLOC_ARCHIVE)" || { echo 'libjemalloc_pic.a is missing: scripts/bootstrap build' >&2; exit 1; }
	$(quiet)scripts/bundle-jemalloc $(JEMALLOC_ARCHIVE) $@

# ---- tests ----

TEST_FLAGS   := -std=c11 -D_GNU_SOURCE -I. -g -Wall -Wextra -Wshadow -Werror -pthread
UNIT_FLAGS   := $(TEST_FLAGS) -O1 -fsanitize=address,undefined -fno-sanitize-recover=undefined
STRESS_FLAGS := $(TEST_FLAGS) -O1 -fsanitize=thread
TESTS        := $(BUILD)/tests
# The system calls that tests/pool/inject.c can make fail.
WRAPPED      := mmap munmap mprotect madvise mremap prctl write open read poll

UNIT     := $(TESTS)/pool/tests
STRESS   := $(patsubst tests/stress/%.c,$(TESTS)/stress/%,$(wildcard tests/stress/*.c))
PRELOAD  := $(TESTS)/preload/tests $(TESTS)/preload/subject $(TESTS)/preload/subject_cxx \
            $(patsubst tests/preload/%.c,$(TESTS)/preload/%.so,$(wildcard tests/preload/lib_*.c))
GUEST    := $(patsubst tests/stress/%.c,$(TESTS)/guest/stress/%,$(wildcard tests/stress/*.c))
CGROUP   := $(patsubst tests/cgroup/%.c,$(TESTS)/cgroup/%,$(wildcard tests/cgroup/*.c))
PROGRAMS := $(patsubst tests/bench/%.c,$(TESTS)/bench/%,$(wildcard tests/bench/*.c))
HEADERS  := $(wildcard pool/*.h pool/*.def tests/*/*.h tests/*/*.def)

$(UNIT): $(wildcard tests/pool/*.c pool/*.c) $(HEADERS)
	@mkdir -p $(@D)
	$(quiet)$(CC) $(UNIT_FLAGS) $(WRAPPED:%=-Wl,--wrap=%) -o $@ $(filter %.c,$^) -lcriterion

$(STRESS): $(TESTS)/stress/%: tests/stress/%.c $(wildcard pool/*.c) $(HEADERS)
	@mkdir -p $(@D)
	$(quiet)$(CC) $(STRESS_FLAGS) -o $@ $(filter %.c,$^)

# The same without ThreadSanitizer, which knows one layout of addresses and is slow, for tests/guest.
$(GUEST): $(TESTS)/guest/stress/%: tests/stress/%.c $(wildcard pool/*.c) $(HEADERS)
	@mkdir -p $(@D)
	$(quiet)$(CC) $(TEST_FLAGS) -O2 -o $@ $(filter %.c,$^)

$(CGROUP): $(TESTS)/cgroup/%: tests/cgroup/%.c
	@mkdir -p $(@D)
	$(quiet)$(CC) $(TEST_FLAGS) -O2 -fno-builtin -o $@ $<

$(TESTS)/preload/tests: $(wildcard tests/preload/test_*.c) tests/preload/child.c $(HEADERS)
	@mkdir -p $(@D)
	$(quiet)$(CC) $(TEST_FLAGS) -O1 -o $@ $(filter %.c,$^) -lcriterion

$(TESTS)/preload/subject: $(wildcard tests/preload/subject*.c) $(HEADERS)
	@mkdir -p $(@D)
	$(quiet)$(CC) $(TEST_FLAGS) -O1 -fno-builtin -o $@ $(filter %.c,$^) -ldl

$(TESTS)/preload/subject_cxx: tests/preload/subject_cxx.cc
	@mkdir -p $(@D)
	$(quiet)$(CXX) -std=c++17 -O1 -g -fno-builtin -fsized-deallocation -Wall -Wextra -Werror -pthread -o $@ $<

$(TESTS)/preload/lib_%.so: tests/preload/lib_%.c
	@mkdir -p $(@D)
	$(quiet)$(CC) $(TEST_FLAGS) -O1 -fno-builtin -fPIC -shared -o $@ $<

$(PROGRAMS): $(TESTS)/bench/%: tests/bench/%.c $(HEADERS)
	@mkdir -p $(@D)
	$(quiet)$(CC) $(TEST_FLAGS) -O2 -o $@ $<

# What is built for a target comes after what it needs is installed, hence the second make.
check:
	@scripts/bootstrap check
	@$(MAKE) --no-print-directory check-built

.PHONY: check-built bench-built
check-built: all $(UNIT) $(STRESS) $(PRELOAD) $(CGROUP) $(GUEST)
	@tests/run $(BUILD)

lint:
	@scripts/lint $(BUILD)

format:
	clang-format -i $(wildcard pool/*.[ch] interpose/*.[ch] tests/*/*.[ch])

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

# Found as LD_PRELOAD=libbigmalloc.so.1 where PREFIX/lib is searched by the loader.
install: all
	install -D -m 755 $(LIBRARY) $(DESTDIR)$(PREFIX)/lib/libbigmalloc.so.1
	ln -sf libbigmalloc.so.1 $(DESTDIR)$(PREFIX)/lib/libbigmalloc.so

clean:
	rm -rf $(BUILD)

-include $(OBJECTS:.o=.d)

# bigmalloc: build, test, measure, install. See README.md.
#
#   make          build/libbigmalloc.so
#   make demo     what it gains, on real programs        make bench   beside other allocators
#   make check    all tests                              make lint    style, layers, tables
#   make install  to $(DESTDIR)$(PREFIX)                 make clean

CC      ?= cc
PREFIX  ?= /usr/local
BUILD   ?= build
VERSION := 1

JEMALLOC_ARCHIVE ?= $(firstword $(wildcard /usr/lib/*/libjemalloc_pic.a /usr/lib/libjemalloc_pic.a))

WARN := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wstrict-prototypes \
        -Wmissing-prototypes -Wold-style-definition -Wcast-qual -Wcast-align -Wwrite-strings \
        -Wpointer-arith -Wundef -Wvla -Wformat=2 -Wnull-dereference -Wdouble-promotion \
        -Wswitch-enum -Wimplicit-fallthrough -Wdate-time -Werror
WARN_GCC   := -Wlogical-op -Wduplicated-cond -Wduplicated-branches -Wjump-misses-init \
              -Wtrampolines -Warith-conversion
WARN_CLANG := -Wthread-safety -Wthread-safety-beta -Wunreachable-code -Wcomma -Wassign-enum \
              -Wmissing-variable-declarations
IS_CLANG   := $(findstring clang,$(shell $(CC) --version))

CODE   := -std=c11 -D_GNU_SOURCE -I. -O2 -g -fPIC -fvisibility=hidden -ftls-model=initial-exec \
          -fno-plt -fno-builtin-malloc -fno-builtin-calloc -fno-builtin-realloc -fno-builtin-free \
          -fstack-protector-strong
CFLAGS += $(CODE) $(WARN) $(if $(IS_CLANG),$(WARN_CLANG),$(WARN_GCC))
LINK   := -shared -Wl,-soname,libbigmalloc.so.$(VERSION) -Wl,--version-script=interpose/exports.map \
          -Wl,-z,defs,-z,now,-z,relro,-z,nodelete,-z,initfirst -Wl,--as-needed

SOURCES := $(wildcard pool/*.c interpose/*.c)
OBJECTS := $(SOURCES:%.c=$(BUILD)/%.o)
LIBRARY := $(BUILD)/libbigmalloc.so

.PHONY: all clean
all: $(LIBRARY)

$(LIBRARY): $(OBJECTS) $(BUILD)/libjemalloc.a interpose/exports.map
	$(CC) $(LINK) -o $@ $(OBJECTS) $(BUILD)/libjemalloc.a

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/libjemalloc.a: $(JEMALLOC_ARCHIVE) scripts/bundle-jemalloc
	@mkdir -p $(@D)
	scripts/bundle-jemalloc $(JEMALLOC_ARCHIVE) $@

clean:
	rm -rf $(BUILD)

-include $(OBJECTS:.o=.d)

/*
 * system.h - what this machine, container and process may use: thin readers over pure parsers.
 *
 * The parsers take any text, also a hostile or torn one, and never read past its end.
 */
#ifndef POOL_SYSTEM_H
#define POOL_SYSTEM_H

#include "pool/util.h"

#define UNLIMITED SIZE_MAX

/* Memory that this process may use, in bytes: the RAM of the machine, or the tightest limit of its
 * memory cgroup (v1 or v2) and of all that lie above it. Opens files; thread-safe. cgroups(7). */
size_t system_memory_limit(void);

/* Mappings that a process may have: vm.max_map_count, or the kernel's default. */
size_t system_mappings_limit(void);

/* The soft RLIMIT_AS; UNLIMITED where there is none. getrlimit(2). Async-signal-safe. */
size_t system_address_limit(void);

/* What one reservation of ours may take of a limited address space. There are two, the arena and
 * jemalloc's range, and an eighth is for both. Pure. */
static inline size_t system_address_share(size_t limit) {
    return limit / 16;
}

/* The number that the text begins with; `otherwise` for "max" and all that is none. */
size_t system_parse_number(const char *text, size_t otherwise);

/*
 * From the text of /proc/self/cgroup, the path of the memory controller's group: of v1 where that
 * hierarchy is named, else of v2. Copies it, terminated, into path[size]; `v1` says which it was.
 * False where there is none, or it does not fit.
 */
MUST_CHECK bool system_parse_cgroup(const char *text, char *path, size_t size, bool *v1);

#endif

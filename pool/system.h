/*
 * system.h - what this machine, container and process may use.
 */
#ifndef POOL_SYSTEM_H
#define POOL_SYSTEM_H

#include "pool/util.h"

/* Does the system promise no more memory than it has? proc_sys_vm(5), overcommit_memory. */
bool system_is_strict(void);

/* Memory that this process may use, in bytes: the RAM of the machine, what a strict one promises at most, or
 * the tightest limit of its memory cgroup (v1 or v2) and of all that lie above it. Opens files; one
 * caller at a time. cgroups(7). */
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

#endif

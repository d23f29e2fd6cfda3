/*
 * memory.h - what the kernel says about addresses, asked without touching them; and forks.
 */
#ifndef TESTS_POOL_MEMORY_H
#define TESTS_POOL_MEMORY_H

#include "pool/util.h"

bool is_readable(const void *p);

/* The byte at p is changed to zero where it is. */
bool is_writable(void *p);

bool is_all(const void *p, size_t bytes, char value);

/* Bytes of the range that are in memory. mincore(2) */
size_t resident_bytes(const void *p, size_t bytes);

/* The mapping that p lies in, as /proc/self/smaps tells it. */
struct mapping {
    uintptr_t start;
    uintptr_t end;
    char flags[256]; /* "VmFlags: ...", between blanks */
    char name[64];
};
bool find_mapping(const void *p, struct mapping *m);
bool has_flag(const void *p, const char *flag);

/* All that is mapped, accessible or not. proc(5), statm */
size_t address_space_bytes(void);

/* Runs `body` in a forked child. Did it return true? */
bool true_in_child(bool (*body)(void));

#endif

/*
 * modules.h - what code is mapped where, and of which build: by that, addresses are names later on.
 *
 * Nothing is asked of the loader, whose lock another thread may hold: /proc/self/maps lists the mappings, and their
 * build ids lie in the notes of the files, which are read through /proc/self/mem, as they may be unmapped meanwhile.
 * proc(5), elf(5).
 */
#ifndef POOL_MODULES_H
#define POOL_MODULES_H

#include "pool/util.h"

enum {
    MODULE_BUILD_ID = 2 * 32 + 1 /* digits of a build id, and the end */
};

/* An executable mapping of a file, from its byte `offset` on. */
struct module {
    uint64_t start;
    uint64_t end;
    uint64_t offset;
    const char *path;               /* until the visit is over */
    char build_id[MODULE_BUILD_ID]; /* "" where there is none */
};

/* Calls visit for each, in the order of their addresses. Opens files; thread-safe, async-signal-safe, preserves errno. */
void modules_visit(void (*visit)(const struct module *m));

#endif

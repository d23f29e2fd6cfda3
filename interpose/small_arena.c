/*
 * small_arena.c - a thread whose first request finds no memory left is refused it.
 *
 * jemalloc 5.3 gives each thread an arena, and the first request of a thread may have to make one. Where the
 * system has no memory for it, jemalloc goes on with NULL in a place that takes none, and crashes. So
 * scripts/bundle-jemalloc leads two calls between its files through here: the thread shares the first arena, which is
 * there from the start, and its next request tries again.
 */
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

/* jemalloc's own. */
extern void *_Atomic je_arenas[];
void *je_arena_choose_hard(void *thread, bool internal);
void je_tcache_arena_reassociate(void *thread, void *slow, void *cache, void *arena);

void *jemalloc_arena_choose_hard(void *thread, bool internal);
void jemalloc_tcache_arena_reassociate(void *thread, void *slow, void *cache, void *arena);

void *jemalloc_arena_choose_hard(void *thread, bool internal) {
    void *arena = je_arena_choose_hard(thread, internal);
    return arena != NULL ? arena : atomic_load(&je_arenas[0]);
}

/* A cache that has no other arena to go to stays where it is. */
void jemalloc_tcache_arena_reassociate(void *thread, void *slow, void *cache, void *arena) {
    if (arena != NULL) {
        je_tcache_arena_reassociate(thread, slow, cache, arena);
    }
}

/*
 * large.h - requests at and above the threshold: the pools, as the malloc family needs them.
 *
 * Functions are thread-safe and set errno as malloc(3) does.
 */
#ifndef INTERPOSE_LARGE_H
#define INTERPOSE_LARGE_H

#include "interpose/life.h"

/*
 * A block of at least `bytes`. NULL: *pass says whether jemalloc should serve the request in our
 * place (the pools are closed, or their addresses used up); otherwise it failed, and errno is set.
 */
MUST_CHECK struct block *large_acquire(size_t bytes, enum pool_pages pages, bool *pass);

/* The same, with what BIGMALLOC_FILL asks for in it. */
MUST_CHECK struct block *large_acquire_filled(size_t bytes, bool *pass);

/* The LIVE block that starts at p, an address of the arena. NULL: none does, which is a memory error
 * of the program, reported as one of `caller`; the process ends unless the user chose otherwise. */
MUST_CHECK struct block *large_find(const void *p, const char *caller);

/* Takes the block back that starts at p, an address of the arena; reports p if none does. Preserves
 * errno. */
void large_free(void *p);

/* A block for `bytes`, at least the threshold, with the contents of the LIVE block b, which may be b
 * itself or is gone; what is new in it is filled. NULL: there is none of that size to be had, and b is as it was. */
MUST_CHECK struct block *large_resize(struct block *b, size_t bytes);

/* Takes back a block, LIVE, that realloc has moved the contents out of. */
void large_outgrown(struct block *b);

/* Gives back all idle memory, jemalloc's too. False: there was none. */
bool large_trim(void);

/* Is p an address of the pools? */
static inline bool large_owns(const void *p) {
    return arena_owns(&life_host.arena, p);
}

#endif

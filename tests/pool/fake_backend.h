/*
 * fake_backend.h - a backend that counts its calls and refuses what it is told to.
 */
#ifndef TESTS_POOL_FAKE_BACKEND_H
#define TESTS_POOL_FAKE_BACKEND_H

#include "pool/backend.h"
#include "pool/block.h"

enum {
    FAKE_HISTORY = 64
};

struct fake_backend {
    struct backend backend;
    bool has_memory; /* or else addresses that nobody may touch */
    char *next;      /* the next of those addresses */

    size_t fills; /* calls so far */
    size_t drains;
    size_t clears;
    size_t marks;
    size_t unmarks;
    const struct block *drained[FAKE_HISTORY]; /* the first drains, in their order */
    size_t cleared_bytes;                      /* of the last clear */

    size_t refuse_fill; /* the fill to refuse, 1 for the first; 0: none */
    enum fill_result refusal;
    bool refuse_all_fills;
    bool refuse_clear;
    bool refuse_mark;
    bool refuse_unmark;
    bool refuse_drain; /* the memory stays, and dirty_bytes as they are */
};

void fake_backend_init(struct fake_backend *f, bool has_memory);

#endif

/*
 * fake_backend.h - a backend that counts its calls and refuses what it is told to.
 */
#ifndef TESTS_POOL_FAKE_BACKEND_H
#define TESTS_POOL_FAKE_BACKEND_H

#include "pool/backend.h"
#include "pool/block.h"

enum {
    FAKE_HISTORY = 64,
    FAKE_STRANGER = 0x5a
};

struct fake_backend {
    struct backend backend;
    bool has_memory; /* or else addresses that nobody may touch */
    bool has_gaps;   /* short tails are tails, as on the host; or else all granules are whole */
    char *next;      /* the next of those addresses */

    size_t fills; /* calls so far */
    size_t drains;
    size_t clears;
    size_t moves;
    size_t marks;
    size_t unmarks;
    const struct block *drained[FAKE_HISTORY]; /* the first drains, in their order */
    struct move moved[FAKE_HISTORY];           /* the first moves, as they ended */
    size_t cleared_from;                       /* of the last clear */
    size_t cleared_to;
    size_t granules; /* moved, or refused, so far */

    size_t refuse_fill; /* the fill to refuse, 1 for the first; 0: none */
    enum fill_result refusal;
    bool refuse_all_fills;
    size_t refuse_granule;  /* the granule not to be moved, 1 for the first; 0: none */
    size_t refuse_granules; /* so many from that one on; 0: one */
    enum move_result move_refusal;
    bool refuse_clear;
    bool refuse_mark;
    bool refuse_unmark;
    bool refuse_drain;                /* the memory stays, and what the block holds */
    const struct block *refuse_block; /* that one is neither drained, cleared nor moved from */

    char *stranger; /* the granule that MOVE_LOST gave to somebody else, full of FAKE_STRANGER */
};

void fake_backend_init(struct fake_backend *f, bool has_memory);

#endif

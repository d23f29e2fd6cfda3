/*
 * profile.h - what a program needed at its worst moment, told to its next run.
 *
 *     bigmalloc-profile 2 python3             version, and whose it is
 *     host 0 738197504                        a pool: its kind, where it is, the bytes live in it at once at most
 *     8388608 12                              so many blocks of at most that size were there
 *     16777216 3
 *     device GPU-74616e64-... 1073741824      the next pool; there may be two of the same place
 *     20971520 40
 *     end
 *
 * Pure. A text that is not of that form, to the last byte, is none.
 */
#ifndef POOL_PROFILE_H
#define POOL_PROFILE_H

#include "pool/identity.h"
#include "pool/size_class.h"
#include "pool/util.h"
#include "pool/writer.h"

enum {
    PROFILE_KIND = 8,
    PROFILE_WHERE = 48,
    PROFILE_POOLS = 64,
    PROFILE_LINES = 1024,
    PROFILE_TEXT = 48 * 1024 /* more than that many pools and lines */
};

/* Words, terminated, that mean the same in the next run: the number of a node, the UUID of a device. */
struct profile_place {
    char kind[PROFILE_KIND];
    char where[PROFILE_WHERE];
};

struct profile_pool {
    struct profile_place place;
    size_t peak;
    unsigned first; /* its lines: from this one on, */
    unsigned end;   /* and before that one */
    bool is_taken;  /* a pool of this run has it */
};

struct profile_line {
    size_t bytes;
    size_t blocks;
};

struct profile {
    char command[IDENTITY_COMMAND_BYTES]; /* of the program, as in struct identity */
    unsigned pool_count;
    unsigned line_count;
    struct profile_pool pools[PROFILE_POOLS];
    struct profile_line lines[PROFILE_LINES];
};

/* Adds a pool, and lines to the pool that was added last: where there is room, and any block. */
MUST_CHECK bool profile_add_pool(struct profile *p, const struct profile_place *place, size_t peak);
void profile_add(struct profile *p, struct profile_line line);

/* The sum of the peaks of all pools of a kind; NULL: of all there are. At most SIZE_CLASS_MAX. */
size_t profile_peak(const struct profile *p, const char *kind);

/* The first pool of that place that is not taken; NULL: there is none. */
struct profile_pool *profile_find(struct profile *p, const struct profile_place *place);

void profile_write(struct writer *w, const struct profile *p);

/* False: it is none, and p is of no use. */
MUST_CHECK bool profile_parse(struct profile *p, const char *text);

/* Does the text begin as one, of any version? */
bool profile_is_one(const char *text);

/* What is still to be made of one pool: zero, but for the two pointers, at the beginning. */
struct profile_walk {
    const struct profile *profile;   /* NULL: of none */
    const struct profile_pool *pool; /* NULL: nothing, or nothing any more */
    unsigned line;                   /* of the pool's */
    size_t made;                     /* pieces, or blocks, of that line */
};

/* The bytes of the next block, those larger than `most` left out; or of the next piece of a block, none of them larger
 * than that. In the order of the lines; 0: there is no more. */
size_t profile_next_block(struct profile_walk *walk, size_t most);
size_t profile_next_piece(struct profile_walk *walk, size_t most);

#endif

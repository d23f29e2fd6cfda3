/*
 * ahead.h - blocks made before anybody asks for them: what the last run needed, and the reserve.
 *
 *     profile of the last run --ahead_expect--> pool->expected --ahead_make..., again and again--> idle blocks
 *     what this run needed    --ahead_note----> profile for the next one
 *
 * They are idle memory like any other: they count to what may be idle, age, and go back where memory is short.
 *
 * Who makes blocks is one thread at a time, to which p->expected belongs. Otherwise functions are thread-safe; they are
 * not async-signal-safe, and may change errno.
 */
#ifndef POOL_AHEAD_H
#define POOL_AHEAD_H

#include "pool/host.h"
#include "pool/profile.h"

/* Does the profile, which outlives the pool, tell of the place of that backend's memory? */
bool ahead_is_told(const struct backend *b, struct profile *profile);

/* What the profile says of its place, unless another pool has taken that, is what is expected of the pool. */
void ahead_expect(struct pool *p, struct profile *profile);

/* The same of all nodes. Before anything is asked for. Until it has aged, so much may be idle as would be, had it been
 * live. */
void ahead_expect_on_host(struct host *h, struct profile *profile);

/* Makes a piece of what is expected, or of the reserve, resident, as an idle block. False: all of it is there, or
 * refused. */
MUST_CHECK bool ahead_make_on_host(struct host *h, uint64_t now_ms);

/* Of a pool whose blocks are whole: the bytes of the next block to be made, that fits into what was live at once,
 * beside what the pool holds by now, and is not larger than `most`. 0: there is no more. */
size_t ahead_next(struct pool *p, size_t most);

/* Adds what was asked for of the pool. Takes no lock: of what other threads do meanwhile some may be missed. */
void ahead_note(const struct pool *p, struct profile *profile);

#endif

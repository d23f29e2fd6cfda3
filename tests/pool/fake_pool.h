/*
 * fake_pool.h - a pool on a fake backend, for tests of what pools do with blocks.
 */
#ifndef TESTS_POOL_FAKE_POOL_H
#define TESTS_POOL_FAKE_POOL_H

#include "pool/pool.h"
#include "tests/pool/fake_backend.h"

extern struct fake_backend fake;
extern struct pool pool;

/* All is new. Without memory, addresses are numbers that nobody may touch. */
void start_without_memory(void);
void start_with_memory(void);

/* Criterion's assertions that lists and figures agree. */
void expect_valid(void);

/* An idle block for `bytes`, live now, or NULL. */
struct block *acquire(size_t bytes);

/* A live block for `bytes` of fresh memory, though idle blocks have some to lend. */
struct block *fill(size_t bytes);

/* A live block for `bytes`, whose pages are those of idle blocks as far as they go. */
struct block *borrow(size_t bytes);

/* A live block for `bytes` full of zeros, wherever they come from. */
struct block *zeroed(size_t bytes);

/* A block of `bytes` that became idle at that time. */
struct block *idle_since(size_t bytes, uint64_t freed_ms);

/* The program writes `value` everywhere, and what it may use is full of it. */
void write_all(const struct block *b, char value);
bool is_full_of(const struct block *b, char value);

void release(struct block *b, uint64_t now_ms);

/* As one that realloc has outgrown. Was it live? */
bool discard(struct block *b);

size_t figure(const _Atomic size_t *f);

#endif

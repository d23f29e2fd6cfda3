#include "tests/pool/fake_pool.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

#include "tests/pool/inject.h"
#include "tests/pool/memory.h"

struct fake_backend fake;
struct pool pool;
static struct meta_records records = {.record_bytes = sizeof(struct block)};

static void start(bool has_memory) {
    inject_nothing();
    fake_backend_init(&fake, has_memory);
    memset(&pool, 0, sizeof pool);
    pool_init(&pool, &fake.backend, &records);
}

void start_without_memory(void) {
    start(false);
}

void start_with_memory(void) {
    start(true);
}

void expect_valid(void) {
    cr_expect(pool_is_valid(&pool));
}

struct block *acquire(size_t bytes) {
    return pool_acquire(&pool, bytes, PAGES_ANY);
}

static struct block *must_fill(size_t bytes, enum pool_pages pages) {
    enum fill_result result = FILL_REFUSED;
    struct block *b = pool_fill(&pool, bytes, pages, &result);
    cr_assert(not(eq(ptr, b, NULL)));
    cr_assert(eq(int, result, FILL_OK));
    return b;
}

struct block *fill(size_t bytes) {
    return must_fill(bytes, PAGES_FRESH);
}

struct block *borrow(size_t bytes) {
    return must_fill(bytes, PAGES_ANY);
}

struct block *zeroed(size_t bytes) {
    struct block *b = pool_acquire(&pool, bytes, PAGES_ZERO);
    return b != NULL ? b : must_fill(bytes, PAGES_ZERO);
}

struct block *idle_since(size_t bytes, uint64_t freed_ms) {
    struct block *b = fill(bytes);
    release(b, freed_ms);
    return b;
}

void write_all(const struct block *b, char value) {
    memset(b->address, value, block_usable_bytes(b));
}

bool is_full_of(const struct block *b, char value) {
    return is_all(b->address, block_usable_bytes(b), value);
}

void release(struct block *b, uint64_t now_ms) {
    cr_assert(pool_release(&pool, b, now_ms));
}

bool discard(struct block *b) {
    return pool_discard(&pool, b, &pool.own.stats.outgrown_bytes);
}

size_t figure(const _Atomic size_t *f) {
    return stats_read(f);
}

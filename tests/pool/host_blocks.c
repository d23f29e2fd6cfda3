#include "tests/pool/host_blocks.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

struct block *must_acquire(struct host *h, size_t bytes) {
    enum fill_result result = FILL_OK;
    struct block *b = host_acquire(h, bytes, PAGES_ANY, &result);
    cr_assert(not(eq(ptr, b, NULL)));
    return b;
}

void must_release(struct host *h, struct block *b, uint64_t now_ms) {
    cr_assert(host_release(h, b, now_ms));
}

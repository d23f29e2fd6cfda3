/*
 * test_cuda_backend.c - sizes alone: what pools do with a driver is seen in tests/cuda_pools.
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "cuda_hooks/cuda_backend.h"

static size_t device(size_t bytes) {
    return cuda_backend_rounded(false, bytes);
}

static size_t pinned(size_t bytes) {
    return cuda_backend_rounded(true, bytes);
}

Test(cuda_backend, device_memory_below_2_MiB_comes_in_quarters_of_a_mebibyte) {
    cr_expect(eq(sz, device(1 * MIB), 1 * MIB));
    cr_expect(eq(sz, device(1 * MIB + 1), 1 * MIB + 256 * KIB));
    cr_expect(eq(sz, device(1 * MIB + 256 * KIB), 1 * MIB + 256 * KIB));
    cr_expect(eq(sz, device(2 * MIB), 2 * MIB));
}

Test(cuda_backend, device_memory_comes_in_pages_of_the_driver) {
    cr_expect(eq(sz, device(2 * MIB + 1), 4 * MIB));
    cr_expect(eq(sz, device(9 * MIB), 10 * MIB));
    cr_expect(eq(sz, device(100 * MIB), 104 * MIB));
    for (size_t bytes = 2 * MIB; bytes < 1 * GIB; bytes += bytes / 7) {
        cr_expect(zero(sz, device(bytes) % (2 * MIB)), "%zu", bytes);
        cr_expect(ge(sz, device(bytes), bytes));
    }
}

Test(cuda_backend, very_large_blocks_are_made_to_measure) {
    cr_expect(eq(sz, device(300 * MIB + 1), 302 * MIB));
    cr_expect(eq(sz, device(70 * GIB), 70 * GIB));
    cr_expect(eq(sz, pinned(300 * MIB + 1), 302 * MIB));
}

Test(cuda_backend, no_more_than_an_eighth_and_a_page_is_slack) {
    for (size_t bytes = 1 * MIB; bytes < 64 * GIB; bytes += bytes / 13 + 1) {
        cr_expect(le(sz, device(bytes) - bytes, bytes / 8 + 2 * MIB), "%zu", bytes);
        cr_expect(le(sz, pinned(bytes) - bytes, bytes / 8 + 2 * MIB), "%zu", bytes);
    }
}

Test(cuda_backend, small_blocks_come_in_their_classes) {
    cr_expect(eq(sz, device(4 * KIB), 64 * KIB));
    cr_expect(eq(sz, device(600 * KIB), 640 * KIB));
}

Test(cuda_backend, pinned_memory_never_comes_in_powers_of_two_alone) {
    cr_expect(eq(sz, pinned(5 * MIB), 5 * MIB));
    cr_expect(eq(sz, pinned(33 * MIB), 36 * MIB));
    cr_expect(eq(sz, pinned(129 * MIB), 144 * MIB));
}

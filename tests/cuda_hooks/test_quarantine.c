#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "cuda_hooks/quarantine.h"

static struct quarantine quarantine;
static struct block blocks[4];

static struct block *block(unsigned i) {
    blocks[i] = (struct block){.size_class = (uint16_t)size_class_of(4 * MIB), .granules = i + 1};
    return &blocks[i];
}

Test(quarantine, that_is_empty_has_no_end_and_nothing_to_take) {
    cr_expect(eq(u64, quarantine_end(&quarantine), 0));
    cr_expect(eq(ptr, quarantine_take(&quarantine, QUARANTINE_ALL), NULL));
    cr_expect(not(quarantine_holds_since(&quarantine, UINT64_MAX)));
}

Test(quarantine, tells_how_many_blocks_and_bytes_it_holds) {
    quarantine_add(&quarantine, block(0), 100);
    quarantine_add(&quarantine, block(2), 200);
    cr_expect(eq(uint, quarantine_count(&quarantine), 2));
    cr_expect(eq(sz, quarantine_bytes(&quarantine), 8 * MIB));
}

Test(quarantine, keeps_what_came_after_its_end_was_asked_for) {
    quarantine_add(&quarantine, block(0), 100);
    quarantine_add(&quarantine, block(1), 100);
    uint64_t end = quarantine_end(&quarantine);
    quarantine_add(&quarantine, block(2), 100);

    struct block *taken = quarantine_take(&quarantine, end);
    cr_assert(eq(ptr, taken, &blocks[1]), "the newest of them first");
    cr_assert(eq(ptr, taken->older, &blocks[0]));
    cr_expect(eq(ptr, taken->older->older, NULL));
    cr_expect(eq(uint, quarantine_count(&quarantine), 1));
    cr_expect(eq(sz, quarantine_bytes(&quarantine), 6 * MIB));
}

Test(quarantine, takes_a_block_that_came_back_meanwhile_for_another_one) {
    quarantine_add(&quarantine, block(0), 100);
    uint64_t end = quarantine_end(&quarantine);
    (void)quarantine_take(&quarantine, QUARANTINE_ALL);
    quarantine_add(&quarantine, block(0), 100);
    cr_expect(eq(ptr, quarantine_take(&quarantine, end), NULL));
    cr_expect(eq(uint, quarantine_count(&quarantine), 1));
}

Test(quarantine, ages_from_its_first_block_on) {
    quarantine_add(&quarantine, block(0), 100);
    quarantine_add(&quarantine, block(1), 200);
    cr_expect(not(quarantine_holds_since(&quarantine, 100)), "came at 100, which is not before");
    cr_expect(quarantine_holds_since(&quarantine, 101));
    (void)quarantine_take(&quarantine, QUARANTINE_ALL);
    quarantine_add(&quarantine, block(2), 300);
    cr_expect(not(quarantine_holds_since(&quarantine, 300)));
}

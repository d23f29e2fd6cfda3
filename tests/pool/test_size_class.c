#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "pool/size_class.h"

Test(size_class, begins_with_eight_steps_from_64_kib_to_128_kib) {
    static const size_t kib[] = {64, 72, 80, 88, 96, 104, 112, 120, 128, 144, 160};
    for (unsigned c = 0; c < sizeof kib / sizeof *kib; c++) {
        cr_expect(eq(sz, size_class_bytes(c), kib[c] * KIB));
    }
}

Test(size_class, ends_with_the_largest_address_range_of_a_process) {
    cr_expect(eq(u32, SIZE_CLASSES, 249));
    cr_expect(eq(sz, size_class_bytes(248), 128 * TIB));
    cr_expect(eq(sz, size_class_bytes(247), 120 * TIB));
}

Test(size_class, of_familiar_sizes_is_the_smallest_that_holds_them) {
    cr_expect(eq(u32, size_class_of(0), 0));
    cr_expect(eq(u32, size_class_of(1), 0));
    cr_expect(eq(u32, size_class_of(64 * KIB), 0));
    cr_expect(eq(u32, size_class_of(64 * KIB + 1), 1));
    cr_expect(eq(u32, size_class_of(72 * KIB), 1));
    cr_expect(eq(u32, size_class_of(1 * MIB), 32));
    cr_expect(eq(u32, size_class_of(1 * MIB + 1), 33));
    cr_expect(eq(u32, size_class_of(8 * MIB), 56));
    cr_expect(eq(u32, size_class_of(128 * TIB), 248));
}

Test(size_class, bytes_grow_from_class_to_class) {
    for (unsigned c = 1; c < SIZE_CLASSES; c++) {
        cr_assert(gt(sz, size_class_bytes(c), size_class_bytes(c - 1)), "class %u", c);
    }
}

Test(size_class, of_its_own_bytes_is_the_class_itself) {
    for (unsigned c = 0; c < SIZE_CLASSES; c++) {
        cr_assert(eq(u32, size_class_of(size_class_bytes(c)), c), "class %u", c);
    }
}

Test(size_class, of_one_byte_more_is_the_next_class) {
    for (unsigned c = 0; c + 1 < SIZE_CLASSES; c++) {
        cr_assert(eq(u32, size_class_of(size_class_bytes(c) + 1), c + 1), "class %u", c);
    }
}

Test(size_class, of_one_byte_less_is_still_the_same_class) {
    for (unsigned c = 0; c < SIZE_CLASSES; c++) {
        cr_assert(eq(u32, size_class_of(size_class_bytes(c) - 1), c), "class %u", c);
    }
}

Test(size_class, leaves_at_most_an_eighth_of_slack_on_the_worst_request) {
    for (unsigned c = 1; c < SIZE_CLASSES; c++) {
        size_t worst = size_class_bytes(c - 1) + 1;
        size_t slack = size_class_bytes(c) - worst;
        cr_assert(le(sz, slack, worst / 8), "class %u", c);
    }
}

Test(size_class, is_whole_pages) {
    for (unsigned c = 0; c < SIZE_CLASSES; c++) {
        cr_assert(zero(sz, size_class_bytes(c) % PAGE), "class %u", c);
    }
}

Test(size_class, never_falls_when_the_request_grows) {
    unsigned last = 0;
    for (size_t bytes = 1; bytes <= 4 * MIB; bytes += 61) {
        unsigned c = size_class_of(bytes);
        cr_assert(ge(u32, c, last), "%zu bytes", bytes);
        cr_assert(ge(sz, size_class_bytes(c), bytes), "%zu bytes", bytes);
        last = c;
    }
}

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "cuda_hooks/registrations.h"

static struct context contexts[2];
static char memory[8];

static void add(int i, size_t bytes, const struct context *c) {
    cr_assert(registrations_add((struct registration){.address = &memory[i], .bytes = bytes}, c));
}

Test(registrations, are_taken_out_by_their_address) {
    add(0, 100, &contexts[0]);
    add(1, 200, &contexts[0]);
    add(2, 300, &contexts[1]);
    cr_expect(eq(sz, registrations_take(&memory[1]).bytes, 200));
    cr_expect(eq(ptr, registrations_take(&memory[1]).address, NULL), "once");
    cr_expect(eq(ptr, registrations_take(&memory[5]).address, NULL));
}

Test(registrations, of_a_context_are_taken_out_with_it) {
    add(0, 100, &contexts[0]);
    add(1, 200, &contexts[1]);
    add(2, 400, &contexts[0]);
    size_t sum = registrations_take_of(&contexts[0]).bytes;
    sum += registrations_take_of(&contexts[0]).bytes;
    cr_expect(eq(sz, sum, 500));
    cr_expect(eq(ptr, registrations_take_of(&contexts[0]).address, NULL));
    cr_expect(eq(sz, registrations_take(&memory[1]).bytes, 200), "the other context's stays");
}

Test(registrations, use_their_records_again) {
    for (size_t i = 1; i <= 100000; i++) {
        add(0, i, NULL);
        cr_assert(eq(sz, registrations_take(&memory[0]).bytes, i));
    }
}

Test(registrations, of_the_parent_are_unknown_to_a_child) {
    add(0, 100, &contexts[0]);
    registrations_reset_in_child();
    cr_expect(eq(ptr, registrations_take(&memory[0]).address, NULL));
}

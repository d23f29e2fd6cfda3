#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "pool/number.h"

static const char *end;
static size_t n;

static void start(void) {
    end = NULL;
    n = 7;
}

TestSuite(number, .init = start);

Test(number, ends_with_its_digits) {
    cr_expect(number_parse("120m", &end, &n));
    cr_expect(eq(sz, n, 120));
    cr_expect(eq(str, (char *)(uintptr_t)end, "m"));
}

Test(number, may_be_the_largest_there_is) {
    cr_expect(number_parse("18446744073709551615", &end, &n));
    cr_expect(eq(sz, n, SIZE_MAX));
}

Test(number, that_is_too_large_is_the_largest_and_ends_as_any) {
    cr_expect(number_parse("18446744073709551616%", &end, &n));
    cr_expect(eq(sz, n, SIZE_MAX));
    cr_expect(eq(str, (char *)(uintptr_t)end, "%"));
    cr_expect(number_parse("99999999999999999999999990", &end, &n));
    cr_expect(eq(sz, n, SIZE_MAX));
}

Test(number, of_no_digits_is_none) {
    static const char *const texts[] = {"", "max", "-1", "+1", " 1", "%"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        cr_expect(not(number_parse(texts[i], &end, &n)), "%s", texts[i]);
    }
    cr_expect(eq(sz, n, 7));
    cr_expect(eq(ptr, (void *)(uintptr_t)end, NULL));
}

Test(number, or_else_is_what_the_text_begins_with) {
    cr_expect(eq(sz, number_or("0", 5), 0));
    cr_expect(eq(sz, number_or("65530\n", 5), 65530));
    cr_expect(eq(sz, number_or("12abc", 5), 12));
    cr_expect(eq(sz, number_or("9223372036854771712\n", 5), 9223372036854771712U));
    cr_expect(eq(sz, number_or("18446744073709551615", 5), SIZE_MAX));
}

Test(number, or_else_is_the_other_value_for_a_text_of_none) {
    cr_expect(eq(sz, number_or("max\n", 5), 5));
    cr_expect(eq(sz, number_or("", 5), 5));
    cr_expect(eq(sz, number_or("\n", 5), 5));
    cr_expect(eq(sz, number_or("-1", 5), 5));
    cr_expect(eq(sz, number_or(" 7", 5), 5));
}

Test(number, or_else_is_unlimited_where_it_is_too_large) {
    cr_expect(eq(sz, number_or("18446744073709551616", 5), UNLIMITED));
    cr_expect(eq(sz, number_or("99999999999999999999999999", 5), UNLIMITED));
}

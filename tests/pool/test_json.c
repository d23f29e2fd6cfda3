#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "tests/pool/json.h"

Test(json, accepts_values_of_every_kind) {
    cr_expect(json_is_valid("{}"));
    cr_expect(json_is_valid("[]\n"));
    cr_expect(json_is_valid("{\"a\": [1, 2.50, -3], \"b\": {\"c\": \"d\\\"\\u00e9\\n\"}}"));
    cr_expect(json_is_valid("0"));
    cr_expect(json_is_valid("[null, true, false]"));
}

Test(json, refuses_what_a_parser_would) {
    static const char *const bad[] = {
        "",
        "{",
        "}",
        "{\"a\"}",
        "{\"a\": }",
        "{\"a\": 1,}",
        "[1,]",
        "[1 2]",
        "[,]",
        "{\"a\": 1}x",
        "{a: 1}",
        "01",
        "1.",
        ".5",
        "\"a",
        "\"a\nb\"",
        "\"\\x41\"",
        "\"\\u12g4\"",
        "{\"a\": 1 \"b\": 2}",
        "{} {}",
        "nan",
        "nulls",
        "\"\x01\"",
        "\"\\",
        "-",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cr_expect(not(json_is_valid(bad[i])), "%s", bad[i]);
    }
}

Test(json, finds_numbers_by_their_names) {
    cr_expect(eq(sz, json_number("{\"ab\": 1, \"b\": 25}", "b"), 25));
    cr_expect(eq(sz, json_number("{\"ab\": 1}", "b"), SIZE_MAX));
}

#include "tests/pool/trace_reader.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

struct trace_head trace_reader_head(const char *file, uint64_t place) {
    struct trace_head head;
    memcpy(&head, file + place * TRACE_CHUNK, sizeof head);
    cr_assert(eq(int, memcmp(head.magic, "BMCK", 4), 0), "no chunk at place %lu", place);
    return head;
}

bool trace_reader_next(const char *file, uint64_t place, size_t *cursor, struct trace_record *r) {
    struct trace_head head = trace_reader_head(file, place);
    const char *chunk = file + place * TRACE_CHUNK;
    *cursor = *cursor != 0 ? *cursor : sizeof head;
    if (*cursor == head.used) {
        return false;
    }
    uint16_t type_and_units[2];
    memcpy(type_and_units, chunk + *cursor, sizeof type_and_units);
    size_t bytes = type_and_units[1] * (size_t)8;
    cr_assert(ne(sz, bytes, 0));
    cr_assert(le(sz, *cursor + bytes, head.used));
    r->type = (enum trace_type)type_and_units[0];
    memcpy(&r->a, chunk + *cursor + 4, sizeof r->a);
    r->words = (const uint64_t *)(const void *)(chunk + *cursor + 8);
    r->words_count = bytes / 8 - 1;
    r->chunk = head.number;
    *cursor += bytes;
    return true;
}

const char *trace_reader_text(const struct trace_record *r, size_t words, size_t n) {
    const char *text = (const char *)(r->words + words);
    while (n-- > 0) {
        text += round_up(strlen(text) + 1, 8);
    }
    cr_assert(text < (const char *)(r->words + r->words_count));
    return text;
}

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <sys/mman.h>

#include "pool/meta.h"
#include "tests/pool/inject.h"
#include "tests/pool/memory.h"

Test(meta, a_map_is_zero_and_may_only_be_read) {
    char *p = meta_map(64 * KIB);
    cr_assert(not(eq(ptr, p, NULL)));
    cr_expect(is_all(p, 64 * KIB, 0));
    cr_expect(not(is_writable(p)));
    cr_expect(eq(int, munmap(p, 64 * KIB), 0));
}

Test(meta, a_map_becomes_writable_by_pages) {
    char *p = meta_map(64 * KIB);
    cr_assert(not(eq(ptr, p, NULL)));
    cr_assert(meta_allow_writing(p + 4 * KIB, 8 * KIB));
    cr_expect(not(is_writable(p + 4 * KIB - 1)));
    cr_expect(is_writable(p + 4 * KIB));
    cr_expect(is_writable(p + 12 * KIB - 1));
    cr_expect(not(is_writable(p + 12 * KIB)));
    cr_expect(eq(int, munmap(p, 64 * KIB), 0));
}

Test(meta, a_map_costs_memory_only_where_it_is_written) {
    char *p = meta_map(64 * MIB);
    cr_assert(not(eq(ptr, p, NULL)));
    cr_assert(meta_allow_writing(p, 64 * MIB));
    cr_expect(eq(sz, resident_bytes(p, 64 * MIB), 0));
    p[32 * MIB] = 1;
    cr_expect(le(sz, resident_bytes(p, 64 * MIB), GRANULE));
    cr_expect(eq(int, munmap(p, 64 * MIB), 0));
}

Test(meta, refused_writing_is_told) {
    char *p = meta_map(64 * KIB);
    cr_assert(not(eq(ptr, p, NULL)));
    inject_failures(CALL_MPROTECT, 1, 1);
    cr_expect(not(meta_allow_writing(p, 4 * KIB)));
    inject_nothing();
    cr_expect(not(is_writable(p)));
    cr_expect(eq(int, munmap(p, 64 * KIB), 0));
}

Test(meta, a_refused_map_is_null) {
    inject_failures(CALL_MMAP, 1, 1);
    cr_expect(eq(ptr, meta_map(64 * KIB), NULL));
    inject_nothing();
}

Test(meta, records_are_zero_apart_and_keep_what_is_written) {
    enum {
        RECORDS = 3000
    }; /* three chunks */
    static unsigned char *seen[RECORDS];
    struct meta_records records = {.record_bytes = 64};
    for (int i = 0; i < RECORDS; i++) {
        seen[i] = meta_record(&records);
        cr_assert(not(eq(ptr, seen[i], NULL)));
        cr_assert(is_all(seen[i], 64, 0));
        cr_assert(zero(sz, (uintptr_t)seen[i] % 64), "aligned as its size is");
        memset(seen[i], i % 251 + 1, 64);
    }
    for (int i = 0; i < RECORDS; i++) {
        cr_assert(is_all(seen[i], 64, (char)(i % 251 + 1)), "record %d", i);
    }
}

Test(meta, records_that_do_not_divide_a_chunk_never_reach_past_its_end) {
    struct meta_records records = {.record_bytes = 24 * KIB};
    for (int i = 0; i < 5; i++) {
        char *record = meta_record(&records);
        cr_assert(not(eq(ptr, record, NULL)));
        memset(record, i, 24 * KIB);
        cr_expect(le(ptr, records.next, records.end));
    }
}

Test(meta, one_chunk_serves_many_records) {
    struct meta_records records = {.record_bytes = 64};
    inject_nothing();
    for (int i = 0; i < 1024; i++) {
        cr_assert(not(eq(ptr, meta_record(&records), NULL)));
    }
    cr_expect(eq(sz, inject.calls[CALL_MMAP], 1));
}

Test(meta, a_refused_chunk_gives_no_record_and_the_next_try_works) {
    struct meta_records records = {.record_bytes = 64};
    inject_failures(CALL_MMAP, 1, 1);
    cr_expect(eq(ptr, meta_record(&records), NULL));
    inject_nothing();
    cr_expect(not(eq(ptr, meta_record(&records), NULL)));
}

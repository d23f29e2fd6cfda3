#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

#include "pool/trace.h"
#include "tests/pool/inject.h"
#include "tests/pool/trace_reader.h"

static char file[TRACE_PLACES_LEAST * TRACE_CHUNK];
static struct trace trace;

static bool write_to_memory(const struct trace_piece *pieces, unsigned count) {
    for (unsigned i = 0; i < count; i++) {
        memcpy(file + pieces[i].offset, pieces[i].bytes, pieces[i].count);
    }
    return true;
}

static void start(void) {
    inject_nothing();
    cr_assert(trace_ring_start(&trace.ring, 0, write_to_memory));
}

TestSuite(trace, .init = start);

static const struct backend device = {
    .kind = "device", .id = 3, .uuid = "GPU-1234", .pci_address = "0000:03:00.0"};
static const struct backend host = {.kind = "host", .id = 1};
static const struct trace_subject nothing;
static const struct trace_stack stack_a = {.frames = {0x10, 0x20, 0x30}, .depth = 3};
static const struct trace_stack stack_b = {.frames = {0x10, 0x20, 0x31}, .depth = 3};

static void enter_alloc(const struct backend *backend, const struct trace_stack *stack,
                        uint64_t time_ns) {
    struct trace_entry e = {.type = TRACE_ALLOC,
                            .a = 77,
                            .words_count = 5,
                            .words = {time_ns, 0x7f00, 4096, 25, trace_info(5, TRACE_MISS)}};
    cr_assert(trace_enter(&trace, &e,
                          &(struct trace_subject){.backend = backend, .pool = 5, .stack = stack}));
}

/* The record of that type number `n` in a chunk. */
static struct trace_record record(uint64_t place, enum trace_type type, int n) {
    trace_ring_flush(&trace.ring);
    size_t cursor = 0;
    struct trace_record r;
    while (trace_reader_next(file, place, &cursor, &r)) {
        if (r.type == type && n-- == 0) {
            return r;
        }
    }
    cr_fatal("no such record");
    return r;
}

static size_t count(uint64_t place, enum trace_type type) {
    trace_ring_flush(&trace.ring);
    size_t cursor = 0;
    size_t n = 0;
    struct trace_record r;
    while (trace_reader_next(file, place, &cursor, &r)) {
        n += r.type == type;
    }
    return n;
}

Test(trace, a_record_has_its_words) {
    struct trace_entry e = {
        .type = TRACE_FREE, .a = 9, .words_count = 3, .words = {100, 0x7f0000000000, 30}};
    cr_assert(trace_enter(&trace, &e, &nothing));
    struct trace_record r = record(1, TRACE_FREE, 0);
    cr_expect(eq(u32, r.a, 9));
    cr_expect(eq(sz, r.words_count, 3));
    cr_expect(eq(u64, r.words[1], 0x7f0000000000));
    cr_expect(eq(u32, trace_reader_head(file, 1).used, 32 + 8 + 24));
}

Test(trace, strings_follow_the_words_and_are_filled_up) {
    struct trace_entry e = {.type = TRACE_MODULE,
                            .words_count = 3,
                            .words = {1, 2, 3},
                            .strings = {"1234567", "12345678", ""}};
    cr_assert(trace_enter(&trace, &e, &nothing));
    struct trace_record r = record(1, TRACE_MODULE, 0);
    cr_expect(eq(sz, r.words_count, 3 + 1 + 2 + 1));
    cr_expect(eq(str, (char *)trace_reader_text(&r, 3, 0), "1234567"));
    cr_expect(eq(str, (char *)trace_reader_text(&r, 3, 1), "12345678"));
    cr_expect(eq(str, (char *)trace_reader_text(&r, 3, 2), ""));
}

Test(trace, a_pool_is_introduced_before_its_first_record_in_a_chunk) {
    enter_alloc(&device, NULL, 1);
    enter_alloc(&device, NULL, 2);
    size_t cursor = 0;
    struct trace_record r;
    cr_assert(trace_reader_next((trace_ring_flush(&trace.ring), file), 1, &cursor, &r));
    cr_expect(eq(int, (int)r.type, TRACE_POOL));
    cr_expect(eq(u32, r.a, 5));
    cr_expect(eq(u64, r.words[0], 3));
    cr_expect(eq(str, (char *)trace_reader_text(&r, 1, 0), "device"));
    cr_expect(eq(str, (char *)trace_reader_text(&r, 1, 1), "GPU-1234"));
    cr_expect(eq(str, (char *)trace_reader_text(&r, 1, 2), "0000:03:00.0"));
    cr_expect(eq(sz, count(1, TRACE_POOL), 1));
    cr_expect(eq(sz, count(1, TRACE_ALLOC), 2));
}

Test(trace, a_pool_without_a_device_has_empty_names) {
    enter_alloc(&host, NULL, 1);
    struct trace_record r = record(1, TRACE_POOL, 0);
    cr_expect(eq(str, (char *)trace_reader_text(&r, 1, 0), "host"));
    cr_expect(eq(str, (char *)trace_reader_text(&r, 1, 1), ""));
    cr_expect(eq(str, (char *)trace_reader_text(&r, 1, 2), ""));
}

static uint64_t stack_of(struct trace_record r) {
    return r.words[4] >> 16 & UINT32_MAX;
}

Test(trace, the_same_stack_is_written_once_and_another_one_besides) {
    enter_alloc(&host, &stack_a, 1);
    enter_alloc(&host, &stack_a, 2);
    enter_alloc(&host, &stack_b, 3);
    cr_expect(eq(sz, count(1, TRACE_STACK), 2));
    struct trace_record a = record(1, TRACE_STACK, 0);
    struct trace_record b = record(1, TRACE_STACK, 1);
    cr_expect(ne(u32, a.a, b.a));
    cr_expect(eq(sz, a.words_count, 3));
    cr_expect(eq(u64, a.words[2], 0x30));
    cr_expect(eq(u64, b.words[2], 0x31));
    cr_expect(eq(u64, stack_of(record(1, TRACE_ALLOC, 0)), a.a));
    cr_expect(eq(u64, stack_of(record(1, TRACE_ALLOC, 1)), a.a));
    cr_expect(eq(u64, stack_of(record(1, TRACE_ALLOC, 2)), b.a));
}

Test(trace, info_tells_pool_and_service_beside_the_stack) {
    enter_alloc(&host, &stack_a, 1);
    struct trace_record r = record(1, TRACE_ALLOC, 0);
    cr_expect(eq(u64, r.words[4] & UINT16_MAX, 5));
    cr_expect(eq(u64, r.words[4] >> 48, TRACE_MISS));
}

Test(trace, without_a_stack_its_number_is_zero) {
    enter_alloc(&host, NULL, 1);
    cr_expect(eq(u64, stack_of(record(1, TRACE_ALLOC, 0)), 0));
    cr_expect(eq(sz, count(1, TRACE_STACK), 0));
}

/* Every chunk can be read without the others. */
Test(trace, pools_and_stacks_are_repeated_in_the_next_chunk) {
    enter_alloc(&host, &stack_a, 1);
    uint32_t number = record(1, TRACE_STACK, 0).a;
    while (trace.ring.number < 2) {
        enter_alloc(&host, &stack_a, 1);
    }
    cr_expect(eq(sz, count(2, TRACE_POOL), 1));
    cr_expect(eq(sz, count(2, TRACE_STACK), 1));
    cr_expect(eq(u32, record(2, TRACE_STACK, 0).a, number));
}

/* More than there is place for: they get new numbers when they come again, and none is another's. */
Test(trace, numbers_of_stacks_are_never_given_twice) {
    enum {
        STACKS = 3 * TRACE_STACK_SETS * TRACE_STACK_WAYS
    };
    static uint64_t frame_of[STACKS * 3];
    for (uint64_t i = 0; i < STACKS * 2; i++) {
        struct trace_stack s = {.frames = {i % STACKS}, .depth = 1};
        enter_alloc(&host, &s, i);
    }
    trace_ring_flush(&trace.ring);
    for (uint64_t place = 1; place <= size_min(trace.ring.number, TRACE_PLACES_LEAST - 1);
         place++) {
        size_t cursor = 0;
        struct trace_record r;
        while (trace_reader_next(file, place, &cursor, &r)) {
            if (r.type == TRACE_STACK) {
                cr_assert(lt(u32, r.a, STACKS * 3));
                cr_assert(frame_of[r.a] == 0 || frame_of[r.a] == r.words[0] + 1);
                frame_of[r.a] = r.words[0] + 1;
            }
        }
    }
}

Test(trace, modules_are_due_when_new_stacks_have_come_and_ever_more_seldom) {
    cr_expect(not(trace_modules_are_due(&trace, 5000)));
    enter_alloc(&host, &stack_a, 1);
    cr_expect(trace_modules_are_due(&trace, 5000));
    enter_alloc(&host, &stack_a, 1);
    cr_expect(not(trace_modules_are_due(&trace, 9000)), "that one is known");
    enter_alloc(&host, &stack_b, 1);
    cr_expect(trace_modules_are_due(&trace, 9000));
    struct trace_stack c = {.frames = {1}, .depth = 1};
    enter_alloc(&host, &c, 1);
    cr_expect(not(trace_modules_are_due(&trace, 10999)), "1 s, then 2 s");
    cr_expect(trace_modules_are_due(&trace, 11000));
}

Test(trace, modules_are_due_before_the_ring_has_gone_over_them) {
    enter_alloc(&host, &stack_a, 1);
    cr_assert(trace_modules_are_due(&trace, 0));
    while (trace.ring.number < TRACE_PLACES_LEAST / 2) {
        enter_alloc(&host, &stack_a, 1);
    }
    cr_expect(not(trace_modules_are_due(&trace, 1)));
    while (trace.ring.number < TRACE_PLACES_LEAST / 2 + 1) {
        enter_alloc(&host, &stack_a, 1);
    }
    cr_expect(trace_modules_are_due(&trace, 1));
    cr_expect(not(trace_modules_are_due(&trace, 1)));
}

Test(trace, the_header_is_the_first_chunk) {
    struct trace_entry e = {.type = TRACE_HEADER,
                            .a = TRACE_VERSION,
                            .words_count = 2,
                            .words = {11, 12},
                            .strings = {"host", "boot"}};
    cr_assert(trace_write_header(&e, write_to_memory));
    struct trace_head head = trace_reader_head(file, 0);
    cr_expect(eq(u64, head.number, 0));
    size_t cursor = 0;
    struct trace_record r;
    cr_assert(trace_reader_next(file, 0, &cursor, &r));
    cr_expect(eq(int, (int)r.type, TRACE_HEADER));
    cr_expect(eq(u32, r.a, 1));
    cr_expect(eq(u64, r.words[1], 12));
    cr_expect(eq(str, (char *)trace_reader_text(&r, 2, 1), "boot"));
    cr_expect(not(trace_reader_next(file, 0, &cursor, &r)));
}

Test(trace, the_header_tells_whose_file_it_is) {
    struct trace_entry e = {.type = TRACE_HEADER, .words_count = 3, .words = {4711, 99, 1}};
    struct trace_owner o;
    cr_expect(not(trace_read_owner(&o, file)));
    cr_assert(trace_write_header(&e, write_to_memory));
    cr_assert(trace_read_owner(&o, file));
    cr_expect(eq(u64, o.pid, 4711));
    cr_expect(eq(u64, o.start_ticks, 99));
}

Test(trace, a_header_that_is_too_long_is_refused) {
    static char text[TRACE_HEADER_BYTES + 1];
    memset(text, 'x', sizeof text - 1);
    struct trace_entry e = {.type = TRACE_HEADER, .strings = {text}};
    cr_assert(not(trace_write_header(&e, write_to_memory)));
}

Test(trace, a_child_introduces_pools_and_stacks_again) {
    enter_alloc(&host, &stack_a, 1);
    lock_acquire(&trace.ring.lock);
    trace_reset(&trace);
    enter_alloc(&host, &stack_a, 2);
    cr_expect(eq(sz, count(1, TRACE_POOL), 1));
    cr_expect(eq(sz, count(1, TRACE_STACK), 1));
    cr_expect(eq(sz, count(1, TRACE_ALLOC), 1));
    cr_expect(eq(u32, record(1, TRACE_STACK, 0).a, 1));
}

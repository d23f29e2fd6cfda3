#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

#include "pool/trace_ring.h"
#include "tests/pool/inject.h"
#include "tests/pool/trace_reader.h"

enum {
    PLACES = TRACE_PLACES_LEAST,
    LOG = 8
};

/* A file in memory. */
static char file[PLACES * TRACE_CHUNK];
static struct trace_piece written[LOG];
static unsigned writes;
static bool is_full;
static void (*meanwhile)(void); /* what another thread does while the first piece is written */

static struct trace_ring ring;

static bool write_to_memory(const struct trace_piece *pieces, unsigned count) {
    for (unsigned i = 0; i < count && !is_full; i++) {
        memcpy(file + pieces[i].offset, pieces[i].bytes, pieces[i].count);
        written[writes++ % LOG] = pieces[i];
    }
    void (*other)(void) = meanwhile;
    meanwhile = NULL;
    if (other != NULL) {
        other();
    }
    return !is_full;
}

static void start(void) {
    inject_nothing();
    cr_assert(trace_ring_start(&ring, 0, write_to_memory));
}

TestSuite(trace_ring, .init = start);

/* A record of `units`, of that type. The buffer that it has filled up. */
static struct trace_buffer *put(uint16_t type, uint16_t units) {
    struct trace_buffer *full = NULL;
    lock_acquire(&ring.lock);
    if (trace_ring_reserve(&ring, units * (size_t)8, &full)) {
        uint16_t *at = trace_ring_take(&ring, units * (size_t)8);
        memset(at, 0, units * (size_t)8);
        at[0] = type;
        at[1] = units;
    }
    lock_release(&ring.lock);
    return full;
}

static void put_and_write(uint16_t type, uint16_t units) {
    struct trace_buffer *full = put(type, units);
    if (full != NULL) {
        trace_ring_write(&ring, full);
    }
}

/* Two of these do not fit into a chunk. */
static const uint16_t MORE_THAN_HALF = 5000;

static size_t records_at(uint64_t place, uint16_t type) {
    size_t cursor = 0;
    size_t count = 0;
    struct trace_record r;
    while (trace_reader_next(file, place, &cursor, &r)) {
        count += r.type == type;
    }
    return count;
}

Test(trace_ring, nothing_is_written_before_a_chunk_is_full) {
    put_and_write(7, 10);
    put_and_write(7, 10);
    cr_assert(eq(uint, writes, 0));
}

Test(trace_ring, a_full_chunk_is_written_whole_to_its_place) {
    put_and_write(7, 10);
    put_and_write(8, MORE_THAN_HALF);
    put_and_write(9, MORE_THAN_HALF);
    struct trace_head head = trace_reader_head(file, 1);
    cr_expect(eq(u64, head.number, 1));
    cr_expect(eq(u32, head.used, 32 + 10 * 8 + 5000 * 8));
    cr_expect(eq(sz, records_at(1, 7), 1));
    cr_expect(eq(sz, records_at(1, 8), 1));
    cr_expect(eq(sz, records_at(1, 9), 0));
    cr_expect(eq(chr, file[2 * TRACE_CHUNK], '\0'), "the second is still filling");
}

Test(trace_ring, a_flush_writes_what_there_is_and_later_the_rest_alone) {
    put_and_write(7, 10);
    trace_ring_flush(&ring);
    cr_expect(eq(sz, records_at(1, 7), 1));
    put_and_write(8, 20);
    writes = 0;
    trace_ring_flush(&ring);
    cr_expect(eq(sz, records_at(1, 8), 1));
    cr_expect(eq(uint, writes, 2));
    cr_expect(eq(u64, written[0].offset, TRACE_CHUNK + 32 + 80));
    cr_expect(eq(sz, written[0].count, 160));
    cr_expect(eq(u64, written[1].offset, TRACE_CHUNK), "the head comes last");
}

Test(trace_ring, a_flush_without_news_writes_nothing) {
    put_and_write(7, 10);
    trace_ring_flush(&ring);
    writes = 0;
    trace_ring_flush(&ring);
    cr_assert(eq(uint, writes, 0));
}

Test(trace_ring, the_oldest_chunk_is_overwritten) {
    for (int i = 0; i < PLACES; i++) {
        put_and_write((uint16_t)(i + 1), MORE_THAN_HALF);
    }
    trace_ring_flush(&ring);
    cr_expect(eq(u64, trace_reader_head(file, 1).number, PLACES), "1 to 31 filled the file");
    cr_expect(eq(sz, records_at(1, PLACES), 1));
    cr_expect(eq(u64, trace_reader_head(file, 2).number, 2));
    cr_expect(eq(chr, file[0], '\0'), "the header's place is not in the ring");
}

/* Whoever is killed while he overwrites a chunk leaves an empty one. */
Test(trace_ring, an_empty_head_comes_before_other_bytes) {
    put_and_write(7, 10);
    trace_ring_flush(&ring);
    cr_assert(eq(uint, writes, 3));
    cr_assert(eq(u64, written[0].offset, TRACE_CHUNK));
    cr_assert(eq(sz, written[0].count, sizeof(struct trace_head)));
    cr_assert(eq(u64, written[2].offset, TRACE_CHUNK));
}

Test(trace_ring, records_that_could_not_be_written_are_counted) {
    put_and_write(7, 10);
    put_and_write(7, 10);
    is_full = true;
    trace_ring_flush(&ring);
    is_full = false;
    put_and_write(7, 10);
    trace_ring_flush(&ring);
    cr_assert(eq(u64, trace_reader_head(file, 1).dropped, 2));
}

/* All buffers are in the hands of threads that do not come back from the disk. */
Test(trace_ring, records_without_a_buffer_are_counted) {
    struct trace_buffer *full[TRACE_BUFFERS];
    for (int i = 0; i <= TRACE_BUFFERS; i++) {
        struct trace_buffer *b = put(7, MORE_THAN_HALF);
        if (i > 0) {
            full[i - 1] = b;
        }
    }
    cr_assert(eq(ptr, put(7, 10), NULL));
    cr_assert(eq(u64, ring.dropped, 2));
    for (int i = 0; i < TRACE_BUFFERS; i++) {
        trace_ring_write(&ring, full[i]);
    }
    put_and_write(8, 10);
    trace_ring_flush(&ring);
    cr_assert(eq(u64, trace_reader_head(file, TRACE_BUFFERS + 1).dropped, 2));
    cr_assert(eq(u64, trace_reader_head(file, TRACE_BUFFERS + 1).number, TRACE_BUFFERS + 1));
}

/* One thread is in the middle of writing chunk 1 while others go round the file. */
Test(trace_ring, a_chunk_does_not_overtake_another_on_its_place) {
    put_and_write(7, MORE_THAN_HALF);
    struct trace_buffer *slow = put(7, MORE_THAN_HALF);
    for (int i = 2; i < PLACES; i++) {
        put_and_write(7, MORE_THAN_HALF);
    }
    cr_assert(eq(u64, ring.number, PLACES - 1));
    cr_assert(eq(u64, ring.dropped, 1));
    trace_ring_write(&ring, slow);
    put_and_write(7, MORE_THAN_HALF);
    cr_assert(eq(u64, ring.number, PLACES));
}

static struct trace_buffer *filled_meanwhile;

static void fill_up(void) {
    put_and_write(8, MORE_THAN_HALF);
    filled_meanwhile = put(9, MORE_THAN_HALF);
    trace_ring_write(&ring, filled_meanwhile);
}

/* The thread that fills it finds it in the hands of the one that flushes it, who goes on. */
Test(trace_ring, a_chunk_that_fills_up_while_it_is_flushed_is_written_by_the_flusher) {
    put_and_write(7, 10);
    meanwhile = fill_up;
    trace_ring_flush(&ring);
    cr_assert(ne(ptr, filled_meanwhile, NULL));
    cr_expect(eq(sz, records_at(1, 7), 1));
    cr_expect(eq(sz, records_at(1, 8), 1));
    cr_expect(not(trace_ring_is_busy(&ring)));
    cr_expect(eq(u64, filled_meanwhile->number, 0), "it is free again");
}

Test(trace_ring, is_busy_while_somebody_writes) {
    cr_assert(not(trace_ring_is_busy(&ring)));
    ring.buffers[3].is_in_hand = true;
    cr_assert(trace_ring_is_busy(&ring));
}

Test(trace_ring, a_child_begins_anew) {
    put_and_write(7, 10);
    cr_assert(trace_ring_has_begun(&ring));
    ring.buffers[0].is_in_hand = true;
    lock_acquire(&ring.lock);
    trace_ring_reset(&ring);
    cr_assert(not(trace_ring_has_begun(&ring)));
    put_and_write(8, 10);
    trace_ring_flush(&ring);
    cr_assert(eq(sz, records_at(1, 7), 0));
    cr_assert(eq(sz, records_at(1, 8), 1));
    cr_assert(eq(u64, trace_reader_head(file, 1).number, 1));
}

Test(trace_ring, does_not_start_without_memory) {
    struct trace_ring other = {0};
    inject_failures(CALL_MMAP, 1, 1);
    cr_assert(not(trace_ring_start(&other, 0, write_to_memory)));
    inject_failures(CALL_MPROTECT, 1, 1);
    cr_assert(not(trace_ring_start(&other, 0, write_to_memory)));
}

Test(trace_ring, a_file_has_as_many_places_as_it_has_room) {
    struct trace_ring other = {0};
    cr_assert(trace_ring_start(&other, 64 * MIB, write_to_memory));
    cr_assert(eq(u64, other.places, 1024));
}

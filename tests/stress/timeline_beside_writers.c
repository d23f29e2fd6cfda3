/*
 * Threads enter records while others write chunks to a slow file: no race, each record is there once and in its
 * thread's order, or counted as lost.
 */
#include <sched.h>
#include <string.h>

#include "pool/trace.h"
#include "tests/stress/stress.h"

enum {
    ROUNDS = 20000,
    PLACES = 512
};

static struct trace trace;
static char file[PLACES * TRACE_CHUNK];
static atomic_int busy = THREADS - 1;

/* Others come in between the pieces. */
static bool write_slowly(const struct trace_piece *pieces, unsigned count) {
    for (unsigned i = 0; i < count; i++) {
        memcpy(file + pieces[i].offset, pieces[i].bytes, pieces[i].count);
        (void)sched_yield();
    }
    return true;
}

static void enter(uint32_t thread, uint64_t n) {
    static const struct backend host = {.kind = "host"};
    struct trace_stack stack = {.frames = {thread, n % 100}, .depth = 2};
    struct trace_entry e = {.type = TRACE_ALLOC,
                            .a = thread,
                            .words_count = 5,
                            .words = {n, 0, 0, 0, trace_info(0, TRACE_HIT)}};
    (void)trace_enter(&trace, &e, &(struct trace_subject){.backend = &host, .stack = &stack});
}

static void *work(void *number) {
    uint32_t thread = (uint32_t)(uintptr_t)number;
    if (thread == 0) {
        while (atomic_load(&busy) > 0) {
            trace_ring_flush(&trace.ring);
            (void)trace_modules_are_due(&trace, 0);
        }
        return NULL;
    }
    for (uint64_t n = 1; n <= ROUNDS; n++) {
        enter(thread, n);
    }
    atomic_fetch_sub(&busy, 1);
    return NULL;
}

/* Of the last chunk, which tells all that is lost. */
static size_t count_all(uint64_t *lost) {
    uint64_t last[THREADS] = {0};
    size_t count = 0;
    for (uint64_t number = 1; number <= trace.ring.number; number++) {
        const char *chunk = file + number * TRACE_CHUNK;
        struct trace_head head;
        memcpy(&head, chunk, sizeof head);
        expect(head.number == number, "every chunk is in its place");
        *lost = head.dropped;
        for (size_t at = sizeof head; at < head.used;) {
            uint16_t type_and_units[2];
            uint32_t thread = 0;
            uint64_t n = 0;
            memcpy(type_and_units, chunk + at, sizeof type_and_units);
            memcpy(&thread, chunk + at + 4, sizeof thread);
            memcpy(&n, chunk + at + 8, sizeof n);
            if (type_and_units[0] == TRACE_ALLOC) {
                expect(thread < THREADS && n > last[thread], "a thread's records are in order");
                last[thread] = n;
                count++;
            }
            expect(type_and_units[1] != 0, "a record has a length");
            at += type_and_units[1] * (size_t)8;
        }
    }
    return count;
}

int main(void) {
    uint64_t lost = 0;
    expect(trace_ring_start(&trace.ring, sizeof file, write_slowly), "there is memory");
    run_threads(work);
    trace_ring_flush(&trace.ring);
    expect(!trace_ring_is_busy(&trace.ring), "nobody writes any more");
    expect(trace.ring.number < PLACES, "the ring was not gone round");
    size_t count = count_all(&lost);
    expect(count + lost == (size_t)(THREADS - 1) * ROUNDS, "every record is there, or counted");
    return verdict("timeline_beside_writers");
}

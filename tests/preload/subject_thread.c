/*
 * subject_thread.c - blocks that go from thread to thread, and threads that go.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/preload/subject.h"

/* A destructor of thread-specific data runs after the thread's function. */
static void free_late(void *block) {
    free(get(300));
    free(get(2 * MIB));
    free(block);
}

static pthread_key_t key;

static void *leave_a_block(void *argument) {
    size_t bytes = (uintptr_t)argument % 2 == 0 ? 100 : 2 * MIB;
    char *p = get(bytes);
    p[bytes - 1] = 1;
    CHECK(pthread_setspecific(key, p) == 0);
    return NULL;
}

/* The first large request opens files and prints; the thread is to live on all the same. */
static void *allocate_while_cancelled(void *survived) {
    pthread_cancel(pthread_self());
    free(get(8 * MIB));
    *(int *)survived = 1;
    pthread_testcancel();
    return NULL;
}

void malloc_is_no_cancellation_point(void) {
    pthread_t thread;
    int survived = 0;
    void *result = NULL;
    CHECK(pthread_create(&thread, NULL, allocate_while_cancelled, &survived) == 0);
    CHECK(pthread_join(thread, &result) == 0);
    CHECK(survived == 1 && result == PTHREAD_CANCELED);
}

void threads_by_the_thousand_free_late(void) {
    CHECK(pthread_key_create(&key, free_late) == 0);
    for (uintptr_t i = 0; i < 2000; i += 4) {
        pthread_t threads[4];
        for (uintptr_t j = 0; j < 4; j++) {
            CHECK(pthread_create(&threads[j], NULL, leave_a_block, (void *)(i + j)) == 0);
        }
        for (int j = 0; j < 4; j++) {
            CHECK(pthread_join(threads[j], NULL) == 0);
        }
    }
    CHECK(resident_bytes() < 100 * MIB);
}

/* ---- blocks change hands ---- */

enum {
    SLOTS = 32,
    TURNS = 4000
};

struct parcel {
    size_t bytes;
    uint64_t seed;
};

static _Atomic(struct parcel *) slots[SLOTS];

static void open_parcel(struct parcel *p) {
    if (p != NULL) {
        CHECK(is_filled(p + 1, 256, p->seed));
        CHECK(is_filled((char *)p + p->bytes - 256, 256, p->seed + 1));
        free(p);
    }
}

static struct parcel *make_parcel(unsigned random) {
    size_t bytes = 1024 + (random % 3 == 0 ? MIB + (random >> 10) : random % 4096) / 8 * 8;
    struct parcel *p = get(bytes);
    *p = (struct parcel){.bytes = bytes, .seed = random};
    fill(p + 1, 256, random);
    fill((char *)p + bytes - 256, 256, (uint64_t)random + 1);
    return p;
}

static void *exchange(void *argument) {
    unsigned state = (unsigned)(uintptr_t)argument;
    for (int i = 0; i < TURNS; i++) {
        state = state * 1664525 + 1013904223;
        open_parcel(atomic_exchange(&slots[state >> 27], make_parcel(state)));
    }
    return NULL;
}

void blocks_are_freed_by_other_threads(void) {
    pthread_t threads[8];
    for (uintptr_t i = 0; i < 8; i++) {
        CHECK(pthread_create(&threads[i], NULL, exchange, (void *)(i * 77 + 1)) == 0);
    }
    for (int i = 0; i < 8; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
    for (int i = 0; i < SLOTS; i++) {
        open_parcel(slots[i]);
    }
}

/* All threads make the first large request of the process at the same moment. */
static pthread_barrier_t gate;

static void *pass_the_gate(void *argument) {
    (void)pthread_barrier_wait(&gate);
    char *p = calloc(1, 8 * MIB);
    CHECK(p != NULL && is_zero(p, 8 * MIB));
    fill(p, 8 * MIB, (uintptr_t)argument);
    p = realloc(p, 9 * MIB + 5);
    CHECK(is_filled(p, 8 * MIB, (uintptr_t)argument));
    free(p);
    return NULL;
}

void eight_threads_make_the_first_request_at_once(void) {
    pthread_t threads[8];
    CHECK(pthread_barrier_init(&gate, NULL, 8) == 0);
    for (uintptr_t i = 0; i < 8; i++) {
        CHECK(pthread_create(&threads[i], NULL, pass_the_gate, (void *)i) == 0);
    }
    for (int i = 0; i < 8; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
}

/* subject_ahead.c - with a profile of the last run (test_ahead.c): what is made before it is asked for. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/cuda_pools/device.h"

/* What need_memory takes of the device, which hands it out by 2 MiB. */
#define NEEDED ((3 * 8 + 300 + 2) * MIB)

static size_t wanted;

static bool has_all(void) {
    return fake->used(0) == wanted;
}

/* A step is between two of these calls: a block is in its pool when the second has been. The last step makes none. */
static uint64_t steps(void) {
    return fake->calls("cuThreadExchangeStreamCaptureMode") / 2;
}

static uint64_t steps_wanted;

static bool is_there(void) {
    return has_all() && steps() >= steps_wanted;
}

/* So much is taken of the device, and so many blocks are in their pools. */
static void wait_for(size_t bytes, uint64_t blocks) {
    wanted = bytes;
    steps_wanted = blocks;
    CHECK(comes_true(is_there, 10 * 1000));
}

/* Calls of the driver by this thread, or by others. */
static size_t calls_by(bool own, const char *symbol) {
    size_t n = 0;
    for (size_t i = 0; i < fake->logged && fake->log[i].symbol != NULL; i++) {
        const struct fake_cuda_call *call = &fake->log[i];
        n += (call->thread == gettid()) == own && strcmp(call->symbol, symbol) == 0;
    }
    return n;
}

static void need(void) {
    CUdeviceptr blocks[5];
    for (size_t i = 0; i < 5; i++) {
        blocks[i] = take(i < 3 ? 8 * MIB : i == 3 ? 300 * MIB : MIB);
    }
    void *plain = take_pinned(4 * MIB, 0);
    void *combined = take_pinned(4 * MIB, CU_MEMHOSTALLOC_WRITECOMBINED);
    tell("used", fake->used(0));
    for (size_t i = 0; i < 5; i++) {
        give(blocks[i]);
    }
    give_pinned(plain);
    give_pinned(combined);
}

static void tell_who_asked(void) {
    tell("own", calls_by(true, "cuMemAlloc_v2") + calls_by(true, "cuMemHostAlloc"));
    tell("helpers", calls_by(false, "cuMemAlloc_v2") + calls_by(false, "cuMemHostAlloc"));
}

void need_memory(void) {
    (void)begin();
    need();
    tell_who_asked();
}

void need_memory_once_it_is_there(void) {
    (void)begin();
    wait_for(NEEDED, 5 + 2);
    need();
    tell_who_asked();
}

/* The argument is a number of MiB: that much comes, in relaxed mode, and no more. */
void wait_for_memory(void) {
    (void)begin();
    wanted = (size_t)atoi(subject_arguments[0]) * MIB;
    CHECK(comes_true(has_all, 10 * 1000));
    sleep_ms(100);
    CHECK(has_all() && frees() == 0);
    tell_who_asked();
}

void ahead_is_made_in_relaxed_mode(void) {
    (void)begin();
    wait_for(NEEDED, 5 + 2);
    long relaxed = 0;
    for (size_t i = 0; i < fake->logged && fake->log[i].symbol != NULL; i++) {
        const struct fake_cuda_call *call = &fake->log[i];
        if (strcmp(call->symbol, "cuThreadExchangeStreamCaptureMode") == 0) {
            relaxed = call->value == CU_STREAM_CAPTURE_MODE_RELAXED ? call->thread : 0;
        }
        CHECK(strcmp(call->symbol, "cuMemAlloc_v2") != 0 || call->thread == relaxed);
    }
    CHECK(calls_by(false, "cuMemAlloc_v2") == 5);
}

/* Where it stays it does so beside what the program frees meanwhile; then nobody has asked for it. */
void ahead_goes_back_when_nobody_asks(void) {
    (void)begin();
    wait_for(NEEDED, 5);
    give_and_take(1 * MIB);
    CHECK(frees() == 0);
    CHECK(comes_true(is_empty, 10 * 1000));
    sleep_ms(2 * DECAY_MS);
    CHECK(is_empty() && calls_by(false, "cuMemAlloc_v2") == 5);
}

void a_second_context_gets_its_own_part(void) {
    (void)begin();
    wait_for(8 * MIB, 1);
    (void)context_on(0);
    wait_for(24 * MIB, 3);
    fake->forget();
    CUdeviceptr block = take(16 * MIB);
    CHECK(allocations() == 0);
    give(block);
}

/* The first context's is there; nothing is made for the second one. */
void nothing_is_made_during_a_capture(void) {
    (void)begin();
    wait_for(8 * MIB, 1);
    fake->forget();
    for (size_t i = 0; i < CAPTURE_MODES; i++) {
        CUstream stream = capture(capture_modes[i]);
        (void)context_on(0);
        sleep_ms(50);
        CHECK(allocations() == 0);
        capture_ends_well(stream);
    }
}

/* But for the one that the driver was asked for just before. */
void a_capture_stops_it(void) {
    (void)begin();
    CUstream stream = capture(CU_STREAM_CAPTURE_MODE_GLOBAL);
    sleep_ms(50);
    fake->forget();
    sleep_ms(100);
    CHECK(allocations() == 0);
    capture_ends_well(stream);
}

static void use_a_context(void) {
    (void)begin();
    sleep_ms(100);
    CHECK(allocations() == 0);
    give_and_take(8 * MIB);
    CHECK(allocations() == 1);
    exit(0);
}

/* Memory of the host first, which is when the profile is read. */
void a_child_has_nothing_made(void) {
    free(get_touched(8 * MIB));
    CHECK(in_child(use_a_context) == 0);
}

static void see_that_it_is_over(void) {
    fake->forget();
    sleep_ms(100);
    CHECK(fake->logged == 0);
    tell("over", 1);
}

/* A handler that was registered before any of ours runs after them. */
void end_while_it_is_made(void) {
    CHECK(atexit(see_that_it_is_over) == 0);
    (void)begin();
    sleep_ms((unsigned)atoi(subject_arguments[0]));
}

static bool has_begun(void) {
    return !is_empty();
}

void a_reset_ends_it(void) {
    (void)begin();
    CHECK(comes_true(has_begun, 10 * 1000));
    OK(cuDevicePrimaryCtxReset_v2(0));
    (void)begin();
    fake->forget();
    sleep_ms(100);
    CHECK(allocations() == 0);
}

/* subject_waiting.c - what a free waits for, and what it must not do while streams are captured. */
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "tests/cuda_pools/device.h"

enum {
    WORK_MS = 100,
    LONG_MS = 3600 * 1000 /* ends after everything else, also where the machine is late */
};

/* Work that somebody has seen under way: a machine that is late may have to begin it again. */
static void work_seen_on(CUstream stream) {
    do {
        CHECK(fake->work(stream, WORK_MS * 1000));
    } while (!fake->is_busy(current()));
}

/* ---- a free waits ---- */

static void a_free_waits_for_stream(CUstream stream) {
    CUdeviceptr address = take(8 * MIB);
    work_seen_on(stream);
    give(address);
    CHECK(!fake->is_busy(current()));
}

void a_free_waits_for_every_stream(void) {
    (void)begin();
    CUstream blocking = NULL;
    CUstream non_blocking = NULL;
    OK(cuStreamCreate(&blocking, CU_STREAM_DEFAULT));
    OK(cuStreamCreate(&non_blocking, CU_STREAM_NON_BLOCKING));
    a_free_waits_for_stream(NULL);
    a_free_waits_for_stream(CU_STREAM_PER_THREAD);
    a_free_waits_for_stream(blocking);
    a_free_waits_for_stream(non_blocking);
}

/* And for no other; the one that is current stays so, and the one below it. */
void a_free_waits_for_the_context_that_owns(void) {
    CUcontext owner = begin();
    CUdeviceptr address = take(8 * MIB);
    work_ms(WORK_MS);
    CUcontext other = context_on(0);
    work_ms(LONG_MS);
    give(address);
    CHECK(!fake->is_busy(owner) && fake->is_busy(other));
    CHECK(current() == other);
    OK(cuCtxPopCurrent_v2(NULL));
    CHECK(current() == owner);
    CHECK(take(8 * MIB) != 0);
}

void a_free_without_a_context_waits_too(void) {
    CUcontext owner = begin();
    CUdeviceptr address = take(8 * MIB);
    work_ms(WORK_MS);
    OK(cuCtxSetCurrent(NULL));
    give(address);
    CHECK(!fake->is_busy(owner));
    CHECK(current() == NULL);
}

static void *give_in_thread(void *address) {
    give((CUdeviceptr)(uintptr_t)address);
    CHECK(current() == NULL);
    return NULL;
}

static void in_thread(void *(*body)(void *), void *argument) {
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, body, argument) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
}

void a_free_in_another_thread_waits_too(void) {
    CUcontext owner = begin();
    CUdeviceptr address = take(8 * MIB);
    work_ms(WORK_MS);
    in_thread(give_in_thread, (void *)(uintptr_t)address);
    CHECK(!fake->is_busy(owner));
}

/* ---- beside a free that waits ---- */

static bool somebody_waits(void) {
    return waits() + frees() + pinned_frees() != 0;
}

/* Its wait has begun, and ends when the context's work is finished. */
static pthread_t give_and_wait(void *(*body)(void *), CUdeviceptr address) {
    pthread_t thread;
    fake->forget();
    CHECK(pthread_create(&thread, NULL, body, (void *)(uintptr_t)address) == 0);
    CHECK(comes_true(somebody_waits, 60 * 1000));
    return thread;
}

static void finish(CUcontext context, pthread_t thread) {
    fake->finish(context);
    CHECK(pthread_join(thread, NULL) == 0);
}

static void *give_pinned_in_thread(void *address) {
    give_pinned(address);
    return NULL;
}

void requests_go_on_beside_a_free_that_waits(void) {
    CUcontext context = begin();
    CUdeviceptr address = take(8 * MIB);
    work_ms(LONG_MS);
    pthread_t thread = give_and_wait(give_in_thread, address);
    (void)take(32 * MIB);
    (void)take_pinned(32 * MIB, 0);
    CHECK(fake->is_busy(context));
    finish(context, thread);
}

void requests_go_on_beside_a_pinned_free_that_waits(void) {
    CUcontext context = begin();
    void *address = take_pinned(8 * MIB, 0);
    (void)context_on(0);
    OK(cuCtxSetCurrent(context));
    work_ms(LONG_MS);
    pthread_t thread = give_and_wait(give_pinned_in_thread, (CUdeviceptr)(uintptr_t)address);
    (void)take(32 * MIB);
    (void)take_pinned(32 * MIB, 0);
    CHECK(fake->is_busy(context));
    finish(context, thread);
}

/* Two that wait at once do so side by side. */
void frees_wait_together(void) {
    CUcontext context = begin();
    CUdeviceptr first = take(8 * MIB);
    CUdeviceptr second = take(8 * MIB);
    work_ms(LONG_MS);
    pthread_t one = give_and_wait(give_in_thread, first);
    pthread_t other = give_and_wait(give_in_thread, second);
    CHECK(waits() + frees() == 1);
    finish(context, one);
    CHECK(pthread_join(other, NULL) == 0);
    CHECK(take(8 * MIB) != 0 && take(8 * MIB) != 0);
}

static atomic_bool is_destroyed;

static void *destroy_in_thread(void *context) {
    OK(cuCtxDestroy_v2(context));
    is_destroyed = true;
    return NULL;
}

/* The free has begun before; what it frees is its own, and nobody else's when the context's place is taken. */
void a_context_ends_after_the_frees_under_way(void) {
    (void)begin();
    for (int i = 0; i < 20; i++) {
        pthread_t destroyer;
        CUcontext context = context_on(0);
        CUdeviceptr address = take(8 * MIB);
        give_and_take(16 * MIB);
        work_ms(LONG_MS);
        is_destroyed = false;
        pthread_t thread = give_and_wait(give_in_thread, address);
        CHECK(pthread_create(&destroyer, NULL, destroy_in_thread, context) == 0);
        sleep_ms(1);
        CHECK(fake->calls("cuCtxDestroy_v2") == 0 && !is_destroyed);
        finish(context, thread);
        CHECK(pthread_join(destroyer, NULL) == 0);
        CHECK(is_destroyed && is_empty());
        OK(cuCtxPopCurrent_v2(NULL));
    }
}

/* ---- faults ---- */

void a_fault_is_told_by_free(void) {
    (void)begin();
    CUdeviceptr address = take(8 * MIB);
    fake->knobs.sticky = CUDA_ERROR_ILLEGAL_ADDRESS;
    REFUSED(cuMemFree_v2(address), CUDA_ERROR_ILLEGAL_ADDRESS);
    REFUSED(cuMemAlloc_v2(&address, 8 * MIB), CUDA_ERROR_ILLEGAL_ADDRESS);
}

static void free_with_a_fault(void) {
    CUdeviceptr address = take(8 * MIB);
    fake->knobs.sticky = CUDA_ERROR_LAUNCH_FAILED;
    REFUSED(cuMemFree_v2(address), CUDA_ERROR_LAUNCH_FAILED);
    fake->knobs.sticky = CUDA_SUCCESS;
}

void a_context_with_a_fault_keeps_nothing(void) {
    (void)begin();
    give_and_take(8 * MIB);
    CHECK(frees() == 0);
    free_with_a_fault();
    CUdeviceptr address = take(8 * MIB);
    fake->forget();
    give(address);
    CHECK(frees() == 1);
}

/* Another thread began to capture just then, and is done: the driver frees the block, and says so. */
void a_wait_that_a_capture_refused_is_no_fault(void) {
    (void)begin();
    CUdeviceptr address = take(8 * MIB);
    fake->forget();
    fake->fail("cuCtxSynchronize", 1, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    give(address);
    CHECK(frees() == 1);
    REFUSED(cuMemFree_v2(address), CUDA_ERROR_INVALID_VALUE);
    give_and_take(8 * MIB);
    fake->forget();
    give_and_take(8 * MIB);
    CHECK(allocations() == 0 && frees() == 0);
}

void a_fault_leaves_the_other_contexts_alone(void) {
    (void)begin();
    free_with_a_fault();
    (void)context_on(0);
    give_and_take(8 * MIB);
    fake->forget();
    give_and_take(8 * MIB);
    CHECK(allocations() == 0 && frees() == 0);
}

/* ---- BIGMALLOC_DEVICE_FREE=quarantine ---- */

void a_free_does_not_wait(void) {
    CUcontext context = begin();
    CUdeviceptr address = take(8 * MIB);
    work_ms(LONG_MS);
    give(address);
    CHECK(fake->is_busy(context));
    CHECK(waits() == 0 && frees() == 0);
}

void one_wait_serves_sixteen_frees(void) {
    enum {
        BLOCKS = 16,
        ROUNDS = 20
    };
    (void)begin();
    CUdeviceptr blocks[BLOCKS];
    for (int round = 0; round <= ROUNDS; round++) {
        for (int i = 0; i < BLOCKS; i++) {
            blocks[i] = take(8 * MIB);
        }
        work_ms(1);
        for (int i = 0; i < BLOCKS; i++) {
            give(blocks[i]);
        }
    }
    CHECK(allocations() <= 2 * BLOCKS && frees() == 0);
    CHECK(waits() <= ROUNDS + 1);
}

/* The work that was under way at the free of each block, in the order of the frees. */
static struct {
    CUdeviceptr address;
    uint64_t busy_until_ms;
} freed[100];

void a_busy_block_is_handed_out_after_a_wait(void) {
    (void)begin();
    CUdeviceptr address = take(8 * MIB);
    for (int i = 0; i < 100; i++) {
        freed[i].address = address;
        freed[i].busy_until_ms = clock_ms() + 5;
        work_ms(5);
        give(address);
        address = take(8 * MIB);
        for (int j = 0; j <= i; j++) {
            CHECK(freed[j].address != address || clock_ms() >= freed[j].busy_until_ms);
        }
    }
    CHECK(allocations() <= 20 && waits() <= 100 / 16 + 1);
}

void a_second_free_before_the_wait_is_refused(void) {
    (void)begin();
    CUdeviceptr address = take(8 * MIB);
    work_ms(WORK_MS);
    give(address);
    REFUSED(cuMemFree_v2(address), CUDA_ERROR_INVALID_VALUE);
    CHECK(take(8 * MIB) != take(8 * MIB));
}

void freed_memory_goes_back(void) {
    (void)begin();
    CUdeviceptr address = take(64 * MIB);
    work_ms(WORK_MS);
    uint64_t freed_ms = clock_ms();
    give(address);
    CHECK(!is_empty() || clock_ms() - freed_ms >= DECAY_MS);
    CHECK(comes_true(is_empty, 10 * 1000));
}

/* ---- capture ---- */

static void nothing_unsafe_was_called(void) {
    CHECK(waits() == 0 && frees() == 0 && allocations() == 0);
}

/* One idle block, one live; in the capture the live one is freed, and the idle one asked for. */
struct pair {
    CUdeviceptr idle;
    CUdeviceptr live;
};

static struct pair pair_begin(void) {
    struct pair p = {.idle = take(8 * MIB), .live = take(8 * MIB)};
    give(p.idle);
    return p;
}

static void pair_use(struct pair *p) {
    fake->forget();
    give(p->live);
    CHECK(take(8 * MIB) == p->idle);
    nothing_unsafe_was_called();
}

static void pair_end(struct pair *p) {
    give(p->idle);
    OK(cuCtxSynchronize());
    CHECK(malloc_trim(0) == 1);
    CHECK(is_empty());
}

void a_capture_survives_frees_and_requests(void) {
    (void)begin();
    for (int i = 0; i < CAPTURE_MODES; i++) {
        struct pair p = pair_begin();
        CUstream stream = capture(capture_modes[i]);
        pair_use(&p);
        capture_ends_well(stream);
        pair_end(&p);
    }
}

/* Between the two waits of the barrier the thread captures. */
struct capturing {
    CUcontext context;
    CUstreamCaptureMode mode;
    pthread_barrier_t barrier;
};

static void *capture_in_thread(void *argument) {
    struct capturing *c = argument;
    OK(cuCtxSetCurrent(c->context));
    CUstream stream = capture(c->mode);
    (void)pthread_barrier_wait(&c->barrier);
    (void)pthread_barrier_wait(&c->barrier);
    capture_ends_well(stream);
    return NULL;
}

static void use_beside_a_capture(CUstreamCaptureMode mode) {
    struct capturing c = {.context = current(), .mode = mode};
    struct pair p = pair_begin();
    pthread_t thread;
    CHECK(pthread_barrier_init(&c.barrier, NULL, 2) == 0);
    CHECK(pthread_create(&thread, NULL, capture_in_thread, &c) == 0);
    (void)pthread_barrier_wait(&c.barrier);
    pair_use(&p);
    (void)pthread_barrier_wait(&c.barrier);
    CHECK(pthread_join(thread, NULL) == 0);
    pair_end(&p);
}

void a_capture_of_another_thread_survives_them_too(void) {
    (void)begin();
    for (int i = 0; i < CAPTURE_MODES; i++) {
        use_beside_a_capture(capture_modes[i]);
    }
}

void two_captures_end_one_by_one(void) {
    (void)begin();
    struct pair p = pair_begin();
    CUstream first = capture(CU_STREAM_CAPTURE_MODE_GLOBAL);
    CUstream second = capture(CU_STREAM_CAPTURE_MODE_GLOBAL);
    capture_ends_well(first);
    pair_use(&p);
    capture_ends_well(second);
    pair_end(&p);
}

static CUdeviceptr freed_early;

/* By another thread, while the driver has begun and not yet said so. */
static void give_amid_the_beginning(const char *symbol) {
    if (strcmp(symbol, "cuStreamBeginCapture_v2") == 0) {
        in_thread(give_in_thread, (void *)(uintptr_t)freed_early);
    }
}

void a_capture_counts_from_its_very_beginning(void) {
    (void)begin();
    freed_early = take(8 * MIB);
    fake->amid = give_amid_the_beginning;
    CUstream stream = capture(CU_STREAM_CAPTURE_MODE_GLOBAL);
    fake->amid = NULL;
    capture_ends_well(stream);
}

static CUresult begin_to_graph(CUstream stream) {
    return cuStreamBeginCaptureToGraph(stream, NULL, NULL, NULL, 0, CU_STREAM_CAPTURE_MODE_GLOBAL);
}

static CUresult begin_of_version_2(CUstream stream) {
    return cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_GLOBAL);
}

static CUresult begin_to_graph_ptsz(CUstream stream) {
    return cuStreamBeginCaptureToGraph_ptsz(stream, NULL, NULL, NULL, 0,
                                            CU_STREAM_CAPTURE_MODE_GLOBAL);
}

static CUresult begin_of_version_2_ptsz(CUstream stream) {
    return cuStreamBeginCapture_v2_ptsz(stream, CU_STREAM_CAPTURE_MODE_GLOBAL);
}

void every_way_to_begin_a_capture_counts(void) {
    static const struct {
        CUresult (*begin)(CUstream);
        CUresult (*end)(CUstream, CUgraph *);
    } ways[] = {{cuStreamBeginCapture, cuStreamEndCapture},
                {begin_of_version_2, cuStreamEndCapture},
                {begin_to_graph, cuStreamEndCapture},
                {cuStreamBeginCapture_ptsz, cuStreamEndCapture_ptsz},
                {begin_of_version_2_ptsz, cuStreamEndCapture_ptsz},
                {begin_to_graph_ptsz, cuStreamEndCapture_ptsz}};
    (void)begin();
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        CUstream stream = NULL;
        CUgraph graph = NULL;
        struct pair p = pair_begin();
        OK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
        OK(ways[i].begin(stream));
        pair_use(&p);
        OK(ways[i].end(stream, &graph));
        pair_end(&p);
    }
}

void what_is_freed_in_a_capture_waits_afterwards(void) {
    CUcontext context = begin();
    CUdeviceptr address = take(8 * MIB);
    CUstream other = NULL;
    OK(cuStreamCreate(&other, CU_STREAM_NON_BLOCKING));
    CHECK(fake->work(other, 500 * 1000));
    CUstream stream = capture(CU_STREAM_CAPTURE_MODE_GLOBAL);
    give(address);
    capture_ends_well(stream);
    CHECK(take(8 * MIB) != address || !fake->is_busy(context));
}

/* A free waits, and what it freed is reused. */
static void frees_are_as_ever(void) {
    CUdeviceptr address = take(8 * MIB);
    work_ms(WORK_MS);
    give(address);
    CHECK(!fake->is_busy(current()));
    CHECK(take(8 * MIB) == address);
    give(address);
}

void a_capture_that_was_refused_does_not_count(void) {
    (void)begin();
    REFUSED(cuStreamBeginCapture_v2(NULL, CU_STREAM_CAPTURE_MODE_GLOBAL),
            CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    frees_are_as_ever();
}

void a_capture_that_was_lost_is_over(void) {
    (void)begin();
    CUgraph graph = NULL;
    CUstream stream = capture(CU_STREAM_CAPTURE_MODE_GLOBAL);
    REFUSED(cuCtxSynchronize(), CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    REFUSED(cuStreamEndCapture(stream, &graph), CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
    REFUSED(cuStreamEndCapture(stream, &graph), CUDA_ERROR_ILLEGAL_STATE);
    frees_are_as_ever();
    struct pair p = pair_begin();
    stream = capture(CU_STREAM_CAPTURE_MODE_GLOBAL);
    pair_use(&p);
    capture_ends_well(stream);
}

void a_capture_ends_with_its_stream(void) {
    (void)begin();
    OK(cuStreamDestroy_v2(capture(CU_STREAM_CAPTURE_MODE_GLOBAL)));
    frees_are_as_ever();
}

void a_capture_ends_with_its_context(void) {
    (void)begin();
    CUcontext context = context_on(0);
    (void)capture(CU_STREAM_CAPTURE_MODE_RELAXED);
    OK(cuCtxDestroy_v2(context));
    frees_are_as_ever();
}

void malloc_trim_leaves_a_capture_alone(void) {
    (void)begin();
    give_and_take(8 * MIB);
    CUstream stream = capture(CU_STREAM_CAPTURE_MODE_GLOBAL);
    fake->forget();
    (void)malloc_trim(0);
    nothing_unsafe_was_called();
    capture_ends_well(stream);
    CHECK(malloc_trim(0) == 1 && is_empty());
}

/* What no idle block serves is the program's own call. */
void a_request_that_loses_a_capture_does_so(void) {
    (void)begin();
    CUgraph graph = NULL;
    CUdeviceptr address = 0;
    CUstream stream = capture(CU_STREAM_CAPTURE_MODE_GLOBAL);
    REFUSED(cuMemAlloc_v2(&address, 8 * MIB), CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    REFUSED(cuStreamEndCapture(stream, &graph), CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
    CHECK(address == 0);
}

void idle_memory_stays_during_a_capture(void) {
    (void)begin();
    give_and_take(64 * MIB);
    CUstream stream = capture(CU_STREAM_CAPTURE_MODE_GLOBAL);
    fake->forget();
    sleep_ms(5 * DECAY_MS);
    nothing_unsafe_was_called();
    CHECK(!is_empty());
    capture_ends_well(stream);
    CHECK(comes_true(is_empty, 10 * 1000));
}

/*
 * subject_load.c - threads that allocate and free at random, against a model: every live block lies
 * apart from all others and keeps what was written to it, and none is handed out before the work
 * that was under way at its free has ended.
 */
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "tests/cuda_pools/device.h"

enum {
    THREADS = 2,
    LIVE = 24,    /* blocks of a thread at a time */
    FREED = 1024, /* that the model remembers */
    STEPS = 4000
};

struct live {
    CUdeviceptr address;
    size_t size;
    uint64_t seed;
};

struct freed {
    CUdeviceptr address;
    uint64_t busy_until_ms;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct live live[THREADS][LIVE];
static struct freed freed[FREED];
static size_t next_freed;

/* ---- the model, under its lock ---- */

static bool is_apart(const struct live *a, const struct live *b) {
    return b->address == 0 || a->address >= b->address + b->size ||
           b->address >= a->address + a->size;
}

static void check_apart(const struct live *block) {
    const struct live *others = &live[0][0];
    for (size_t i = 0; i < (size_t)THREADS * LIVE; i++) {
        CHECK(&others[i] == block || is_apart(block, &others[i]));
    }
}

static void check_work_has_ended(CUdeviceptr address) {
    for (size_t i = 0; i < FREED; i++) {
        CHECK(freed[i].address != address || clock_ms() >= freed[i].busy_until_ms);
    }
}

static void record(struct live *place, struct live block) {
    (void)pthread_mutex_lock(&lock);
    check_apart(&block);
    check_work_has_ended(block.address);
    *place = block;
    (void)pthread_mutex_unlock(&lock);
}

static void forget(struct live *block, uint64_t busy_until_ms) {
    (void)pthread_mutex_lock(&lock);
    freed[next_freed++ % FREED] = (struct freed){block->address, busy_until_ms};
    block->address = 0;
    (void)pthread_mutex_unlock(&lock);
}

/* ---- the threads ---- */

struct worker {
    int number;
    CUcontext context;
    bool is_short; /* of memory: a request may be refused */
    uint32_t state;
    uint64_t busy_until_ms; /* of the work it gave */
};

/* First and last bytes: all of them would take too long. */
static void mark(const struct live *b) {
    fill((void *)b->address, 512, b->seed);
    fill((void *)(b->address + b->size - 512), 512, ~b->seed);
}

static void check_mark(const struct live *b) {
    CHECK(is_filled((void *)b->address, 512, b->seed));
    CHECK(is_filled((void *)(b->address + b->size - 512), 512, ~b->seed));
}

static void take_one(struct worker *w, struct live *place) {
    size_t size = (size_t)(draw(&w->state) % 12 + 1) * MIB / 2 + draw(&w->state) % 3;
    struct live block = {0, size, draw(&w->state)};
    CUresult result = cuMemAlloc_v2(&block.address, size);
    CHECK(result == CUDA_SUCCESS || (w->is_short && result == CUDA_ERROR_OUT_OF_MEMORY));
    if (result == CUDA_SUCCESS) {
        record(place, block);
        mark(place);
    }
}

static void give_one(struct worker *w, struct live *place) {
    CUdeviceptr address = place->address;
    check_mark(place);
    if (draw(&w->state) % 16 == 0) {
        w->busy_until_ms = clock_ms() + 1; /* it is no longer, whenever the work begins */
        work_ms(2);
    }
    forget(place, w->busy_until_ms);
    give(address);
}

static void *work(void *argument) {
    struct worker *w = argument;
    OK(cuCtxSetCurrent(w->context));
    for (int i = 0; i < STEPS; i++) {
        struct live *place = &live[w->number][draw(&w->state) % LIVE];
        place->address == 0 ? take_one(w, place) : give_one(w, place);
    }
    for (int i = 0; i < LIVE; i++) {
        if (live[w->number][i].address != 0) {
            give_one(w, &live[w->number][i]);
        }
    }
    return NULL;
}

static atomic_bool is_over;

static void run(CUcontext first, CUcontext second) {
    bool is_short = fake->knobs.memory < GIB;
    struct worker workers[THREADS] = {{0, first, is_short, 1, 0}, {1, second, is_short, 2, 0}};
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        CHECK(pthread_create(&threads[i], NULL, work, &workers[i]) == 0);
    }
    for (int i = 0; i < THREADS; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
    is_over = true;
}

/* While another thread does that. */
static void run_beside(void *(*body)(void *), CUcontext first, CUcontext second) {
    pthread_t thread;
    is_over = false;
    CHECK(pthread_create(&thread, NULL, body, NULL) == 0);
    run(first, second);
    CHECK(pthread_join(thread, NULL) == 0);
}

void two_threads_on_two_devices(void) {
    fake_cuda()->knobs.devices = 2;
    CUcontext first = begin();
    run(first, context_on(1));
}

void two_threads_on_one_context(void) {
    CUcontext context = begin();
    run(context, context);
}

/* Another device, and two contexts of one. */
void two_threads_keep_apart(void) {
    fake_cuda()->knobs.devices = 2;
    CUcontext first = begin();
    run(first, context_on(1));
    run(first, context_on(0));
}

static void *trim(void *unused) {
    while (!is_over) {
        (void)malloc_trim(0);
        sleep_ms(1);
    }
    return unused;
}

/* All of the device's memory is in use now and then; each thread lives on what the other has idle. */
void two_threads_short_of_memory(void) {
    CUcontext first = begin();
    fake->knobs.memory = 96 * MIB;
    run_beside(trim, first, context_on(0));
}

/* Not for ever, where the two threads are slow: what was freed faults, and is one of the mappings
 * that a process may have. */
static void *come_and_go(void *unused) {
    enum {
        ROUNDS_MOST = 4000
    };
    for (int round = 0; round < ROUNDS_MOST && !is_over; round++) {
        CUcontext context = context_on(0);
        CUdeviceptr address = take(8 * MIB);
        give_and_take(8 * MIB);
        give(address);
        OK(cuCtxDestroy_v2(context));
    }
    return unused;
}

void contexts_come_and_go_beside_two_threads(void) {
    CUcontext first = begin();
    run_beside(come_and_go, first, context_on(0));
}

/* Each has its contexts to itself: nothing may be amiss in them when others end. */
static void *come_and_go_marked(void *argument) {
    struct worker *w = argument;
    for (int round = 0; round < 200; round++) {
        CUcontext context = context_on(0);
        struct live blocks[4];
        for (size_t i = 0; i < 4; i++) {
            blocks[i] = (struct live){take((i + 1) * MIB), (i + 1) * MIB, draw(&w->state)};
            mark(&blocks[i]);
        }
        for (size_t i = 0; i < 4; i++) {
            check_mark(&blocks[i]);
            give(blocks[i].address);
        }
        OK(cuCtxDestroy_v2(context));
    }
    return NULL;
}

void contexts_of_four_threads_come_and_go(void) {
    enum {
        MANY = 4
    };
    (void)begin();
    struct worker workers[MANY];
    pthread_t threads[MANY];
    for (int i = 0; i < MANY; i++) {
        workers[i] = (struct worker){.state = (uint32_t)i + 1};
        CHECK(pthread_create(&threads[i], NULL, come_and_go_marked, &workers[i]) == 0);
    }
    for (int i = 0; i < MANY; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
}

/* ---- one block, two threads ---- */

static CUdeviceptr contested;
static _Atomic int successes;
static pthread_barrier_t barrier;

static void *free_contested(void *context) {
    OK(cuCtxSetCurrent(context));
    for (int i = 0; i < 500; i++) {
        (void)pthread_barrier_wait(&barrier);
        CUresult result = cuMemFree_v2(contested);
        CHECK(result == CUDA_SUCCESS || result == CUDA_ERROR_INVALID_VALUE);
        successes += result == CUDA_SUCCESS;
        (void)pthread_barrier_wait(&barrier);
    }
    return NULL;
}

void one_of_two_frees_at_once_is_refused(void) {
    CUcontext context = begin();
    pthread_t threads[THREADS];
    CHECK(pthread_barrier_init(&barrier, NULL, THREADS + 1) == 0);
    for (int i = 0; i < THREADS; i++) {
        CHECK(pthread_create(&threads[i], NULL, free_contested, context) == 0);
    }
    for (int i = 0; i < 500; i++) {
        contested = take(8 * MIB);
        (void)pthread_barrier_wait(&barrier);
        (void)pthread_barrier_wait(&barrier);
        CHECK(successes == i + 1);
    }
    for (int i = 0; i < THREADS; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
}

/* ---- the end ---- */

static void *never_stop(void *context) {
    (void)cuCtxSetCurrent(context);
    for (;;) {
        CUdeviceptr address = 0;
        if (cuMemAlloc_v2(&address, 8 * MIB) == CUDA_SUCCESS) {
            (void)cuMemFree_v2(address);
        }
    }
    return NULL;
}

void end_while_threads_are_busy(void) {
    CUcontext context = begin();
    pthread_t thread;
    for (int i = 0; i < 4; i++) {
        CHECK(pthread_create(&thread, NULL, never_stop, context) == 0);
    }
    sleep_ms(50);
}

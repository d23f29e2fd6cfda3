/*
 * storm.c - everything at once on the stand-in driver, for a while; and then the end, amid it or after it.
 *
 *     storm calm|amid        the process ends when all threads have, or while they are busy
 *
 * Threads allocate device and pinned memory, in one context or another, and free what others have allocated.
 * Beside them contexts come and go, streams are captured, children are forked, memory is trimmed and asked
 * about. Each block keeps what its owner has written, and each call answers what it may.
 *
 * It is built twice: to be preloaded, and, for the thread sanitizer, with the library's sources in it (inside.c).
 */
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/fake/fake_cuda.h"
#include "tests/fake/functions.h"

#define MIB ((size_t)1 << 20)

enum {
    PLACES = 48,
    STEPS = 1500, /* of a worker: each may leave a mapping behind, of which there are 65530 */
    ROUNDS = 60,  /* of the others */
    SECONDS_MAX = 100
};

/* The driver refuses everything once it has ended; what other threads hear from it then is of no account. */
static atomic_bool is_over;

static void must(bool holds, const char *what) {
    while (!holds && atomic_load(&is_over)) {
        (void)pause();
    }
    if (!holds) {
        (void)fprintf(stderr, "not so: %s\n", what);
        _exit(1);
    }
}
#define MUST(condition) must((condition), #condition)

/* Xorshift, by Marsaglia (2003). */
static unsigned draw(unsigned *state) {
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

static CUcontext contexts[2];

/* What a capture forbids is refused, whoever asks; the other captures are lost by it. */
static bool is_granted(CUresult result) {
    MUST(result == CUDA_SUCCESS || result == CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    return result == CUDA_SUCCESS;
}

/* ---- parcels, which go from hand to hand ---- */

struct parcel {
    char *address; /* NULL: none */
    size_t size;
    unsigned mark;
    bool is_pinned;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct parcel places[PLACES];

static struct parcel exchange(size_t place, struct parcel given) {
    (void)pthread_mutex_lock(&lock);
    struct parcel taken = places[place];
    places[place] = given;
    (void)pthread_mutex_unlock(&lock);
    return taken;
}

static struct parcel take(unsigned *state) {
    struct parcel p = {.size = MIB + draw(state) % (6 * MIB), .mark = draw(state)};
    p.is_pinned = draw(state) % 4 == 0;
    CUdeviceptr address = 0;
    CUresult result = p.is_pinned ? cuMemHostAlloc((void **)&address, p.size, draw(state) % 2)
                                  : cuMemAlloc_v2(&address, p.size);
    if (is_granted(result)) {
        p.address = (char *)(uintptr_t)address;
        memcpy(p.address, &p.mark, sizeof p.mark);
        memcpy(p.address + p.size - sizeof p.mark, &p.mark, sizeof p.mark);
    }
    return p;
}

/* Refused in a capture, it is not freed: once more, as often as need be. */
static void give(const struct parcel *p) {
    if (p->address == NULL) {
        return;
    }
    MUST(memcmp(p->address, &p->mark, sizeof p->mark) == 0);
    MUST(memcmp(p->address + p->size - sizeof p->mark, &p->mark, sizeof p->mark) == 0);
    while (!is_granted(p->is_pinned ? cuMemFreeHost(p->address)
                                    : cuMemFree_v2((CUdeviceptr)(uintptr_t)p->address))) {
        (void)sched_yield();
    }
}

static atomic_bool is_endless;

static bool goes_on(int step, int steps) {
    return step < steps || atomic_load(&is_endless);
}

static void *work(void *number) {
    unsigned state = (unsigned)(uintptr_t)number + 1;
    for (int i = 0; goes_on(i, STEPS); i++) {
        MUST(cuCtxSetCurrent(contexts[draw(&state) % 2]) == CUDA_SUCCESS);
        struct parcel p = exchange(draw(&state) % PLACES, take(&state));
        give(&p);
    }
    return NULL;
}

/* ---- beside them ---- */

static void *come_and_go(void *unused) {
    unsigned state = 77;
    for (int i = 0; goes_on(i, ROUNDS); i++) {
        CUcontext context = NULL;
        MUST(cuCtxCreate_v2(&context, 0, 0) == CUDA_SUCCESS);
        struct parcel first = take(&state);
        struct parcel second = take(&state);
        give(&first);
        if (i % 2 == 0) {
            give(&second);
        }
        while (!is_granted(cuCtxDestroy_v2(context))) {
            (void)sched_yield();
        }
    }
    return unused;
}

/* Of all three modes; whether it is lost is the others' affair. */
static void *capture(void *unused) {
    MUST(cuCtxSetCurrent(contexts[0]) == CUDA_SUCCESS);
    for (int i = 0; goes_on(i, ROUNDS); i++) {
        CUstream stream = NULL;
        CUgraph graph = NULL;
        MUST(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING) == CUDA_SUCCESS);
        MUST(cuStreamBeginCapture_v2(stream, (CUstreamCaptureMode)(i % 3)) == CUDA_SUCCESS);
        (void)sched_yield();
        CUresult result = cuStreamEndCapture(stream, &graph);
        MUST(result == CUDA_SUCCESS || result == CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
        MUST(cuStreamDestroy_v2(stream) == CUDA_SUCCESS);
        (void)usleep(200);
    }
    return unused;
}

/* A child has none of it, and can do without. */
static void *fork_now_and_then(void *unused) {
    for (int i = 0; goes_on(i, ROUNDS); i++) {
        int status = 0;
        pid_t child = fork();
        if (child == 0) {
            char *block = malloc(4 * MIB);
            MUST(block != NULL);
            memset(block, 1, 4 * MIB);
            free(block);
            (void)malloc_trim(0);
            _exit(0);
        }
        MUST(child > 0 && waitpid(child, &status, 0) == child && status == 0);
        (void)usleep(500);
    }
    return unused;
}

static void *trim(void *unused) {
    for (int i = 0; goes_on(i, ROUNDS); i++) {
        (void)malloc_trim(0);
        (void)usleep(1000);
    }
    return unused;
}

/* Of memory that may be freed meanwhile anything may be told, but what it was asked for. */
static void *ask(void *unused) {
    unsigned state = 99;
    MUST(cuCtxSetCurrent(contexts[1]) == CUDA_SUCCESS);
    for (int i = 0; goes_on(i, ROUNDS); i++) {
        (void)pthread_mutex_lock(&lock);
        struct parcel p = places[draw(&state) % PLACES];
        size_t size = 0;
        CUresult result = CUDA_ERROR_INVALID_VALUE;
        if (p.address != NULL) {
            CUdeviceptr inside = (CUdeviceptr)(uintptr_t)p.address + draw(&state) % p.size;
            result = cuPointerGetAttribute(&size, CU_POINTER_ATTRIBUTE_RANGE_SIZE, inside);
        }
        (void)pthread_mutex_unlock(&lock);
        MUST(p.address == NULL || result == CUDA_SUCCESS);
        MUST(p.address == NULL || size == p.size);
        size_t available = 0;
        size_t total = 0;
        MUST(cuMemGetInfo_v2(&available, &total) == CUDA_SUCCESS && available <= total);
        (void)usleep(500);
    }
    return unused;
}

/* ---- all of it ---- */

static void *(*const bodies[])(void *) = {
    work, work, work, work, come_and_go, capture, fork_now_and_then, trim, ask};
enum {
    THREADS = sizeof bodies / sizeof *bodies
};

int main(int argc, char **argv) {
    pthread_t threads[THREADS];
    is_endless = argc > 1 && strcmp(argv[1], "amid") == 0;
    (void)alarm(SECONDS_MAX);
    MUST(cuInit(0) == CUDA_SUCCESS);
    MUST(cuDevicePrimaryCtxRetain(&contexts[0], 0) == CUDA_SUCCESS);
    MUST(cuCtxCreate_v2(&contexts[1], 0, 0) == CUDA_SUCCESS);
    for (size_t i = 0; i < THREADS; i++) {
        MUST(pthread_create(&threads[i], NULL, bodies[i], (void *)i) == 0);
    }
    if (is_endless) {
        (void)usleep(300 * 1000);
        is_over = true;
        return 0;
    }
    for (size_t i = 0; i < THREADS; i++) {
        MUST(pthread_join(threads[i], NULL) == 0);
    }
    for (size_t i = 0; i < PLACES; i++) {
        give(&places[i]);
    }
    (void)malloc_trim(0);
    MUST(fake_cuda()->used(0) == 0);
    return 0;
}

/*
 * inside.c - what programs need that have the library's sources for CUDA in them, for the thread sanitizer: it
 * cannot stand another dlsym, and knows nothing of memory that a preloaded library hands over.
 */
#include <malloc.h>
#include <pthread.h>
#include <unistd.h>

#include "cuda_hooks/cuda_hooks.h"
#include "cuda_hooks/loader.h"
#include "cuda_hooks/resolve.h"
#include "pool/nearby.h"

/* A race ends the program at once. */
const char *__tsan_default_options(void);
const char *__tsan_default_options(void) {
    return "halt_on_error=1:report_thread_leaks=0";
}

void resolve_turn(bool on) {
    (void)on;
}

/* The driver is found under its own names, which are the library's too. */
bool resolve_is_on(void) {
    return false;
}

/* ---- the owner: who sees the whole process ---- */

static void after_open(struct pool *p) {
    (void)p;
}

static void after_free(uint64_t now_ms) {
    (void)now_ms;
}

static uint64_t begin(void) {
    return 0;
}

static bool before_pinning(struct nearby *n, int *was) {
    (void)n;
    (void)was;
    return false;
}

static const struct cuda_owner owner = {.after_open = after_open,
                                        .after_free = after_free,
                                        .begin = begin,
                                        .before_pinning = before_pinning};

/* In the place of the helper thread. */
static void *tick(void *unused) {
    for (;;) {
        (void)cuda_hooks_tick(clock_coarse_ms());
        (void)usleep(1000);
    }
    return unused;
}

int malloc_trim(size_t pad) {
    (void)pad;
    return cuda_hooks_trim() != 0;
}

__attribute__((constructor)) static void start(void) {
    static struct options options;
    static char complaints[WRITER_LINE];
    pthread_t helper;
    struct writer w = writer_to(STDERR_FILENO, complaints, sizeof complaints);
    options_load(&options, environ, &w);
    writer_flush(&w);
    cuda_hooks_start(&options, &owner);
    (void)pthread_atfork(NULL, NULL, cuda_hooks_after_fork_in_child);
    (void)pthread_create(&helper, NULL, tick, NULL);
    (void)pthread_detach(helper);
}

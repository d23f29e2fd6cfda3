/*
 * subject_trace.c - programs that keep a list of their large requests, for a comparison with the timeline.
 *
 * The first argument is the file that the list goes to in the end, one line for each:
 *
 *     alloc THREAD ADDRESS BYTES        free THREAD ADDRESS        resize THREAD OLD NEW BYTES
 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/preload/subject.h"

#define THRESHOLD (1 * MIB)

enum {
    EVENTS_MOST = 100000,
    SLOTS = 16,
    ROUNDS = 400
};

struct event {
    const char *kind;
    int thread;
    uintptr_t words[3];
    unsigned words_count;
};

/* Written by several threads; pages of libc's own, that no malloc has a part in. */
static struct event events[EVENTS_MOST];
static atomic_uint event_count;

static void note(const char *kind, unsigned count, uintptr_t a, uintptr_t b, uintptr_t c) {
    unsigned n = atomic_fetch_add(&event_count, 1);
    CHECK(n < EVENTS_MOST);
    events[n] =
        (struct event){.kind = kind, .thread = gettid(), .words = {a, b, c}, .words_count = count};
}

static void write_list(const char *path) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    CHECK(fd >= 0);
    for (unsigned i = 0; i < event_count; i++) {
        (void)dprintf(fd, "%s %d", events[i].kind, events[i].thread);
        for (unsigned j = 0; j < events[i].words_count; j++) {
            (void)dprintf(fd, " %lu", events[i].words[j]);
        }
        (void)dprintf(fd, "\n");
    }
    (void)close(fd);
}

/* ---- requests that are noted ---- */

static bool is_large(size_t bytes) {
    return bytes >= THRESHOLD;
}

struct slot {
    char *p;
    size_t bytes;
};

static void take(struct slot *s, size_t bytes, uint32_t how) {
    switch (how % 3) {
    case 0: s->p = malloc(bytes); break;
    case 1: s->p = calloc(1, bytes); break;
    default: s->p = aligned_alloc(4 * KIB, bytes); break;
    }
    CHECK(s->p != NULL);
    s->bytes = bytes;
    if (is_large(bytes)) {
        note("alloc", 2, (uintptr_t)s->p, bytes, 0);
    }
}

static void give(struct slot *s) {
    if (is_large(s->bytes)) {
        note("free", 1, (uintptr_t)s->p, 0, 0);
    }
    free(s->p);
    *s = (struct slot){0};
}

static void change(struct slot *s, size_t bytes) {
    uintptr_t old = (uintptr_t)s->p;
    bool was_large = is_large(s->bytes);
    s->p = realloc(s->p, bytes);
    CHECK(s->p != NULL);
    if (was_large && is_large(bytes)) {
        note("resize", 3, old, (uintptr_t)s->p, bytes);
    } else if (was_large) {
        note("free", 1, old, 0, 0);
    } else if (is_large(bytes)) {
        note("alloc", 2, (uintptr_t)s->p, bytes, 0);
    }
    s->bytes = bytes;
}

static void work(uint32_t seed, int rounds) {
    struct slot slots[SLOTS] = {0};
    for (int i = 0; i < rounds; i++) {
        struct slot *s = &slots[draw(&seed) % SLOTS];
        size_t bytes = (draw(&seed) % 48 + 1) * (256 * KIB) + draw(&seed) % 2 * 4 * KIB;
        uint32_t what = draw(&seed) % 4;
        if (s->p == NULL) {
            take(s, bytes, draw(&seed));
        } else if (what == 0) {
            change(s, bytes);
        } else {
            give(s);
        }
    }
    for (int i = 0; i < SLOTS; i++) {
        if (slots[i].p != NULL) {
            give(&slots[i]);
        }
    }
}

void trace_every_request(void) {
    work(1, ROUNDS);
    write_list(subject_arguments[0]);
}

static void *work_in_thread(void *seed) {
    work((uint32_t)(uintptr_t)seed, ROUNDS);
    return NULL;
}

/* Not before the pools are open, as what is asked for meanwhile is not theirs. */
void trace_every_request_of_four_threads(void) {
    pthread_t threads[4];
    work(9, 1);
    for (uintptr_t i = 0; i < 4; i++) {
        CHECK(pthread_create(&threads[i], NULL, work_in_thread, (void *)(i + 1)) == 0);
    }
    for (int i = 0; i < 4; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
    write_list(subject_arguments[0]);
}

/* ---- descriptors ---- */

/* Every number that was open before is another file now: what somebody writes to one of them is found there. */
void trace_without_descriptors(void) {
    enum {
        FILES = 64
    };
    int files[FILES];
    work(1, ROUNDS);
    CHECK(syscall(SYS_close_range, 3U, ~0U, 0U) == 0);
    for (int i = 0; i < FILES; i++) {
        files[i] = memfd_create("mine", MFD_CLOEXEC);
        CHECK(files[i] == 3 + i);
    }
    work(2, ROUNDS);
    for (int i = 0; i < FILES; i++) {
        struct stat found;
        CHECK(fstat(files[i], &found) == 0 && found.st_size == 0);
    }
    write_list(subject_arguments[0]);
}

/* ---- children ---- */

static void work_as_grandchild(void) {
    event_count = 0;
    work(3, ROUNDS);
    tell("grandchild", (size_t)getpid());
    (void)fflush(stdout);
    write_list(subject_arguments[2]);
}

static void work_as_child(void) {
    event_count = 0;
    work(2, ROUNDS);
    CHECK(in_child(work_as_grandchild) == 0);
    work(4, ROUNDS);
    tell("child", (size_t)getpid());
    (void)fflush(stdout);
    write_list(subject_arguments[1]);
}

void trace_a_child_and_its_child(void) {
    struct slot live = {0};
    take(&live, 8 * MIB, 0);
    work(1, ROUNDS);
    CHECK(in_child(work_as_child) == 0);
    work(5, ROUNDS);
    give(&live);
    write_list(subject_arguments[0]);
}

/* A fork that runs no handlers, as those of other languages may be. */
void trace_beside_a_child_of_no_handler(void) {
    work(1, ROUNDS);
    pid_t pid = (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
    CHECK(pid >= 0);
    if (pid == 0) {
        work(2, 20 * ROUNDS);
        _exit(0);
    }
    int status = 0;
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    work(3, ROUNDS);
    write_list(subject_arguments[0]);
}

void trace_and_start_another(void) {
    char *const words[] = {"subject", "end_by_return", NULL};
    pid_t pid = 0;
    int status = 0;
    free(get(8 * MIB));
    CHECK(posix_spawn(&pid, "/proc/self/exe", NULL, NULL, words, environ) == 0);
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    free(get(8 * MIB));
    tell("self", (size_t)getpid());
    tell("started", (size_t)pid);
}

/* ---- an end without warning ---- */

static off_t traced_bytes(void) {
    struct stat found;
    return stat(subject_arguments[1], &found) == 0 ? found.st_size : 0;
}

static off_t traced_before;

static bool is_flushed(void) {
    return traced_bytes() > traced_before;
}

/* Idle, with a helper that has something to look after. */
void trace_until_killed(void) {
    work(1, ROUNDS);
    struct slot s = {0};
    take(&s, 64 * MIB, 0);
    give(&s);
    traced_before = traced_bytes();
    CHECK(comes_true(is_flushed, 20000));
    write_list(subject_arguments[0]);
    (void)raise(SIGKILL);
}

/* ---- calls ---- */

/* Two functions that look the same to the one that they call, but for where it returns to. */
static uintptr_t return_into_outer;
static uintptr_t return_into[2];

__attribute__((noinline)) static char *innermost(int which) {
    return_into[which] = (uintptr_t)__builtin_return_address(0);
    char *p = malloc(8 * MIB);
    CHECK(p != NULL);
    return p;
}

__attribute__((noinline)) static char *inner(void) {
    return_into_outer = (uintptr_t)__builtin_return_address(0);
    char *p = innermost(0);
    CHECK(p != NULL);
    return p;
}

__attribute__((noinline)) static char *another(void) {
    return_into_outer = (uintptr_t)__builtin_return_address(0);
    char *p = innermost(1);
    CHECK(p != NULL);
    return p;
}

__attribute__((noinline)) static char *outer(int depth, char *(*last)(void)) {
    char *p = depth == 0 ? last() : outer(depth - 1, last);
    CHECK(p != NULL);
    return p;
}

void trace_calls(void) {
    for (int i = 0; i < 20; i++) {
        free(outer(0, i / 2 % 2 == 0 ? inner : another));
    }
    tell("inner", return_into[0]);
    tell("another", return_into[1]);
    tell("outer", return_into_outer);
    free(outer(60, inner));
}

/* ---- many ---- */

void trace_many_requests(void) {
    for (int i = 0; i < 40000; i++) {
        free(get(opaque(2 * MIB)));
    }
}

/* More than there is memory, and more than there are addresses. */
void trace_refused_requests(void) {
    char *p = get(4 * MIB);
    CHECK(malloc(opaque((size_t)8 << 40)) == NULL);
    CHECK(malloc(opaque((size_t)64 << 40)) == NULL);
    free(p);
}

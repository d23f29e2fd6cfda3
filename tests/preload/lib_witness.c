/*
 * lib_witness.c - a library that hears which addresses lose their memory, as the registration caches
 * of UCX and libfabric do: it stands in the way of the calls of libc, and sees no raw system call.
 *
 * Preloaded after the library under test. What mremap moves away, what mmap replaces, what munmap and
 * madvise throw away is an event; where pages arrive by mremap none is, as in both of them.
 * Each call leaves its events twice, before and after, so that whoever sees what it did finds one.
 */
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    EVENTS_MAX = 1 << 21
};

struct event {
    uintptr_t start;
    uintptr_t end;
};

static struct event events[EVENTS_MAX];
static _Atomic size_t event_count;

size_t witness_now(void);
bool witness_is_full(void);
bool witness_heard_of(const void *address, size_t since);

/* So many events have been. */
size_t witness_now(void) {
    return atomic_load(&event_count);
}

bool witness_is_full(void) {
    return witness_now() > EVENTS_MAX / 16 * 15;
}

bool witness_heard_of(const void *address, size_t since) {
    size_t now = witness_now();
    for (size_t i = since; i < now; i++) {
        if (events[i].start <= (uintptr_t)address && (uintptr_t)address < events[i].end) {
            return true;
        }
    }
    return false;
}

static void note(const void *address, size_t bytes) {
    size_t i = atomic_fetch_add(&event_count, 1);
    if (i < EVENTS_MAX) {
        events[i] = (struct event){.start = (uintptr_t)address, .end = (uintptr_t)address + bytes};
    }
}

/* ---- in the place of libc's ---- */

void *mmap(void *address, size_t bytes, int protection, int flags, int fd, off_t offset) {
    bool replaces = (flags & MAP_FIXED) != 0;
    if (replaces) {
        note(address, bytes);
    }
    void *p = (void *)syscall(SYS_mmap, address, bytes, protection, flags, fd, offset);
    if (replaces) {
        note(address, bytes);
    }
    return p;
}

int munmap(void *address, size_t bytes) {
    note(address, bytes);
    int result = (int)syscall(SYS_munmap, address, bytes);
    note(address, bytes);
    return result;
}

int madvise(void *address, size_t bytes, int advice) {
    bool discards = advice == MADV_DONTNEED || advice == MADV_REMOVE || advice == MADV_FREE;
    if (discards) {
        note(address, bytes);
    }
    int result = (int)syscall(SYS_madvise, address, bytes, advice);
    if (discards) {
        note(address, bytes);
    }
    return result;
}

void *mremap(void *old, size_t old_bytes, size_t new_bytes, int flags, ...) {
    va_list arguments;
    va_start(arguments, flags);
    void *new = (flags & MREMAP_FIXED) != 0 ? va_arg(arguments, void *) : NULL;
    va_end(arguments);
    note(old, old_bytes);
    void *p = (void *)syscall(SYS_mremap, old, old_bytes, new_bytes, flags, new);
    note(old, old_bytes);
    return p;
}

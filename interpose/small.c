#include "interpose/small.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "pool/lock.h"
#include "pool/system.h"

/* What scripts/bundle-jemalloc redirects to us: jemalloc's calls into the system. */
void *jemalloc_mmap(void *address, size_t bytes, int protection, int flags, int fd, off_t offset);
int jemalloc_munmap(void *address, size_t bytes);
int jemalloc_madvise(void *address, size_t bytes, int advice);
void *jemalloc_sbrk(intptr_t increment);
char *jemalloc_secure_getenv(const char *name);
int jemalloc_pthread_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void));

int jemalloc_mallctl(const char *name, void *old, size_t *old_bytes, void *new, size_t new_bytes);

static const size_t RANGE_MAX = 4 * TIB;
static const size_t RANGE_MIN = 8 * MIB;

struct small_range small_range = {.base = 1};

static struct lock lock; /* of `used`, and of the reservation itself */
static size_t used;
static bool (*ask_again)(void);

/* ---- the range ---- */

/* An eighth of a limited address space is ours to reserve; half of that is jemalloc's. */
static void reserve(void) REQUIRES(lock) {
    size_t share = system_address_share(system_address_limit());
    size_t bytes = size_min(RANGE_MAX, round_down(share, GRANULE));
    for (; bytes >= RANGE_MIN; bytes = round_down(bytes / 2, GRANULE)) {
        void *p = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (p != MAP_FAILED) {
            small_range.base = (uintptr_t)p;
            small_range.bytes = bytes;
            return;
        }
    }
    small_range.spilled = true;
}

/* The next addresses of the range; 0 when they are used up. Whole huge pages start on one. */
static uintptr_t carve(size_t bytes) {
    lock_acquire(&lock);
    if (small_range.bytes == 0 && !small_range.spilled) {
        reserve();
    }
    uintptr_t start = small_range.base + used;
    start = bytes % GRANULE == 0 ? round_up(start, GRANULE) : start;
    bool fits = start - small_range.base <= small_range.bytes &&
                bytes <= small_range.bytes - (start - small_range.base);
    if (fits) {
        used = start - small_range.base + bytes;
    }
    lock_release(&lock);
    return fits ? start : 0;
}

/* Only the topmost addresses can be carved again; others stay reserved, and cost nothing else. */
static void uncarve(uintptr_t start, size_t bytes) {
    lock_acquire(&lock);
    if (start + bytes == small_range.base + used) {
        used = start - small_range.base;
    }
    lock_release(&lock);
}

/*
 * jemalloc maps with MAP_NORESERVE where the system overcommits. Without it the kernel refuses what
 * it would refuse libc's malloc.
 */
static void *map_outside(void *address, size_t bytes, int protection, int flags) {
    void *p = mmap(address, bytes, protection, flags & ~MAP_NORESERVE, -1, 0);
    if (p != MAP_FAILED && !small_owns(p)) {
        small_range.spilled = true;
    }
    return p;
}

/* Inside the range a refusal must leave the reservation as it is, which a refused mmap(MAP_FIXED) did
 * not before Linux 6.12: addresses in use are protected, and only given up by a new mapping. */
static bool map_inside(void *address, size_t bytes, int protection) {
    if (protection != PROT_NONE) {
        return mprotect(address, bytes, protection) == 0;
    }
    return mmap(address, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) !=
           MAP_FAILED;
}

static void *map_new(size_t bytes, int protection, int flags) {
    uintptr_t start = carve(bytes);
    if (start == 0) {
        return map_outside(NULL, bytes, protection, flags);
    }
    void *p = (void *)start; /* NOLINT(performance-no-int-to-ptr) */
    if (protection != PROT_NONE && !map_inside(p, bytes, protection)) {
        uncarve(start, bytes);
        return MAP_FAILED;
    }
    return p;
}

/* An address that is not MAP_FIXED is a wish that jemalloc can do without. */
static void *map_once(void *address, size_t bytes, int protection, int flags) {
    if ((flags & MAP_FIXED) == 0) {
        return map_new(bytes, protection, flags);
    }
    if (!small_owns(address)) {
        return map_outside(address, bytes, protection, flags);
    }
    return map_inside(address, bytes, protection) ? address : MAP_FAILED;
}

/* NOLINTNEXTLINE(readability-function-size): mmap(2) has six parameters */
void *jemalloc_mmap(void *address, size_t bytes, int protection, int flags, int fd, off_t offset) {
    (void)fd;
    (void)offset;
    void *p = map_once(address, bytes, protection, flags);
    if (p == MAP_FAILED && ask_again != NULL && ask_again()) {
        p = map_once(address, bytes, protection, flags);
    }
    return p;
}

int jemalloc_munmap(void *address, size_t bytes) {
    int saved_errno = errno;
    if (!small_owns(address)) {
        int result = munmap(address, bytes);
        errno = saved_errno;
        return result;
    }
    bool gone = map_inside(address, bytes, PROT_NONE);
    errno = saved_errno;
    if (!gone) {
        return -1;
    }
    uncarve((uintptr_t)address, bytes);
    return 0;
}

/* free must preserve errno (POSIX.1-2024), also where the memory is locked and advice is refused. */
int jemalloc_madvise(void *address, size_t bytes, int advice) {
    int saved_errno = errno;
    int result = madvise(address, bytes, advice);
    errno = saved_errno;
    return result;
}

void *jemalloc_sbrk(intptr_t increment) {
    (void)increment;
    return (void *)-1; /* NOLINT(performance-no-int-to-ptr): what sbrk(2) says on failure */
}

/*
 * jemalloc asks once, for MALLOC_CONF. It keeps addresses that it does not use, unless told otherwise;
 * where they are limited, it is. What the user says comes last, and wins.
 */
char *jemalloc_secure_getenv(const char *name) {
    static char give_back[] = "retain:false";
    static char both[4 * KIB];
    char *value = secure_getenv(name);
    if (system_address_limit() == UNLIMITED) {
        return value;
    }
    if (value == NULL || strlen(value) + sizeof give_back >= sizeof both) {
        return value == NULL ? give_back : value;
    }
    (void)stpcpy(stpcpy(stpcpy(both, give_back), ","), value);
    return both;
}

void small_shrink(size_t bytes) {
    lock_acquire(&lock);
    size_t old = small_range.bytes;
    size_t keep = size_min(old, round_up(used + bytes, PAGE));
    small_range.bytes = keep;
    lock_release(&lock);
    if (keep < old) {
        (void)munmap((void *)(small_range.base + keep), old - keep); /* NOLINT */
    }
}

/* ---- control ---- */

void small_start(bool (*on_refusal)(void)) {
    ask_again = on_refusal;
    jemalloc_free(jemalloc_malloc(1));
}

/* 4096 stands for all arenas (MALLCTL_ARENAS_ALL). */
void small_decay(void) {
    (void)jemalloc_mallctl("arena.4096.decay", NULL, NULL, NULL, 0);
}

static size_t figure(const char *name) {
    size_t n = 0;
    size_t bytes = sizeof n;
    return jemalloc_mallctl(name, &n, &bytes, NULL, 0) == 0 ? n : 0;
}

static void refresh_figures(void) {
    uint64_t epoch = 1; /* writing it brings the figures up to date */
    (void)jemalloc_mallctl("epoch", NULL, NULL, &epoch, sizeof epoch);
}

size_t small_dirty_pages(void) {
    refresh_figures();
    return figure("stats.arenas.4096.pdirty") + figure("stats.arenas.4096.pmuzzy");
}

struct small_figures small_figures(void) {
    refresh_figures();

    return (struct small_figures){.allocated = figure("stats.allocated"),
                                  .active = figure("stats.active"),
                                  .resident = figure("stats.resident"),
                                  .mapped = figure("stats.mapped")};
}

bool small_purge(void) {
    size_t before = small_figures().resident;
    (void)jemalloc_mallctl("arena.4096.purge", NULL, NULL, NULL, 0);
    return small_figures().resident < before;
}

/* ---- fork ---- */

static struct {
    void (*prepare)(void);
    void (*parent)(void);
    void (*child)(void);
} at_fork;

int jemalloc_pthread_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void)) {
    at_fork.prepare = prepare;
    at_fork.parent = parent;
    at_fork.child = child;
    return 0;
}

void small_before_fork(void) UNCHECKED_LOCKING {
    if (at_fork.prepare != NULL) {
        at_fork.prepare();
    }
    lock_acquire(&lock);
}

void small_after_fork_in_parent(void) UNCHECKED_LOCKING {
    lock_release(&lock);
    if (at_fork.parent != NULL) {
        at_fork.parent();
    }
}

void small_after_fork_in_child(void) UNCHECKED_LOCKING {
    lock_reset(&lock);
    if (at_fork.child != NULL) {
        at_fork.child();
    }
}

/*
 * malloc.c - the malloc family, as malloc(3), posix_memalign(3) and malloc_usable_size(3) of glibc.
 *
 *     below the threshold                      jemalloc
 *     from the threshold up, alignment to 2M   the pools
 *     alignment beyond                         jemalloc
 *
 * A pointer says by its address whose it is. One that is neither jemalloc's nor the pools' was made
 * by libc's own malloc (before we came, or inside a library loaded with RTLD_DEEPBIND): libc's.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "interpose/exports.h"
#include "interpose/large.h"
#include "interpose/libc.h"
#include "interpose/small.h"
#include "pool/resize.h"

/* Names without a declaration in any header, for programs that know glibc well. */
void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t count, size_t bytes);
void *__libc_realloc(void *p, size_t bytes);
void __libc_free(void *p);
void __libc_cfree(void *p);
void *__libc_memalign(size_t alignment, size_t bytes);
void *__libc_valloc(size_t bytes);
void *__libc_pvalloc(size_t bytes);
int __posix_memalign(void **out, size_t alignment, size_t bytes);
void cfree(void *p);
void free_sized(void *p, size_t bytes);
void free_aligned_sized(void *p, size_t alignment, size_t bytes);
void *memalign(size_t alignment, size_t bytes);
void *pvalloc(size_t bytes);
size_t malloc_usable_size(void *p);

enum owner {
    OWNER_SMALL,
    OWNER_LARGE,
    OWNER_LIBC
};

static enum owner owner_of(const void *p) {
    if (LIKELY(small_owns(p))) {
        return OWNER_SMALL;
    }
    if (large_owns(p)) {
        return OWNER_LARGE;
    }
    return small_range.spilled ? OWNER_SMALL : OWNER_LIBC;
}

static void *out_of_memory(void) {
    errno = ENOMEM;
    return NULL;
}

/* jemalloc's own functions in one form, for the large requests that it serves in our place. */
typedef void *allocate(size_t alignment, size_t bytes);

static void *any(size_t alignment, size_t bytes) {
    (void)alignment;
    return jemalloc_malloc(bytes);
}

static void *zeroed(size_t alignment, size_t bytes) {
    (void)alignment;
    return jemalloc_calloc(1, bytes);
}

/* What jemalloc keeps may be in too small pieces: it can join them once they are purged. */
static void *from_small(allocate *how, size_t alignment, size_t bytes) {
    void *p = how(alignment, bytes);
    if (UNLIKELY(p == NULL) && bytes <= life_host.retention.memory_limit && large_trim()) {
        p = how(alignment, bytes);
    }
    return p != NULL ? p : out_of_memory();
}

/* ---- malloc, calloc ---- */

ASIDE static void *large_malloc(size_t bytes) {
    bool pass = false;
    struct block *b = large_acquire_filled(bytes, &pass);
    if (LIKELY(b != NULL)) {
        return b->address;
    }
    return pass ? from_small(any, 0, bytes) : NULL;
}

EXPORT void *malloc(size_t bytes) {
    return LIKELY(!life_is_large(bytes)) ? jemalloc_malloc(bytes) : large_malloc(bytes);
}

ASIDE static void *large_calloc(size_t bytes) {
    bool pass = false;
    struct block *b = large_acquire(bytes, PAGES_ZERO, &pass);
    if (b != NULL) {
        return b->address;
    }
    return pass ? from_small(zeroed, 0, bytes) : NULL;
}

EXPORT void *calloc(size_t count, size_t bytes) {
    size_t sum = 0;
    if (UNLIKELY(__builtin_mul_overflow(count, bytes, &sum))) {
        return out_of_memory();
    }
    return LIKELY(!life_is_large(sum)) ? jemalloc_calloc(1, sum) : large_calloc(sum);
}

/* ---- free ---- */

ASIDE static void free_other(void *p) {
    if (p == NULL) {
        return;
    }
    switch (owner_of(p)) {
    case OWNER_LARGE: large_free(p); return;
    case OWNER_SMALL: jemalloc_free(p); return;
    case OWNER_LIBC: libc_next()->free(p); return;
    }
}

EXPORT void free(void *p) {
    if (LIKELY(small_owns(p))) {
        jemalloc_free(p);
        return;
    }
    free_other(p);
}

EXPORT void free_sized(void *p, size_t bytes) {
    (void)bytes;
    free(p);
}

EXPORT void free_aligned_sized(void *p, size_t alignment, size_t bytes) {
    (void)alignment;
    (void)bytes;
    free(p);
}

/* ---- realloc ---- */

/* What stays large stays in the pools, which move its pages instead of copying them. */
static void *resize_large(struct block *b, size_t bytes) {
    b = life_is_large(bytes) ? large_resize(b, bytes) : NULL;
    return b != NULL ? b->address : NULL;
}

ASIDE static void *large_realloc(void *p, size_t bytes) {
    struct block *b = large_find(p, "realloc");
    if (b == NULL) {
        errno = EINVAL;
        return NULL;
    }
    void *new = resize_large(b, bytes);
    if (LIKELY(new != NULL)) {
        return new;
    }
    new = malloc(bytes);
    if (new == NULL) {
        /* Making a block smaller cannot fail, in glibc as here. */
        return resize_in_place(b->home, b, bytes) ? p : NULL;
    }
    memcpy(new, p, size_min(block_usable_bytes(b), bytes));
    large_outgrown(b);
    return new;
}

/* jemalloc's block outgrows what is small. Where the pools are closed, jemalloc makes it larger. */
static void *small_realloc(void *p, size_t bytes) {
    bool pass = true;
    struct block *b = life_is_large(bytes) ? large_acquire_filled(bytes, &pass) : NULL;
    if (LIKELY(b == NULL)) {
        return pass ? jemalloc_realloc(p, bytes) : NULL;
    }
    memcpy(b->address, p, size_min(jemalloc_malloc_usable_size(p), bytes));
    jemalloc_free(p);
    return b->address;
}

ASIDE static void *realloc_other(void *p, size_t bytes) {
    if (p == NULL) {
        return malloc(bytes);
    }
    if (UNLIKELY(bytes == 0)) {
        free(p);
        return NULL;
    }
    switch (owner_of(p)) {
    case OWNER_LARGE: return large_realloc(p, bytes);
    case OWNER_LIBC: return libc_next()->realloc(p, bytes);
    case OWNER_SMALL: break;
    }
    return small_realloc(p, bytes);
}

EXPORT void *realloc(void *p, size_t bytes) {
    if (LIKELY(small_owns(p) && bytes != 0 && !life_is_large(bytes))) {
        return jemalloc_realloc(p, bytes);
    }
    return realloc_other(p, bytes);
}

EXPORT void *reallocarray(void *p, size_t count, size_t bytes) {
    size_t sum = 0;
    return __builtin_mul_overflow(count, bytes, &sum) ? out_of_memory() : realloc(p, sum);
}

/* ---- alignment ---- */

/* alignment is a power of two. Every pooled block starts on a granule. */
static void *aligned(size_t alignment, size_t bytes) {
    bool pass = true;
    if (life_is_large(bytes) && alignment <= GRANULE) {
        struct block *b = large_acquire_filled(bytes, &pass);
        if (LIKELY(b != NULL)) {
            return b->address;
        }
    }
    return pass ? from_small(jemalloc_memalign, alignment, bytes) : NULL;
}

EXPORT int posix_memalign(void **out, size_t alignment, size_t bytes) {
    if (!is_power_of_two(alignment) || alignment % sizeof(void *) != 0) {
        return EINVAL;
    }
    int saved_errno = errno;
    void *p = aligned(alignment, bytes);
    errno = saved_errno;
    if (p == NULL) {
        return ENOMEM;
    }
    *out = p;
    return 0;
}

/* Since glibc 2.38 an alignment that is none fails; before, it was rounded up as for memalign. */
EXPORT void *aligned_alloc(size_t alignment, size_t bytes) {
    if (!is_power_of_two(alignment)) {
        errno = EINVAL;
        return NULL;
    }
    return aligned(alignment, bytes);
}

EXPORT void *memalign(size_t alignment, size_t bytes) {
    if (alignment > SIZE_MAX / 2 + 1) {
        errno = EINVAL;
        return NULL;
    }
    size_t power = sizeof(void *);
    while (power < alignment) {
        power *= 2;
    }
    return aligned(power, bytes);
}

EXPORT void *valloc(size_t bytes) {
    return aligned(PAGE, bytes);
}

EXPORT void *pvalloc(size_t bytes) {
    size_t pages = round_up(bytes, PAGE);
    return pages < bytes ? out_of_memory() : aligned(PAGE, pages);
}

/* ---- size ---- */

EXPORT size_t malloc_usable_size(void *p) {
    if (p == NULL) {
        return 0;
    }
    switch (owner_of(p)) {
    case OWNER_SMALL: return jemalloc_malloc_usable_size(p);
    case OWNER_LIBC: return libc_next()->malloc_usable_size(p);
    case OWNER_LARGE: break;
    }
    const struct block *b = large_find(p, "malloc_usable_size");
    return b != NULL ? block_usable_bytes(b) : 0;
}

/* ---- glibc's other names ---- */

EXPORT_ALIAS(malloc) void *__libc_malloc(size_t bytes);
EXPORT_ALIAS(calloc) void *__libc_calloc(size_t count, size_t bytes);
EXPORT_ALIAS(realloc) void *__libc_realloc(void *p, size_t bytes);
EXPORT_ALIAS(free) void __libc_free(void *p);
EXPORT_ALIAS(free) void __libc_cfree(void *p);
EXPORT_ALIAS(free) void cfree(void *p);
EXPORT_ALIAS(memalign) void *__libc_memalign(size_t alignment, size_t bytes);
EXPORT_ALIAS(valloc) void *__libc_valloc(size_t bytes);
EXPORT_ALIAS(pvalloc) void *__libc_pvalloc(size_t bytes);
EXPORT_ALIAS(posix_memalign) int __posix_memalign(void **out, size_t alignment, size_t bytes);

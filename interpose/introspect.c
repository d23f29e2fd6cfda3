/*
 * introspect.c - what glibc lets a program ask of its allocator, answered for jemalloc and the pools
 * together: mallinfo(3), mallopt(3), malloc_trim(3), malloc_info(3), malloc_stats(3).
 */
#include <errno.h>
#include <limits.h>
#include <malloc.h>
#include <stdio.h>
#include <unistd.h>

#include "interpose/dump.h"
#include "interpose/exports.h"
#include "interpose/large.h"
#include "interpose/shield.h"
#include "interpose/small.h"
#include "pool/writer.h"

struct heap_figures {
    struct small_figures small;
    size_t large_blocks;
    size_t large_bytes;
    size_t idle_bytes;
};

static size_t count_live(const struct host *h) {
    size_t cursor = 0;
    size_t count = 0;
    for (const struct block *b = arena_next(&h->arena, &cursor); b != NULL;
         b = arena_next(&h->arena, &cursor)) {
        count += block_state(b) == BLOCK_LIVE;
    }
    return count;
}

static struct heap_figures figures(void) {
    struct heap_figures f = {.small = small_figures(), .large_blocks = count_live(&life_host)};
    for (unsigned i = 0; i < life_host.pool_count; i++) {
        f.large_bytes += gauge_current(&stock_figures(&life_host.pools[i])->stats.allocated_bytes);
        f.idle_bytes += pool_idle_bytes(&life_host.pools[i]);
    }
    return f;
}

EXPORT struct mallinfo2 mallinfo2(void) {
    struct heap_figures f = figures();
    size_t free_small = size_minus(f.small.active, f.small.allocated);
    return (struct mallinfo2){.arena = f.small.mapped,
                              .hblks = f.large_blocks,
                              .hblkhd = f.large_bytes,
                              .uordblks = f.small.allocated + f.large_bytes,
                              .fordblks = free_small + f.idle_bytes,
                              .keepcost = f.idle_bytes};
}

/* The old form, whose fields are too narrow: the largest number that fits stands for more. */
static int narrow(size_t n) {
    return n > INT_MAX ? INT_MAX : (int)n;
}

EXPORT struct mallinfo mallinfo(void) {
    struct mallinfo2 wide = mallinfo2();
    return (struct mallinfo){.arena = narrow(wide.arena),
                             .hblks = narrow(wide.hblks),
                             .hblkhd = narrow(wide.hblkhd),
                             .uordblks = narrow(wide.uordblks),
                             .fordblks = narrow(wide.fordblks),
                             .keepcost = narrow(wide.keepcost)};
}

/* glibc's parameters have no counterpart here; like there, a program that sets one may go on. */
EXPORT int mallopt(int parameter, int value) {
    (void)parameter;
    (void)value;
    return 1;
}

/* 1 if memory went back, else 0. `pad` concerns the top of a heap, which there is none of. */
EXPORT int malloc_trim(size_t pad) {
    (void)pad;
    return large_trim();
}

EXPORT int malloc_info(int options, FILE *stream) {
    if (options != 0) {
        return EINVAL; /* not -1, whatever the man page says */
    }
    struct heap_figures f = figures();
    (void)fprintf(stream,
                  "<malloc version=\"bigmalloc-1\">\n"
                  "<heap nr=\"0\">\n"
                  "<system type=\"current\" size=\"%zu\"/>\n"
                  "<aspace type=\"total\" size=\"%zu\"/>\n"
                  "</heap>\n"
                  "<total type=\"rest\" count=\"0\" size=\"%zu\"/>\n"
                  "<total type=\"mmap\" count=\"%zu\" size=\"%zu\"/>\n"
                  "<system type=\"current\" size=\"%zu\"/>\n"
                  "<aspace type=\"total\" size=\"%zu\"/>\n"
                  "</malloc>\n",
                  f.small.resident, f.small.mapped,
                  size_minus(f.small.active, f.small.allocated) + f.idle_bytes, f.large_blocks,
                  f.large_bytes, f.small.resident + f.large_bytes + f.idle_bytes,
                  f.small.mapped + f.large_bytes + f.idle_bytes);
    return 0;
}

EXPORT void malloc_stats(void) {
    struct small_figures small = small_figures();
    struct shield shield;
    dump_to_stderr();
    shield_raise(&shield);
    char room[WRITER_LINE];
    struct writer w = writer_to(STDERR_FILENO, room, sizeof room);
    write_text(&w, "  jemalloc: ");
    write_bytes(&w, small.allocated);
    write_text(&w, " allocated, ");
    write_bytes(&w, small.resident);
    write_text(&w, " resident, ");
    write_bytes(&w, small.mapped);
    write_text(&w, " mapped\n");
    writer_flush(&w);
    shield_lower(&shield);
}

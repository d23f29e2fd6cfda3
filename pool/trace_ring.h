/*
 * trace_ring.h - chunks of a file that are filled in memory and overwrite the oldest ones.
 *
 *     records -> | filling |        | full | -> by the thread that filled it, without the lock
 *                                               |
 *     file:  | header | chunk 5 | chunk 6 | chunk 3 | chunk 4 |      places - 1 of them are kept
 *
 * A chunk is whole in itself: head and records. Its head is written last, and an empty one first where it
 * overwrites another, so that a process may be killed at any instant and leaves chunks that are right as far
 * as they go. What finds no buffer is lost and counted: nobody waits for a disk.
 */
#ifndef POOL_TRACE_RING_H
#define POOL_TRACE_RING_H

#include "pool/lock.h"
#include "pool/util.h"

#define TRACE_CHUNK (64 * KIB)

enum {
    TRACE_BUFFERS = 16,
    TRACE_PLACES_LEAST = 32 /* more than buffers, or chunks under way would meet in the file */
};

/* The first bytes of every chunk. */
struct trace_head {
    char magic[4];    /* "BMCK" */
    uint32_t used;    /* bytes of the chunk that count, these included */
    uint64_t number;  /* 0 of the file's header, then 1, 2, 3 ... */
    uint64_t dropped; /* records lost until this was written, in all */
    uint64_t zero;
};

struct trace_head trace_head(uint64_t number, uint32_t used, uint64_t dropped);

/* Bytes for a place in the file. */
struct trace_piece {
    const void *bytes;
    size_t count;
    uint64_t offset;
};

/* Writes the pieces in their order. False: not all of them. */
typedef bool trace_write(const struct trace_piece *pieces, unsigned count);

/* Under the lock, but for bytes[0 .. used), which do not change any more. */
struct trace_buffer {
    char *bytes;
    uint64_t number;  /* of the chunk; 0: there is none in it */
    uint32_t used;    /* bytes of it, its head included */
    uint32_t written; /* of those are in the file, or lost */
    uint32_t records; /* not yet written */
    bool is_in_hand;  /* a thread writes it */
};

struct trace_ring {
    struct lock lock;
    trace_write *write; /* thread-safe for different places */
    uint64_t places;
    uint64_t number; /* of the newest chunk */
    uint64_t dropped;
    struct trace_buffer *filling; /* NULL: none was to be had */
    struct trace_buffer buffers[TRACE_BUFFERS];
};

/* Zero-initialised before; once. The file has room for `bytes`, or for TRACE_PLACES_LEAST chunks.
 * False: no memory. */
MUST_CHECK bool trace_ring_start(struct trace_ring *r, size_t bytes, trace_write *write);

/* Makes room in r->filling for records of `bytes` together, which go into one chunk. False: they are lost, and counted
 * as one. *full is for trace_ring_write, once the lock is released; NULL: nothing is. */
MUST_CHECK bool trace_ring_reserve(struct trace_ring *r, size_t bytes, struct trace_buffer **full)
    REQUIRES(r->lock);

/* The next `bytes` of a record, for which room was made. */
void *trace_ring_take(struct trace_ring *r, size_t bytes) REQUIRES(r->lock);

/* Writes what is not yet in the file of that buffer, or of the one that is filling. */
void trace_ring_write(struct trace_ring *r, struct trace_buffer *b) EXCLUDES(r->lock);
void trace_ring_flush(struct trace_ring *r) EXCLUDES(r->lock);

/* Was there ever a record? */
bool trace_ring_has_begun(struct trace_ring *r) EXCLUDES(r->lock);

/* Are threads still writing? */
bool trace_ring_is_busy(struct trace_ring *r) EXCLUDES(r->lock);

/* In the child of a fork, whose parent had the lock or not: empty, for a file of its own. */
void trace_ring_reset(struct trace_ring *r) RELEASE(r->lock);

#endif

/*
 * trace.h - the course of a process as records in a file ("BIGMTRC1").
 *
 * The file is chunks of 64 KiB (trace_ring.h), the first of them its header. A chunk has, behind its head,
 * records, all numbers little-endian and 8-byte aligned:
 *
 *     u16 type, u16 length of the record in units of 8 bytes, u32 a, u64 words ..., strings ...
 *
 *     type     a        words
 *     HEADER   version  pid, start_ticks, started_us, started_unix_us, threshold, chunk_bytes, chunks that the file
 *                       has room for; strings: host, boot id, command, rank
 *     POOL     pool     id; strings: kind, uuid, pci address
 *     SAMPLE   pool     time_us, and the figures of pool/sample.h in their order
 *     PROCESS  0        time_us, resident bytes, the most that ever were (0: not known)
 *     ALLOC    thread   time_ns, address, bytes, took_ns, info
 *     FREE     thread   time_ns, address, took_ns
 *     STACK    stack    return addresses, innermost first
 *     RESIZE   thread   time_ns, old address, new address, bytes, took_ns, info
 *     MODULE   0        start, end, offset in the file; strings: path, build id in hexadecimal digits
 *     END      0        time_us
 *
 * Strings are terminated, and filled up with zeros to 8 bytes. Times are those of CLOCK_MONOTONIC; started_us and
 * started_unix_us are of one instant. info: the pool (16 bits), the stack (32 bits; 0: none), how it was served (8 bits,
 * enum trace_served). ALLOC's time is that of its end, FREE's and RESIZE's that of their beginning: what one
 * thread has freed is free before another has got it. Threads enter records a little out of that order.
 *
 * POOL and STACK stand in every chunk before the records that use them. A number of a stack never becomes another's,
 * but one stack may get several.
 */
#ifndef POOL_TRACE_H
#define POOL_TRACE_H

#include "pool/backend.h"
#include "pool/trace_ring.h"

enum {
    TRACE_VERSION = 1,
    TRACE_FRAMES = 32, /* of a stack, at most */
    TRACE_POOLS = 512,
    TRACE_WORDS = 12,
    TRACE_STRINGS = 4
};

enum trace_type {
    TRACE_HEADER = 1,
    TRACE_POOL,
    TRACE_SAMPLE,
    TRACE_PROCESS,
    TRACE_ALLOC,
    TRACE_FREE,
    TRACE_STACK,
    TRACE_RESIZE,
    TRACE_MODULE,
    TRACE_END = 11
};

enum trace_served {
    TRACE_HIT,
    TRACE_MISS,
    TRACE_FAILED,
    TRACE_PASSED
};

struct trace_stack {
    uint64_t frames[TRACE_FRAMES];
    unsigned depth;
};

/* A record to be. */
struct trace_entry {
    enum trace_type type;
    uint32_t a;
    unsigned words_count;
    uint64_t words[TRACE_WORDS];
    const char *strings[TRACE_STRINGS]; /* up to the first NULL */
};

/* What a record tells of. */
struct trace_subject {
    const struct backend *backend;   /* of the pool; NULL: of none */
    unsigned pool;                   /* its number */
    const struct trace_stack *stack; /* its number goes into the last word; NULL: none */
};

/* Of stacks in the file: a set of neighbours has place for those of some hash values. */
enum {
    TRACE_STACK_SETS = 1024,
    TRACE_STACK_WAYS = 4
};

struct trace_known_stack {
    uint64_t hash;
    uint64_t chunk; /* that it was last written to */
    uint32_t number;
};

/* Zero-initialised, then its ring started. */
struct trace {
    struct trace_ring ring; /* whose lock is for all below, too */
    uint64_t pool_chunks[TRACE_POOLS];
    uint32_t stacks; /* numbers given */
    struct {
        uint32_t stacks;  /* when they were due last */
        uint64_t chunk;   /* likewise */
        uint64_t due_ms;  /* not before, for the sake of new stacks */
        uint64_t wait_ms; /* between the last two times */
    } modules;
    struct trace_known_stack known[TRACE_STACK_SETS][TRACE_STACK_WAYS];
};

/* The word `info`, still without a stack. */
enum {
    TRACE_STACK_SHIFT = 16,
    TRACE_SERVED_SHIFT = 48
};
static inline uint64_t trace_info(unsigned pool, enum trace_served served) {
    return pool | (uint64_t)served << TRACE_SERVED_SHIFT;
}

/* Enters a record, and before it, where the chunk has not got them, what it tells of. False: it is lost, and
 * counted. Makes no system call but for the lock, or when a chunk is full. Thread-safe, not
 * async-signal-safe, may change errno. */
bool trace_enter(struct trace *t, const struct trace_entry *e, const struct trace_subject *s)
    EXCLUDES(t->ring.lock);

/* Writes a chunk with this one record, of so many bytes at most, to the beginning of a file. */
enum {
    TRACE_HEADER_BYTES = 1024
};
MUST_CHECK bool trace_write_header(const struct trace_entry *e, trace_write *write);

/* Whose file it is that begins with these bytes. False: nobody's. */
enum {
    TRACE_OWNER_BYTES = 56
};
struct trace_owner {
    uint64_t pid;
    uint64_t start_ticks;
};
MUST_CHECK bool trace_read_owner(struct trace_owner *o, const char bytes[TRACE_OWNER_BYTES]);

/* Should the modules be entered (again), by which the stacks are told? When new stacks have come, ever more seldom, and
 * before the ring has gone over those that were entered last. */
bool trace_modules_are_due(struct trace *t, uint64_t now_ms) EXCLUDES(t->ring.lock);

/* In the child of a fork: all is new. */
void trace_reset(struct trace *t) RELEASE(t->ring.lock);

#endif

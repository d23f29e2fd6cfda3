/*
 * live.h - the figures of all pools in a file that other processes can read while they change.
 *
 *     header | schema, a text that says what the records hold | record | record | ...     one for each pool
 *
 * The figures are not copied there: that is where they are (pool_show), so that they are exact at every
 * moment, cost no system call, and outlive the process. A reader maps the file, or reads it, and takes each
 * record as figures.h says. Numbers are those of the machine, little-endian on all that we know.
 *
 * The schema has a line for each figure, with its place in a record, so that a reader needs to know no more
 * of a version than the header and the first fields of a record:
 *
 *     library 1.0
 *     process counter cuda_lookups 312 functions ...     of no pool: its place is in the header
 *     pool gauge allocated_bytes 128 memory that ...     allocated, freed, peak
 *     pool counter failures 208 requests that ...
 *     pool bytes missed_bytes 232 asked for by ...
 *     class 0 464 65536                                  number, place, bytes of its blocks: hits, misses, idle, live
 *
 * A child of this process finds no file here, not even one of a raw clone(2): see figures_slot.
 * One caller at a time, unless said otherwise; errno may change.
 */
#ifndef POOL_LIVE_H
#define POOL_LIVE_H

#include "pool/identity.h"
#include "pool/pool.h"

enum {
    LIVE_VERSION = 1,
    LIVE_TALLIES = 16,
    LIVE_PATTERN_BYTES = 1024
};

enum live_state {
    LIVE_RUNNING = 1,
    LIVE_ENDED = 2
};

struct live_header {
    char magic[8]; /* "BIGMLIVE"; written last */
    uint32_t version;
    uint32_t header_bytes;
    _Atomic uint64_t file_bytes;
    uint64_t schema_offset;
    uint64_t schema_bytes;
    uint64_t pools_offset;
    uint64_t pool_bytes;          /* from one record to the next */
    _Atomic uint32_t pool_count;  /* only grows */
    _Atomic uint32_t dump_signal; /* on which we write statistics, now; 0: on none */
    uint64_t pid;
    uint64_t start_ticks;
    uint64_t started_us;      /* when the file was made, monotonic clock */
    uint64_t started_unix_us; /* the same moment since 1970 */
    uint64_t pid_ns;
    _Atomic uint32_t state; /* enum live_state */
    int32_t rank;
    char boot_id[IDENTITY_BOOT_BYTES];
    char host[IDENTITY_HOST_BYTES];
    char command[IDENTITY_COMMAND_BYTES];
    uint64_t threshold; /* bytes from which on a request is large */
    uint64_t reserved[2];
    _Atomic uint64_t tallies[LIVE_TALLIES]; /* of the process, as the schema names them */
    /* where statistics go, %p and %n not filled in; "-": stderr */
    char stats_file[LIVE_PATTERN_BYTES];
};

static_assert(sizeof(struct live_header) == 1408, "the layout is for other programs too");
static_assert(offsetof(struct live_header, pool_count) == 56, "the same");
static_assert(offsetof(struct live_header, state) == 104, "the same");
static_assert(offsetof(struct live_header, threshold) == 232, "the same");
static_assert(offsetof(struct live_header, tallies) == 256, "the same");
static_assert(offsetof(struct live_header, stats_file) == 384, "the same");

/*
 * Makes fd, an empty file of a tmpfs that can be read and written, the live file of this process. Its space
 * is reserved, so that no write to it can fail. False: refused, and the file is of no use. mmap(2),
 * posix_fallocate(3).
 */
MUST_CHECK bool live_begin(int fd, const struct identity *who, size_t threshold,
                           const char *stats_file);

/* Moves the figures of a pool to the file, which fd is, unless they are there. False: refused, and they stay
 * where they are. Not under the pool's lock. */
bool live_add(int fd, struct pool *p);

/* The header of the live file of any process, of this version. False: that is none. */
MUST_CHECK bool live_read_header(int fd, struct live_header *h);

/* What is counted of the process, and of none of its pools. Before there is a file; the table outlives it. */
struct live_tally {
    const char *name; /* that of bytes ends in _bytes */
    const char *doc;
};
void live_name_tallies(const struct live_tally *names, unsigned count);

/* Adds to one of them, and its sum. It is in the file from the beginning of that on. Thread-safe, async-signal-safe. */
void live_tally(unsigned which, uint64_t n);
uint64_t live_tally_sum(unsigned which);

/* Is there a file? Of what it says of the process. Thread-safe, async-signal-safe. */
const struct live_header *live_header(void);

/* From now on statistics are written on that signal; 0: on none. Thread-safe, async-signal-safe. */
void live_note_signal(int number);

/* No more is to come. The figures stay where they are. */
void live_end(void);

/* The child of a fork, which has counted nothing, may begin a file of its own. After pool_after_fork_in_child of all pools. */
void live_after_fork_in_child(void);

#endif

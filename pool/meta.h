/*
 * meta.h - memory for our own records, apart from everything that we hand out.
 *
 * Records are never given back: their number is bounded by the largest number of blocks that ever
 * existed at once, and a record that cannot move needs no lock to be read.
 */
#ifndef POOL_META_H
#define POOL_META_H

#include "pool/lock.h"
#include "pool/util.h"

/*
 * Zeroed pages, which may be read, and cost nothing until meta_allow_writing. NULL when refused.
 * Thread-safe. mmap(2).
 */
MUST_CHECK void *meta_map(size_t bytes);

/* Makes whole pages of a meta_map writable, for which the system may have to promise memory. False
 * when refused. Thread-safe. mprotect(2). */
MUST_CHECK bool meta_allow_writing(void *pages, size_t bytes);

/* Records of one size, carved from chunks. Zero-initialise, then set record_bytes. */
struct meta_records {
    struct lock lock;
    size_t record_bytes; /* a multiple of the record's alignment, at most a chunk */
    char *next;          /* the first record never handed out, up to ... */
    char *end;           /* ... here */
};

/* A zeroed record, for ever. NULL when refused. Thread-safe. */
MUST_CHECK void *meta_record(struct meta_records *records);

#endif

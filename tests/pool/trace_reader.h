/*
 * trace_reader.h - a file of BIGMALLOC_TRACE in memory, and its records one after the other.
 */
#ifndef TESTS_POOL_TRACE_READER_H
#define TESTS_POOL_TRACE_READER_H

#include "pool/trace.h"

struct trace_record {
    enum trace_type type;
    uint32_t a;
    size_t words_count; /* strings count as words, too */
    const uint64_t *words;
    uint64_t chunk; /* its number */
};

/* The head of the chunk at a place; fails the test if there is none. */
struct trace_head trace_reader_head(const char *file, uint64_t place);

/* Goes through the chunk at a place from *cursor on (0 at first). False: that was the last one. Fails the test
 * where a record does not fit. */
bool trace_reader_next(const char *file, uint64_t place, size_t *cursor, struct trace_record *r);

/* Text n of what stands behind the first `words`. */
const char *trace_reader_text(const struct trace_record *r, size_t words, size_t n);

#endif

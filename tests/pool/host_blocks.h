/*
 * host_blocks.h - requests of a host as tests make them: one that is refused fails the test.
 */
#ifndef TESTS_POOL_HOST_BLOCKS_H
#define TESTS_POOL_HOST_BLOCKS_H

#include "pool/host.h"

struct block *must_acquire(struct host *h, size_t bytes);
void must_release(struct host *h, struct block *b, uint64_t now_ms);

#endif

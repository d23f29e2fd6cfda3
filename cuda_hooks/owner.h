/*
 * owner.h - what the pools of CUDA ask of those who see the whole process.
 */
#ifndef CUDA_HOOKS_OWNER_H
#define CUDA_HOOKS_OWNER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct block;
struct nearby;
struct pool;

/* Called without a lock of ours, by any thread that is in a call of the driver. They preserve errno. */
struct cuda_owner {
    void (*after_open)(struct pool *p);  /* for each new pool */
    void (*after_free)(uint64_t now_ms); /* with each block that becomes idle */

    /* Before a pool is asked for a block, or given one: the time, for a timeline; 0: nobody wants to know. Then a
     * block was handed out, from the driver or idle before; that at `address` was taken back. */
    uint64_t (*begin)(void);
    void (*after_acquire)(const struct block *b, size_t bytes, bool is_new, uint64_t start_ns);
    void (*after_release)(const void *address, uint64_t start_ns);

    /* Around a call of the driver that pins host memory for a device, as nearby_begin and nearby_end. */
    bool (*before_pinning)(struct nearby *n, int *was);
    void (*after_pinning)(int was);

    /* Around the time for which a device knows the pages of this host memory. */
    void (*register_host)(const void *address, size_t bytes);
    void (*unregister_host)(const void *address, size_t bytes);
};

#endif

/*
 * cuda_hooks.h - all that interpose/ knows of CUDA.
 *
 * There is nothing to open: a process without CUDA has a dlsym that jumps on, and no more. What is
 * needed is found when the program first looks up or calls a driver function.
 */
#ifndef CUDA_HOOKS_CUDA_HOOKS_H
#define CUDA_HOOKS_CUDA_HOOKS_H

#include "cuda_hooks/owner.h"
#include "pool/options.h"
#include "pool/pool.h"
#include "pool/report.h"

/* With the constructor, once it is known what the user wants; the options outlive the library's work. Where all
 * is off, the driver's functions are left to the programs that look them up, and to those linked against
 * libcuda ours do as the driver's. */
void cuda_hooks_start(const struct options *options, const struct cuda_owner *owner);

/* Bytes that are idle in all pools; 0 at once in a process without CUDA. */
size_t cuda_hooks_idle_bytes(void);

/* What the last run needed, of a process that may use so much memory of the host. Once, before anybody asks. */
void cuda_hooks_expect(struct profile *profile, size_t host_bytes);

/* Is anything expected of a device? Makes a block of it where there is a context, by one thread at a time; false: there
 * is none to be made. For a thread as below. */
bool cuda_hooks_expects(void);
MUST_CHECK bool cuda_hooks_make_ahead(uint64_t now_ms);

/* Gives back what has aged, or all that is idle, and how much that was; when to come again, NEVER: nothing is left.
 * For a thread whose descriptors are those of the program: the driver has some. */
uint64_t cuda_hooks_tick(uint64_t now_ms);
size_t cuda_hooks_trim(void);

/* Pool by pool, from *cursor on (0 at first); NULL at the end. Async-signal-safe. */
struct pool *cuda_hooks_next_pool(size_t *cursor);

/* The function of that name behind ours in the search order, by libc's own dlsym: that of an
 * interposer before us would look behind itself, and find ours. NULL: there is none. */
void *cuda_hooks_next(const char *name);

/* A process cannot use the CUDA of its parent: it begins anew. */
void cuda_hooks_after_fork_in_child(void);

/* Our part in what the program does with CUDA, so far, and how many figures that is: none without a call.
 * Async-signal-safe. */
enum {
    CUDA_FIGURES = 12
};
size_t cuda_hooks_figures(struct figure figures[CUDA_FIGURES]);

#endif

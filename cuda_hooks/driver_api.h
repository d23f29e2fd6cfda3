/*
 * driver_api.h - the driver functions that we export and that do more than call the driver's: each
 * is written by hand as own_<symbol>, with the parameters and results of cuda.h. driver_api.c counts
 * their calls.
 *
 * They are called by any thread, and touch errno no more than the driver does.
 */
#ifndef CUDA_HOOKS_DRIVER_API_H
#define CUDA_HOOKS_DRIVER_API_H

#include "cuda_hooks/cuda_abi.h"
#include "pool/util.h"

#define DRIVER_PASS(symbol, base, introduced, streams, kind, parameters, arguments)
#define DRIVER_OWN(symbol, base, introduced, streams, kind, parameters, arguments) \
    CUresult own_##symbol parameters;
#include "cuda_hooks/driver.def"

/* Gives back what our pools have idle on the current device, and pinned, for memory that is none of theirs.
 * False: there was nothing. */
bool memory_api_make_room(void);

#endif

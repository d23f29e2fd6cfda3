/*
 * fake_loader.h - takes the place of cuda_hooks/loader.c and of dlopen(3): a process in which the
 * test says what the loader has.
 *
 *     fake_loader_export(DRIVER_LIBRARY, "cuMemAlloc_v2", function);
 *     fake_loader_load_driver();
 */
#ifndef TESTS_CUDA_HOOKS_FAKE_LOADER_H
#define TESTS_CUDA_HOOKS_FAKE_LOADER_H

#include "cuda_hooks/loader.h"

/* Handles, beside RTLD_NEXT: what stands behind us in the search order. */
#define DRIVER_LIBRARY ((void *)0x100)
#define OTHER_LIBRARY ((void *)0x200)

/* From now on dlopen(3) knows libcuda.so.1. */
void fake_loader_load_driver(void);

/* From now on this library has that function; the last word counts. */
void fake_loader_export(void *library, const char *name, function_of_any_type *function);

/* From now on the next dlsym, of an interposer, answers so; libc's answers as ever. */
void fake_loader_interpose(void *library, const char *name, function_of_any_type *function);

/* The name that was looked up last. */
const char *fake_loader_last(void);

/* An address that nobody calls, another one for each n below FAKE_ADDRESSES. */
enum {
    FAKE_ADDRESSES = 16
};
function_of_any_type *fake_address(int n);

#endif

/*
 * loader.h - the dlsym(3) that ours stands in front of.
 *
 * libc's own is found by its version: a look-up with a version passes over the dlsym of every
 * interposer, ours included, because those carry none. So dlvsym is not one of our symbols; and need
 * not be, since the driver's functions carry no version by which it could find them.
 *
 * Nothing here locks, allocates or keeps more than an address; any thread, at any time, also from
 * inside dlopen and before the constructor has run.
 */
#ifndef CUDA_HOOKS_LOADER_H
#define CUDA_HOOKS_LOADER_H

#include <stdatomic.h>
#include <string.h>

/* What a function is carried in; to be cast before it is called. */
typedef void function_of_any_type(void);

/* POSIX has dlsym return functions as data pointers, and C has no cast for that. */
static inline function_of_any_type *loader_as_function(void *symbol) {
    function_of_any_type *function;
    memcpy(&function, &symbol, sizeof function);
    return function;
}

static inline void *loader_as_symbol(function_of_any_type *function) {
    void *symbol;
    memcpy(&symbol, &function, sizeof symbol);
    return symbol;
}

typedef void *dlsym_function(void *restrict handle, const char *restrict name);

/* The next one in the search order: libc's, or that of another interposer behind us. NULL until
 * loader_next has been called; for cuda_hooks/resolve_<architecture>.S. */
extern dlsym_function *_Atomic loader_next_dlsym;

/* The same, looked up by the first call. Never NULL. */
dlsym_function *loader_next(void);

/* What the next dlsym knows under that name; NULL, and dlerror(3) says why, otherwise. */
function_of_any_type *loader_find(void *handle, const char *name);

/* What libc's own knows, whoever stands between us and libc. */
function_of_any_type *loader_find_by_libc(void *handle, const char *name);

#endif

#include "cuda_hooks/loader.h"

#include <dlfcn.h>

#include "pool/util.h"

dlsym_function *_Atomic loader_next_dlsym;

/* Where there is no dlsym at all, nothing can be found. */
static void *find_nothing(void *restrict handle, const char *restrict name) {
    (void)handle;
    (void)name;
    return NULL;
}

static dlsym_function *or_nothing(void *symbol) {
    return symbol != NULL ? (dlsym_function *)loader_as_function(symbol) : find_nothing;
}

/* dlsym moved from libdl to libc in version 2.34, below which libc has none that we could meet. */
static dlsym_function *of_libc(void) {
    static dlsym_function *_Atomic known;
    dlsym_function *libc = atomic_load_explicit(&known, memory_order_relaxed);
    if (UNLIKELY(libc == NULL)) {
        libc = or_nothing(dlvsym(RTLD_NEXT, "dlsym", "GLIBC_2.34"));
        atomic_store_explicit(&known, libc, memory_order_relaxed);
    }
    return libc;
}

/* Threads that come here at once find and store the same. */
dlsym_function *loader_next(void) {
    dlsym_function *next = atomic_load_explicit(&loader_next_dlsym, memory_order_relaxed);
    if (UNLIKELY(next == NULL)) {
        next = or_nothing(of_libc()(RTLD_NEXT, "dlsym"));
        atomic_store_explicit(&loader_next_dlsym, next, memory_order_relaxed);
    }
    return next;
}

function_of_any_type *loader_find(void *handle, const char *name) {
    return loader_as_function(loader_next()(handle, name));
}

function_of_any_type *loader_find_by_libc(void *handle, const char *name) {
    return loader_as_function(of_libc()(handle, name));
}

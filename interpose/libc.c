#include "interpose/libc.h"

#include <string.h>

#include "cuda_hooks/cuda_hooks.h"
#include "pool/util.h"

/* POSIX has dlsym return functions as data pointers, and C has no cast for that. */
static void find(const char *name, void *function) {
    void *symbol = cuda_hooks_next(name);
    memcpy(function, &symbol, sizeof symbol);
}

const struct libc *libc_next(void) {
    static struct libc libc;
    if (UNLIKELY(libc.exit_now == NULL)) {
        find("free", &libc.free);
        find("realloc", &libc.realloc);
        find("malloc_usable_size", &libc.malloc_usable_size);
        find("sigaction", &libc.sigaction);
        find("signal", &libc.signal);
        find("prlimit", &libc.prlimit);
        find("madvise", &libc.madvise);
        find("mprotect", &libc.mprotect);
        find("mlock", &libc.mlock);
        find("mlock2", &libc.mlock2);
        find("pkey_mprotect", &libc.pkey_mprotect);
        find("unshare", &libc.unshare);
        find("setns", &libc.setns);
        find("_exit", &libc.exit_now);
    }
    return &libc;
}

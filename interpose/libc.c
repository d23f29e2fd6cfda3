#include "interpose/libc.h"

#include <dlfcn.h>
#include <string.h>

#include "pool/util.h"

/* POSIX has dlsym return functions as data pointers, and C has no cast for that. */
static void find(const char *name, void *function) {
    void *symbol = dlsym(RTLD_NEXT, name);
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
        find("_exit", &libc.exit_now);
    }
    return &libc;
}

/*
 * lib_listener.c - another interposer of CUDA, before or behind ours: it has a dlsym of its own, in
 * plain C, and hands out its cuMemAlloc_v2 and cuGetProcAddress_v2. What passes through it is told on
 * stderr, with the object that each answer lies in:
 *
 *     dlsym cuMemFree_v2 libbigmalloc.so
 *     get_proc cuMemAlloc 3020 0 libbigmalloc.so
 *     alloc calls libcuda.so.1
 *
 * LISTENER_PASSES_OVER: it asks libc's dlsym, not the next one.
 */
#include <dlfcn.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef void *find_function(void *, const char *);
typedef int alloc_function(uint64_t *, size_t);
typedef int get_proc_function(const char *, void **, int, uint64_t, void *);

int cuMemAlloc_v2(uint64_t *address, size_t bytes);
int cuGetProcAddress_v2(const char *name, void **function, int version, uint64_t flags,
                        void *status);

static alloc_function *next_alloc;
static get_proc_function *next_get_proc;

static const char *object_of(const void *symbol) {
    Dl_info info;
    if (dladdr(symbol, &info) == 0) {
        return "nowhere";
    }
    const char *slash = strrchr(info.dli_fname, '/');
    return slash != NULL ? slash + 1 : info.dli_fname;
}

/* libc's own has a version, interposers have none. */
static find_function *find_next(void) {
    static find_function *next;
    if (next == NULL) {
        void *symbol = dlvsym(RTLD_NEXT, "dlsym", "GLIBC_2.34");
        memcpy(&next, &symbol, sizeof next);
        if (getenv("LISTENER_PASSES_OVER") == NULL) {
            symbol = next(RTLD_NEXT, "dlsym");
            memcpy(&next, &symbol, sizeof next);
        }
    }
    return next;
}

static void *replace(const char *name, void *symbol) {
    if (strcmp(name, "cuMemAlloc_v2") == 0 && symbol != (void *)cuMemAlloc_v2) {
        memcpy(&next_alloc, &symbol, sizeof next_alloc);
        return (void *)cuMemAlloc_v2;
    }
    if (strcmp(name, "cuGetProcAddress_v2") == 0 && symbol != (void *)cuGetProcAddress_v2) {
        memcpy(&next_get_proc, &symbol, sizeof next_get_proc);
        return (void *)cuGetProcAddress_v2;
    }
    return symbol;
}

void *dlsym(void *restrict handle, const char *restrict name) {
    void *symbol = find_next()(handle, name);
    if (symbol == NULL || strncmp(name, "cu", 2) != 0) {
        return symbol;
    }
    dprintf(STDERR_FILENO, "dlsym %s %s\n", name, object_of(symbol));
    return replace(name, symbol);
}

int cuMemAlloc_v2(uint64_t *address, size_t bytes) {
    dprintf(STDERR_FILENO, "alloc calls %s\n", object_of((void *)next_alloc));
    return next_alloc(address, bytes);
}

/* The runtime goes on with what it finds here under the name of this very function. */
int cuGetProcAddress_v2(const char *name, void **function, int version, uint64_t flags,
                        void *status) {
    int result = next_get_proc(name, function, version, flags, status);
    if (result != 0 || *function == NULL) {
        return result;
    }
    dprintf(STDERR_FILENO, "get_proc %s %d %lu %s\n", name, version, (unsigned long)flags,
            object_of(*function));
    if (strcmp(name, "cuGetProcAddress") == 0 && version >= 12000) {
        *function = replace("cuGetProcAddress_v2", *function);
    }
    return result;
}

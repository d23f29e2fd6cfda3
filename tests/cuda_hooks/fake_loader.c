#include "tests/cuda_hooks/fake_loader.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "cuda_hooks/resolve.h"

enum {
    EXPORTS = 256
};

static struct export {
    void *library;
    const char *name;
    function_of_any_type *function;
}
exports[EXPORTS];
static size_t export_count;

static void *other_handle;
static const char *other_name = "";
static function_of_any_type *other_function;

static const char *last_name = "";
static bool driver_is_there;
static char addresses[FAKE_ADDRESSES];

dlsym_function *_Atomic loader_next_dlsym;

void fake_loader_load_driver(void) {
    driver_is_there = true;
}

void fake_loader_export(void *library, const char *name, function_of_any_type *function) {
    if (export_count == EXPORTS) {
        abort();
    }
    exports[export_count++] = (struct export){library, name, function};
}

void fake_loader_interpose(void *library, const char *name, function_of_any_type *function) {
    other_handle = library;
    other_name = name;
    other_function = function;
}

function_of_any_type *fake_address(int n) {
    return loader_as_function(&addresses[n]);
}

const char *fake_loader_last(void) {
    return last_name;
}

function_of_any_type *loader_find_by_libc(void *handle, const char *name) {
    last_name = name;
    for (size_t i = export_count; i-- > 0;) {
        if (exports[i].library == handle && strcmp(exports[i].name, name) == 0) {
            return exports[i].function;
        }
    }
    return NULL;
}

function_of_any_type *loader_find(void *handle, const char *name) {
    bool passes_on = handle != other_handle || strcmp(name, other_name) != 0;
    return passes_on ? loader_find_by_libc(handle, name) : other_function;
}

static void *find(void *restrict handle, const char *restrict name) {
    return loader_as_symbol(loader_find(handle, name));
}

dlsym_function *loader_next(void) {
    return find;
}

void *resolve_absent(void *restrict handle, const char *restrict name) {
    (void)handle;
    (void)name;
    return NULL;
}

/* Everything else in the process opens libraries as ever. */
void *__real_dlopen(const char *name, int flags);
void *__wrap_dlopen(const char *name, int flags);

void *__wrap_dlopen(const char *name, int flags) {
    if (name == NULL || strcmp(name, "libcuda.so.1") != 0) {
        return __real_dlopen(name, flags);
    }
    if ((flags & RTLD_NOLOAD) == 0) {
        (void)fputs("the driver must not be loaded by us\n", stderr);
        abort();
    }
    return driver_is_there ? DRIVER_LIBRARY : NULL;
}

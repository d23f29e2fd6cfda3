/*
 * subject_driver.c - programs that look for the CUDA driver's functions, and call them.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cuda_hooks/cuda_abi.h"
#include "tests/preload/subject.h"

/* Prints name=object, where the object is the library or program that the symbol lies in. */
static void tell_object(const char *name, const void *symbol) {
    Dl_info info = {.dli_fname = "-"};
    CHECK(symbol == NULL || dladdr(symbol, &info) != 0);
    const char *slash = strrchr(info.dli_fname, '/');
    printf("%s=%s\n", name, slash != NULL ? slash + 1 : info.dli_fname);
}

/* Prints name=text, where the text is that of dlerror(3). */
static void tell_error(const char *name, const void *symbol) {
    const char *text = dlerror();
    CHECK((symbol == NULL) == (text != NULL));
    printf("%s=%s\n", name, text != NULL ? text : "-");
}

static void *open_library(const char *name, int flags) {
    void *library = dlopen(name, flags);
    if (library == NULL) {
        dprintf(STDERR_FILENO, "%s\n", dlerror());
        exit(1);
    }
    return library;
}

#define FIND(function, library, name) \
    do { \
        void *symbol = dlsym(library, name); \
        CHECK(symbol != NULL); \
        memcpy(&(function), &symbol, sizeof(function)); \
    } while (false)

/* ---- looking up ---- */

void tell_errors_of_lookups(void) {
    void *libm = open_library("libm.so.6", RTLD_NOW);
    tell_error("default", dlsym(RTLD_DEFAULT, "no_such_function"));
    tell_error("next", dlsym(RTLD_NEXT, "no_such_function"));
    tell_error("handle", dlsym(libm, "no_such_function"));
    tell_error("found", dlsym(libm, "cos"));
    tell_error("like_a_driver's", dlsym(RTLD_DEFAULT, "cuNoSuchFunction"));
    tell_error("the_driver's_elsewhere", dlsym(libm, "cuMemAlloc_v2"));
    tell_error("version", dlvsym(libm, "cos", "NO_SUCH_VERSION"));
    tell_error("short", dlsym(RTLD_DEFAULT, "c"));
    tell_error("empty", dlsym(libm, ""));
}

/* Nothing, and it says so as ever, but for a version. */
void lookups_without_a_driver_find_nothing(void) {
    void *handles[] = {RTLD_DEFAULT, RTLD_NEXT, open_library(NULL, RTLD_NOW)};
    for (int i = 0; i < 3; i++) {
        CHECK(dlsym(handles[i], "cuMemAlloc_v2") == NULL);
        CHECK(strstr(dlerror(), "subject: undefined symbol: cuMemAlloc_v2") != NULL);
        CHECK(dlsym(handles[i], "cuInit") == NULL);
    }
}

/* lib_driver_user.c */
void tell_weak_references_without_a_driver(void) {
    void *user = open_library(subject_arguments[0], RTLD_NOW);
    void *(*bound_init)(void);
    int (*call_alloc)(void);
    FIND(bound_init, user, "bound_init");
    FIND(call_alloc, user, "call_alloc");
    tell_object("init", bound_init());
    printf("alloc=%d\n", call_alloc());
}

/* lib_tool.c */
void a_replaceable_function_does_not_find_itself(void) {
    int (*find_tool)(void);
    FIND(find_tool, open_library(subject_arguments[0], RTLD_NOW | RTLD_GLOBAL), "find_tool");
    CHECK(find_tool() == 1);
}

void tell_lookups_with_a_driver(void) {
    void *driver = open_library("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    void *whole = open_library(NULL, RTLD_NOW);
    tell_object("handle", dlsym(driver, "cuMemAlloc_v2"));
    CHECK(dlerror() == NULL);
    tell_object("again", dlsym(driver, "cuMemAlloc_v2"));
    tell_object("not_hooked", dlsym(driver, "cuInit"));
    CHECK(dlsym(driver, "cuMemAlloc_v3") == NULL);
    CHECK(dlvsym(driver, "cuMemAlloc_v2", "libcuda.so.1") == NULL);
    (void)open_library("libcuda.so.1", RTLD_NOW | RTLD_GLOBAL);
    tell_object("default", dlsym(RTLD_DEFAULT, "cuMemAlloc_v2"));
    tell_object("next", dlsym(RTLD_NEXT, "cuMemAlloc_v2"));
    tell_object("whole", dlsym(whole, "cuMemAlloc_v2"));
    tell_object("since_12", dlsym(RTLD_DEFAULT, "cuGetProcAddress_v2"));
    tell_object("since_12_in_whole", dlsym(whole, "cuGetProcAddress_v2"));
}

/* lib_driver_user.c, bound while the driver is loaded. */
void tell_what_the_loader_binds(void) {
    (void)open_library("libcuda.so.1", RTLD_NOW | RTLD_GLOBAL);
    void *user = open_library(subject_arguments[0], RTLD_NOW);
    void *(*bound_init)(void);
    void *(*bound_alloc)(void);
    FIND(bound_init, user, "bound_init");
    FIND(bound_alloc, user, "bound_alloc");
    tell_object("init", bound_init());
    tell_object("alloc", bound_alloc());
    int (*call_alloc)(void);
    FIND(call_alloc, user, "call_alloc");
    printf("result=%d\n", call_alloc());
}

/* ---- calling ---- */

static void make_context(void *library) {
    CUresult (*init)(unsigned);
    CUresult (*retain)(CUcontext *, CUdevice);
    CUresult (*set_current)(CUcontext);
    CUcontext context = NULL;
    FIND(init, library, "cuInit");
    FIND(retain, library, "cuDevicePrimaryCtxRetain");
    FIND(set_current, library, "cuCtxSetCurrent");
    CHECK(init(0) == CUDA_SUCCESS && retain(&context, 0) == CUDA_SUCCESS);
    CHECK(set_current(context) == CUDA_SUCCESS);
}

static void allocate_and_free(CUresult (*alloc)(CUdeviceptr *, size_t),
                              CUresult (*release)(CUdeviceptr)) {
    CUdeviceptr address = 0;
    CHECK(alloc(&address, 8 * MIB) == CUDA_SUCCESS && address != 0);
    CHECK(release(address) == CUDA_SUCCESS);
    CHECK(alloc(&address, 0) == CUDA_ERROR_INVALID_VALUE);
}

void allocate_by_name(void) {
    void *library = open_library("libcuda.so.1", RTLD_NOW);
    CUresult (*alloc)(CUdeviceptr *, size_t);
    CUresult (*release)(CUdeviceptr);
    make_context(library);
    FIND(alloc, library, "cuMemAlloc_v2");
    FIND(release, library, "cuMemFree_v2");
    allocate_and_free(alloc, release);
    tell_object("alloc", (void *)alloc);
    tell_object("free", (void *)release);
}

static void get_proc_4(void *library) {
    CUresult (*ask)(const char *, void **, int, uint64_t);
    void *alloc = NULL;
    FIND(ask, library, "cuGetProcAddress");
    tell_object("four", (void *)ask);
    CHECK(ask("cuGetProcAddress", (void **)&ask, 11030, 0) == CUDA_SUCCESS);
    tell_object("four_by_itself", (void *)ask);
    CHECK(ask("cuMemAlloc", &alloc, 3020, 0) == CUDA_SUCCESS);
    tell_object("alloc_by_four", alloc);
}

static void get_proc_5(void *library) {
    CUresult (*ask)(const char *, void **, int, uint64_t, CUdriverProcAddressQueryResult *);
    void *alloc = NULL;
    void *twin = NULL;
    FIND(ask, library, "cuGetProcAddress_v2");
    tell_object("five", (void *)ask);
    CHECK(ask("cuGetProcAddress", (void **)&ask, 12000, 0, NULL) == CUDA_SUCCESS);
    tell_object("five_by_itself", (void *)ask);
    CHECK(ask("cuMemAllocAsync", &alloc, 11020, 0, NULL) == CUDA_SUCCESS);
    CHECK(ask("cuMemAllocAsync", &twin, 11020, CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM,
              NULL) == CUDA_SUCCESS);
    CHECK(alloc != twin);
    tell_object("alloc_async", alloc);
    tell_object("twin", twin);
    CHECK(twin == dlsym(library, "cuMemAllocAsync_ptsz"));
}

void tell_both_forms_of_get_proc(void) {
    void *library = open_library("libcuda.so.1", RTLD_NOW);
    get_proc_4(library);
    if (dlsym(library, "cuGetProcAddress_v2") != NULL) {
        get_proc_5(library);
    }
}

void allocate_by_the_runtime(void) {
    void *library = open_library(subject_arguments[0], RTLD_NOW);
    int (*alloc)(void **, size_t);
    int (*release)(void *);
    void *address = NULL;
    FIND(alloc, library, "cudaMalloc");
    FIND(release, library, "cudaFree");
    CHECK(alloc(&address, 8 * MIB) == 0 && address != NULL);
    CHECK(release(address) == 0);
}

static void *look_up(void *library) {
    return dlsym(library, "cuMemAlloc_v2");
}

void eight_threads_find_the_driver_at_once(void) {
    void *library = open_library("libcuda.so.1", RTLD_NOW);
    pthread_t threads[8];
    void *found[8];
    for (int i = 0; i < 8; i++) {
        CHECK(pthread_create(&threads[i], NULL, look_up, library) == 0);
    }
    for (int i = 0; i < 8; i++) {
        CHECK(pthread_join(threads[i], &found[i]) == 0);
        CHECK(found[i] == found[0]);
    }
    tell_object("all", found[0]);
}

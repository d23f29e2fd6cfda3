/*
 * get_proc.c - cuGetProcAddress, by which runtimes from CUDA 11.3 on find all other functions, and
 * itself: the runtime of CUDA 13 goes on with the one that it was given.
 *
 * The driver is asked first, and only what it has found is replaced: nothing is there through us
 * that would not be there without us.
 */
#include "cuda_hooks/driver.h"
#include "cuda_hooks/driver_api.h"
#include "cuda_hooks/resolve.h"
#include "pool/live.h"

static function_of_any_type *hook_for(const struct driver_query *query,
                                      function_of_any_type *answer) {
    const struct driver_hook *hook = driver_hook_for(query, answer);
    if (hook == NULL) {
        live_tally(DRIVER_UNHOOKED, 1);
        return answer;
    }
    driver_adopt(hook, answer);
    return hook->ours;
}

/* In the place of what the driver has stored in *function. */
static void replace(const char *name, void **function, int version, uint64_t flags) {
    if (!resolve_is_on() || !driver_knows(name)) {
        return;
    }
    bool per_thread = (flags & CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM) != 0;
    struct driver_query query = {
        .name = name,
        .version = version,
        .streams = per_thread ? DRIVER_PER_THREAD : DRIVER_LEGACY,
    };
    *function = loader_as_symbol(hook_for(&query, loader_as_function(*function)));
}

static bool has_found(CUresult result, void *const *function) {
    return result == CUDA_SUCCESS && function != NULL && *function != NULL;
}

CUresult own_cuGetProcAddress(const char *name, void **function, int version, uint64_t flags) {
    CUresult (*next)(const char *, void **, int, uint64_t) = driver()->cuGetProcAddress;
    CUresult result = next != NULL ? next(name, function, version, flags) : driver_lacks();
    if (has_found(result, function)) {
        replace(name, function, version, flags);
    }
    return result;
}

CUresult own_cuGetProcAddress_v2(const char *name, void **function, int version, uint64_t flags,
                                 CUdriverProcAddressQueryResult *status) {
    CUresult (*next)(const char *, void **, int, uint64_t, CUdriverProcAddressQueryResult *) =
        driver()->cuGetProcAddress_v2;
    CUresult result = next != NULL ? next(name, function, version, flags, status) : driver_lacks();
    if (has_found(result, function)) {
        replace(name, function, version, flags);
    }
    return result;
}

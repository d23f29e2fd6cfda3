#include "cuda_hooks/driver_api.h"

#include "cuda_hooks/driver.h"

/* What needs no more than to reach the driver, and once more where our idle blocks were in its way. NOLINTBEGIN(bugprone-macro-parentheses) */
#define DRIVER_OWN(symbol, base, introduced, streams, kind, parameters, arguments)
#define DRIVER_PASS(symbol, base, introduced, streams, kind, parameters, arguments) \
    static CUresult own_##symbol parameters { \
        CUresult(*next) parameters = driver()->symbol; \
        CUresult result = next != NULL ? next arguments : driver_lacks(); \
        bool again = result == CUDA_ERROR_OUT_OF_MEMORY && memory_api_make_room(); \
        return again ? next arguments : result; \
    }
#include "cuda_hooks/driver.def"
/* NOLINTEND(bugprone-macro-parentheses) */

/*
 * What is exported: a function, and its name. Our table has the functions: the names may mean those
 * of another interposer, which comes before us in the search order.
 */
#define DRIVER_PASS(symbol, base, introduced, streams, kind, parameters, arguments) \
    static CUresult hook_##symbol parameters { \
        driver_count(DRIVER_PLACE(symbol)); \
        return own_##symbol arguments; \
    } \
    __attribute__((visibility("default"), alias("hook_" #symbol))) CUresult symbol parameters;
#include "cuda_hooks/driver.def"

const struct driver_hook driver_hooks[] = {
#define DRIVER_PASS(symbol, base, introduced, streams, kind, parameters, arguments) \
    {#symbol,          #base,         introduced, \
     DRIVER_##streams, DRIVER_##kind, (function_of_any_type *)hook_##symbol},
#include "cuda_hooks/driver.def"
};

const size_t driver_hook_count = sizeof driver_hooks / sizeof *driver_hooks;

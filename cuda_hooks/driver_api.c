#include "cuda_hooks/driver_api.h"

#include "cuda_hooks/driver.h"

/* What needs no more than to reach the driver, and once more where our idle blocks were in its way. */
#define WITHOUT_PARENTHESES(...) __VA_ARGS__
#define DRIVER_OWN(symbol, base, introduced, streams, kind, parameters, arguments)
#define DRIVER_PASS(symbol, base, introduced, streams, kind, parameters, arguments) \
    static CUresult own_##symbol parameters { \
        return DRIVER_ANSWER_OR_ROOM(memory_api_make_room(), symbol, \
                                     WITHOUT_PARENTHESES arguments); \
    }
#include "cuda_hooks/driver.def"

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

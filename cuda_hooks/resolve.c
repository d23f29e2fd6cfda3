#include "cuda_hooks/resolve.h"

#include <dlfcn.h>
#include <stdatomic.h>

#include "cuda_hooks/driver.h"
#include "cuda_hooks/loader.h"

static atomic_bool is_off;

void resolve_turn(bool on) {
    atomic_store_explicit(&is_off, !on, memory_order_relaxed);
}

bool resolve_is_on(void) {
    return !atomic_load_explicit(&is_off, memory_order_relaxed);
}

static struct resolution go_on(dlsym_function *target) {
    return (struct resolution){.target = loader_as_symbol((function_of_any_type *)target)};
}

static struct resolution answer(function_of_any_type *function) {
    return (struct resolution){.symbol = loader_as_symbol(function)};
}

/*
 * Libraries of other kinds may have functions of the same names, and a driver that consists of two
 * libraries looks up the second one's; replacing those would lead in circles.
 */
static struct resolution in_library(void *handle, const struct driver_hook *hook) {
    bool is_there = driver_has(hook);
    function_of_any_type *found = loader_find(handle, hook->symbol);
    if (found == NULL) {
        return go_on(loader_next());
    }
    if (found == hook->ours && !is_there) {
        return go_on(resolve_absent);
    }
    return driver_is_real(hook, found) ? answer(hook->ours) : go_on(loader_next());
}

/*
 * The last look-up is always the program's own, so that dlerror(3) tells of that: we look for the
 * driver first, and where we do not replace what was found, it is looked up again.
 */
struct resolution resolve_name(void *handle, const char *name) {
    const struct driver_hook *hook = resolve_is_on() ? driver_hook_named(name) : NULL;
    if (hook == NULL) {
        return go_on(loader_next());
    }
    if (handle == RTLD_DEFAULT || handle == RTLD_NEXT) {
        return go_on(driver_has(hook) ? loader_next() : resolve_absent);
    }
    return in_library(handle, hook);
}

#include "cuda_hooks/driver.h"

#include <dlfcn.h>
#include <string.h>

#include "pool/live.h"

/* Not pointers, which the loader would have to set in every process. */
static const char symbols[][36] = {
#define DRIVER_CALL(symbol, parameters) #symbol,
#define DRIVER_PASS(symbol, base, introduced, streams, kind, parameters, arguments) #symbol,
#include "cuda_hooks/driver.def"
};

enum {
    FUNCTIONS = sizeof symbols / sizeof *symbols
};

static_assert(sizeof(struct driver_functions) == FUNCTIONS * sizeof(function_of_any_type *),
              "nothing but functions, so that they can be gone through");

/* To be called by name, and to be gone through by place. */
static union {
    struct driver_functions by_name;
    function_of_any_type *_Atomic by_place[FUNCTIONS];
} real;

/* dlopen's handle of libcuda.so.1. Whoever sees it sees the functions too. */
static void *_Atomic library;

/* ---- finding the driver ---- */

/*
 * An interposer behind us answers the next dlsym in the driver's place, or exports a function of the
 * same name; it is known by being neither the driver's nor ours. Ours is what it may take for its
 * own, since ours comes first in the search order: calling that would have no end.
 */
static function_of_any_type *find_function(void *handle, size_t place) {
    const char *symbol = symbols[place];
    function_of_any_type *own = loader_find_by_libc(handle, symbol);
    if (place >= driver_hook_count) {
        return own;
    }
    function_of_any_type *const others[] = {loader_find(handle, symbol),
                                            loader_find_by_libc(RTLD_NEXT, symbol)};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        if (others[i] != NULL && others[i] != own && others[i] != driver_hooks[place].ours) {
            return others[i];
        }
    }
    return own;
}

static bool find_driver(void) {
    void *handle = dlopen("libcuda.so.1", RTLD_NOW | RTLD_NOLOAD);
    if (handle == NULL) {
        return false;
    }
    for (size_t i = 0; i < FUNCTIONS; i++) {
        atomic_store_explicit(&real.by_place[i], find_function(handle, i), memory_order_relaxed);
    }
    atomic_store_explicit(&library, handle, memory_order_release);
    return true;
}

bool driver_is_loaded(void) {
    return LIKELY(atomic_load_explicit(&library, memory_order_acquire) != NULL) || find_driver();
}

const struct driver_functions *driver(void) {
    (void)driver_is_loaded();
    return &real.by_name;
}

CUresult driver_lacks(void) {
    return driver_is_loaded() ? CUDA_ERROR_NOT_SUPPORTED : CUDA_ERROR_STUB_LIBRARY;
}

/* ---- which function is which ---- */

const struct driver_hook *driver_hook_named(const char *symbol) {
    size_t from = 0;
    size_t to = driver_hook_count;
    while (from < to) {
        size_t middle = (from + to) / 2;
        int order = strcmp(symbol, driver_hooks[middle].symbol);
        if (order == 0) {
            return &driver_hooks[middle];
        }
        *(order < 0 ? &to : &from) = order < 0 ? middle : middle + 1;
    }
    return NULL;
}

static function_of_any_type *real_behind(const struct driver_hook *hook) {
    return atomic_load_explicit(&real.by_place[hook - driver_hooks], memory_order_relaxed);
}

bool driver_has(const struct driver_hook *hook) {
    return driver_is_loaded() && real_behind(hook) != NULL;
}

bool driver_is_real(const struct driver_hook *hook, function_of_any_type *function) {
    return driver_is_loaded() && (real_behind(hook) == function ||
                                  loader_find_by_libc(library, hook->symbol) == function);
}

/* ---- variants ---- */

static const struct driver_hook *hooks_end(void) {
    return driver_hooks + driver_hook_count;
}

static bool is_of(const struct driver_hook *hook, const char *base) {
    return strcmp(hook->base, base) == 0;
}

bool driver_knows(const char *base) {
    const struct driver_hook *hook = driver_hooks;
    while (hook < hooks_end() && !is_of(hook, base)) {
        hook++;
    }
    return hook < hooks_end();
}

/* A function that knows no streams has no twin, and is what both kinds of query get. */
static bool is_better(const struct driver_hook *a, const struct driver_hook *b,
                      enum driver_streams wanted) {
    if (b == NULL || a->introduced != b->introduced) {
        return b == NULL || a->introduced > b->introduced;
    }
    return a->streams == wanted;
}

static bool is_eligible(const struct driver_hook *hook, const struct driver_query *query) {
    return is_of(hook, query->name) && hook->introduced <= query->version &&
           (hook->streams == DRIVER_LEGACY || query->streams == DRIVER_PER_THREAD);
}

const struct driver_hook *driver_variant(const struct driver_query *query) {
    const struct driver_hook *best = NULL;
    for (const struct driver_hook *hook = driver_hooks; hook < hooks_end(); hook++) {
        if (is_eligible(hook, query) && is_better(hook, best, query->streams)) {
            best = hook;
        }
    }
    return best;
}

static const struct driver_hook *variant_at(const char *base, function_of_any_type *answer) {
    for (const struct driver_hook *hook = driver_hooks; hook < hooks_end(); hook++) {
        if (is_of(hook, base) && real_behind(hook) == answer) {
            return hook;
        }
    }
    return NULL;
}

/* Variants may share an address; then the table decides. Two names may share one too, where a
 * driver says of both that it lacks them: only those of the name asked for are looked at. */
const struct driver_hook *driver_hook_for(const struct driver_query *query,
                                          function_of_any_type *answer) {
    const struct driver_hook *expected = driver_variant(query);
    if (expected != NULL && real_behind(expected) == answer) {
        return expected;
    }
    const struct driver_hook *same = variant_at(query->name, answer);
    bool table_is_complete = query->version <= DRIVER_KNOWN_VERSION;
    return same == NULL && table_is_complete ? expected : same;
}

/* An answer that is ours already came through another interposer; calling it would have no end. */
void driver_adopt(const struct driver_hook *hook, function_of_any_type *answer) {
    function_of_any_type *none = NULL;
    if (answer != hook->ours) {
        (void)atomic_compare_exchange_strong(&real.by_place[hook - driver_hooks], &none, answer);
    }
}

/* ---- who is in it ---- */

static _Thread_local unsigned entered;

void driver_enter(void) {
    entered++;
}

void driver_leave(void) {
    entered--;
}

bool driver_is_entered(void) {
    return entered != 0;
}

/* ---- figures ---- */

void driver_count(size_t place) {
    live_tally(driver_hooks[place].kind, 1);
}

#include "cuda_hooks/cuda_hooks.h"

#include <dlfcn.h>

#include "cuda_hooks/capture.h"
#include "cuda_hooks/cuda_pools.h"
#include "cuda_hooks/driver.h"
#include "cuda_hooks/driver_api.h"
#include "cuda_hooks/loader.h"
#include "cuda_hooks/resolve.h"
#include "cuda_hooks/visits.h"
#include "pool/live.h"

/* What is counted of the process. */
static const struct live_tally tallies[DRIVER_TALLIES] = {
    [DRIVER_DEVICE] = {"cuda_device_calls", "calls that allocate and free device memory"},
    [DRIVER_PINNED] = {"cuda_pinned_calls", "calls that allocate and free pinned host memory"},
    [DRIVER_BESIDE] = {"cuda_beside_calls", "calls for memory that no pool holds"},
    [DRIVER_QUERY] = {"cuda_query_calls", "calls that tell of memory"},
    [DRIVER_SHARING] = {"cuda_sharing_calls", "calls that show memory to others"},
    [DRIVER_CONTEXT] = {"cuda_context_calls", "calls that begin and end contexts"},
    [DRIVER_RUN] = {"cuda_run_calls", "calls that load, prepare and run code"},
    [DRIVER_CAPTURE] = {"cuda_capture_calls", "calls that begin and end captures of streams"},
    [DRIVER_LOOKUP] = {"cuda_lookups", "functions asked for by cuGetProcAddress"},
    [DRIVER_UNHOOKED] = {"cuda_unhooked", "functions of unknown versions, left to the driver"},
    [DRIVER_SMALL_REQUESTS] = {"cuda_small_requests",
                               "requests below the thresholds, left to the driver"},
    [DRIVER_SMALL_BYTES] = {"cuda_small_bytes", "bytes asked for by those"},
};

void cuda_hooks_start(const struct options *options, const struct cuda_owner *owner) {
    live_name_tallies(tallies, DRIVER_TALLIES);
    bool on = options->enabled && (options->device || options->pinned);
    if (on) {
        cuda_pool_configure(options, owner);
    }
    resolve_turn(on);
}

size_t cuda_hooks_idle_bytes(void) {
    return UNLIKELY(context_places() != 0) ? cuda_pools_idle_bytes(CUDA_ANYWHERE) : 0;
}

/* ---- from time to time ---- */

void cuda_hooks_expect(struct profile *profile, size_t host_bytes) {
    cuda_pool_expect(profile, host_bytes);
}

bool cuda_hooks_expects(void) {
    return cuda_pool_any_is_expected();
}

bool cuda_hooks_make_ahead(uint64_t now_ms) {
    CUstreamCaptureMode mode;
    if (!cuda_hooks_expects() || context_places() == 0 || !visits_begin(&mode)) {
        return false;
    }
    bool made = cuda_pools_make_ahead(now_ms);
    visits_end(mode);
    return made;
}

uint64_t cuda_hooks_tick(uint64_t now_ms) {
    CUstreamCaptureMode mode;
    if (cuda_hooks_idle_bytes() == 0 || !visits_begin(&mode)) {
        return NEVER;
    }
    uint64_t due = cuda_pools_age(now_ms);
    visits_end(mode);
    return due;
}

size_t cuda_hooks_trim(void) {
    CUstreamCaptureMode mode;
    if (cuda_hooks_idle_bytes() == 0 || !visits_begin(&mode)) {
        return 0;
    }
    size_t sum = cuda_pools_trim();
    visits_end(mode);
    return sum;
}

struct pool *cuda_hooks_next_pool(size_t *cursor) {
    return cuda_pools_next(cursor);
}

void *cuda_hooks_next(const char *name) {
    return loader_as_symbol(loader_find_by_libc(RTLD_NEXT, name));
}

void cuda_hooks_after_fork_in_child(void) {
    cuda_pool_expect(NULL, 0);
    cuda_pools_reset_in_child();
    capture_reset_in_child();
}

size_t cuda_hooks_figures(struct figure figures[CUDA_FIGURES]) {
    static_assert((int)CUDA_FIGURES == (int)DRIVER_TALLIES, "all of them");
    uint64_t calls = 0;
    for (unsigned i = 0; i < DRIVER_TALLIES; i++) {
        figures[i] = (struct figure){.name = tallies[i].name,
                                     .doc = tallies[i].doc,
                                     .value = live_tally_sum(i),
                                     .is_bytes = i == DRIVER_SMALL_BYTES};
        calls += i < DRIVER_KINDS ? figures[i].value : 0;
    }
    return calls != 0 ? CUDA_FIGURES : 0;
}

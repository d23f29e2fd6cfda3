#include "interpose/life.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <unistd.h>

#include "cuda_hooks/cuda_hooks.h"
#include "interpose/dump.h"
#include "interpose/helper.h"
#include "interpose/libc.h"
#include "interpose/live_file.h"
#include "interpose/nodes.h"

#include "interpose/shield.h"
#include "interpose/signal.h"
#include "interpose/small.h"
#include "interpose/trace.h"
#include "interpose/upkeep.h"
#include "interpose/warm.h"
#include "pool/nearby.h"
#include "pool/process.h"
#include "pool/system.h"
#include "pool/writer.h"

enum life {
    UNSTARTED,
    LOADING,
    READY,
    FORKED,
    EXITING
};

_Atomic size_t life_threshold = SIZE_MAX;
struct host life_host;
struct options life_options;

static _Atomic enum life life = UNSTARTED;
static _Atomic pid_t owner;
static bool forked;

static const size_t ARENA_MAX = 16 * TIB;

/* What was wrong with the options, said only by a process that makes a large request: every
 * process of a session inherits them, and most have no use for them. */
static char complaints_room[WRITER_LINE];
static struct writer complaints = {
    .fd = -1, .text = complaints_room, .size = sizeof complaints_room};

bool life_has_begun(void) {
    return atomic_load_explicit(&life, memory_order_relaxed) != UNSTARTED;
}

bool life_is_owner(void) {
    return getpid() == atomic_load_explicit(&owner, memory_order_relaxed);
}

bool life_is_forked(void) {
    return forked;
}

/* ---- opening ---- */

static void say_complaints(void) {
    complaints.fd = STDERR_FILENO;
    writer_flush(&complaints);
}

/* What is large outside of EXITING. */
static size_t threshold_when_open(void) {
    return life_options.enabled ? life_options.threshold : SIZE_MAX;
}

/* malloc is no cancellation point, as to read a file is. pthreads(7). */
static size_t resident(void) {
    int state = 0;
    (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
    size_t bytes = process_resident();
    (void)pthread_setcancelstate(state, NULL);
    return bytes;
}

static bool open_pools(void) {
    size_t memory = system_memory_limit();
    size_t share = system_address_share(system_address_limit());
    bool keeps = life_options.decay_ms != 0;
    struct retention retention = {.cache_max =
                                      keeps ? share_bytes(life_options.cache_max, memory) : 0,
                                  .memory_limit = memory,
                                  .reserve = life_options.prefault,
                                  .decay_ms = life_options.decay_ms};
    static struct placement placement;
    const struct topology_companion *companion = nodes_plan(&placement, &life_options.numa);
    struct host_config config = {.addresses = size_min(ARENA_MAX, share),
                                 .retention = retention,
                                 .placement = &placement,
                                 .companion = companion,

                                 .mappings_limit = system_mappings_limit(),
                                 .thp = life_options.thp,
                                 .recycle = life_options.recycle,
                                 .is_strict = system_is_strict(),
                                 .give_way = small_purge,
                                 .resident = resident};
    return sysconf(_SC_PAGESIZE) == PAGE && host_start(&life_host, &config);
}

/* Large requests of LOADING, for which there was no pool to count them. */
static _Atomic size_t uncounted;

/* Whoever adds to them after the pools are open finds that they are, and does this himself. */
static void count_uncounted(void) {
    if (atomic_load(&life) == READY) {
        struct pool *p = &life_host.pools[0];
        pool_add(p, &p->own.stats.passed, atomic_exchange(&uncounted, 0));
    }
}

void life_count_passed(void) {
    (void)atomic_fetch_add(&uncounted, 1);
    count_uncounted();
}

static bool load_shielded(void) {
    say_complaints();
    if (!open_pools()) {
        atomic_store(&life_threshold, SIZE_MAX);
        write_text(&complaints, "bigmalloc: no addresses to be had, or pages not of 4 KiB: "
                                "no pools, only jemalloc\n");
        say_complaints();
        atomic_store(&life, EXITING);
        return false;
    }
    if (life_options.stats != STATS_OFF) {
        signal_watch(life_options.stats_signal);
    }
    live_file_open(life_next_pool);
    trace_open();
    bool is_expected = warm_start();
    atomic_store(&life, READY);
    count_uncounted();
    if (life_options.prefault != 0 || is_expected) {
        helper_make_ahead();
    }
    return true;
}

static bool load(void) {
    struct shield shield;
    shield_raise(&shield);
    bool opened = load_shielded();
    shield_lower(&shield);
    return opened;
}

/* A child has figures of its own from the first on, and shows them from its first large request on. */
static bool resume(void) {
    enum life expected = FORKED;
    if (atomic_compare_exchange_strong(&life, &expected, READY)) {
        live_file_open(life_next_pool);
    }
    return expected == FORKED || expected == READY;
}

ASIDE static bool become_ready(enum life now) {
    enum life expected = UNSTARTED;
    return now == FORKED ? resume()
                         : atomic_compare_exchange_strong(&life, &expected, LOADING) && load();
}

bool life_ready(void) {
    enum life now = atomic_load_explicit(&life, memory_order_acquire);
    return LIKELY(now == READY) || become_ready(now);
}

struct pool *life_next_pool(size_t *cursor) {
    size_t nodes = life_host.pool_count;
    if (*cursor < nodes) {
        return &life_host.pools[(*cursor)++];
    }
    size_t beyond = *cursor - nodes;
    struct pool *p = cuda_hooks_next_pool(&beyond);
    *cursor = nodes + beyond;
    return p;
}

/* ---- fork: locks in the order of their ranks, jemalloc's first ---- */

/* The state when the locks were taken. In the parent it says what to release. */
static enum life life_at_fork;

static void before_fork(void) {
    helper_pause();
    small_before_fork();
    life_at_fork = atomic_load(&life);
    if (life_at_fork >= READY) {
        host_before_fork(&life_host);
    }
    trace_before_fork();
}

static void after_fork_in_parent(void) {
    trace_after_fork_in_parent();
    if (life_at_fork >= READY) {
        host_after_fork_in_parent(&life_host);
    }
    small_after_fork_in_parent();
    helper_resume();
}

/*
 * Here the state of now counts: libc may wait for long between our handler and the fork itself, and
 * another thread may have opened the pools meanwhile. Where it was just doing so, it is not there any
 * more to finish.
 */
static void after_fork_in_child(void) {
    enum life now = atomic_load(&life);
    trace_after_fork_in_child();
    if (now >= READY) {
        host_after_fork_in_child(&life_host);
    }
    if (now == LOADING) {
        atomic_store(&life, EXITING);
    }
    if (now == READY) {
        atomic_store(&life, FORKED);
    }
    bool open = now == UNSTARTED || now == READY || now == FORKED;
    atomic_store(&life_threshold, open ? threshold_when_open() : SIZE_MAX);
    small_after_fork_in_child();
    cuda_hooks_after_fork_in_child();
    live_file_after_fork_in_child();
    helper_after_fork_in_child();
    forked = true;
    atomic_store(&uncounted, 0);
    atomic_store(&owner, getpid());
}

/* ---- start and end ---- */

/* When jemalloc cannot map, what we keep idle may be what it lacks, as the other way round. It may
 * hold its own locks here, which rank before ours. */
static bool give_way(void) {
    enum life now = atomic_load(&life);
    return (now == READY || now == FORKED) && host_step_aside(&life_host);
}

/* A function of its own, so that the other caller has helper_call to itself, and inline. */
static void after_device_free(uint64_t now_ms) {
    trace_tick(now_ms);
    helper_call(now_ms);
}

/* Memory of a device makes a process as large as that of the host: it says what it did, on the signal too. */
static uint64_t begin_on_device(void) {
    bool ready = life_ready();
    (void)ready; /* it makes no difference to a device */
    return trace_start_ns();
}

static void after_device_open(struct pool *p) {
    live_file_add(p);
    if (cuda_hooks_expects()) {
        helper_make_ahead();
    }
}

static void register_host(const void *address, size_t bytes) {
    host_register(&life_host, address, bytes);
}

static void unregister_host(const void *address, size_t bytes) {
    host_unregister(&life_host, address, bytes);
}

/* Pools that are being opened know of no nodes yet. */
static bool before_pinning(struct nearby *n, int *was) {
    return atomic_load(&life) >= READY &&
           nearby_begin(n, &life_host.placement, life_host.companion, was);
}

static void after_pinning(int was) {
    nearby_end(life_host.companion, was);
}

static const struct cuda_owner owner_of_cuda = {.begin = begin_on_device,
                                                .after_acquire = trace_acquired_on_device,
                                                .after_release = trace_released,
                                                .after_open = after_device_open,
                                                .after_free = after_device_free,
                                                .before_pinning = before_pinning,
                                                .after_pinning = after_pinning,
                                                .register_host = register_host,
                                                .unregister_host = unregister_host};

/*
 * The library is linked -z initfirst, so that its fork handlers are the first to be registered:
 * then they run last before a fork and first after it, and handlers of other libraries may allocate.
 * But it also runs before libc has set environ, which getenv, and with it MALLOC_CONF, needs.
 */
__attribute__((constructor(101))) static void start(int argc, char **argv, char **environment) {
    (void)argc;
    (void)argv;
    if (environ == NULL) {
        environ = environment;
    }
    (void)libc_next();
    small_start(give_way);
    /* A program that runs with more rights than its caller takes no advice from him. */
    bool trusted = getauxval(AT_SECURE) == 0;
    options_load(&life_options, trusted ? environ : NULL, &complaints);
    identity_load(trusted ? environ : NULL);
    upkeep_load(trusted ? environ : NULL);
    if (trusted && life_options.live) {
        live_file_load(environ, &life_options);
    }
    cuda_hooks_start(&life_options, &owner_of_cuda);
    (void)pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
    (void)at_quick_exit(life_end);
    atomic_store(&owner, getpid());
    atomic_store(&life_threshold, threshold_when_open());
}

void life_end(void) {
    dump_at_exit();
    trace_at_exit();
    /* A child of vfork has its parent's memory, not its end. */
    if (life_is_owner()) {
        live_file_close();
    }
}

/* From here on everything new is small. Blocks that live may still be freed and moved. */
__attribute__((destructor)) static void stop(void) {
    atomic_store(&life_threshold, SIZE_MAX);
    life_end();
    atomic_store(&life, EXITING);
}

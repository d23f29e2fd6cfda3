#include "interpose/life.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <unistd.h>

#include "interpose/dump.h"
#include "interpose/helper.h"
#include "interpose/libc.h"
#include "interpose/shield.h"
#include "interpose/signal.h"
#include "interpose/small.h"
#include "interpose/upkeep.h"
#include "pool/system.h"
#include "pool/writer.h"

enum life {
    UNSTARTED,
    LOADING,
    READY,
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

/* What is large outside of LOADING and EXITING. */
static size_t threshold_when_open(void) {
    return life_options.enabled ? life_options.threshold : SIZE_MAX;
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
    struct host_config config = {.addresses = size_min(ARENA_MAX, share),
                                 .retention = retention,
                                 .mappings_limit = system_mappings_limit(),
                                 .thp = life_options.thp,
                                 .recycle = life_options.recycle,
                                 .give_way = small_purge};
    return sysconf(_SC_PAGESIZE) == PAGE && host_start(&life_host, &config);
}

static bool load_shielded(void) {
    atomic_store(&life_threshold, SIZE_MAX);
    say_complaints();
    if (!open_pools()) {
        write_text(&complaints, "bigmalloc: no addresses to be had, or pages not of 4 KiB: "
                                "no pools, only jemalloc\n");
        say_complaints();
        atomic_store(&life, EXITING);
        return false;
    }
    if (life_options.stats != STATS_OFF) {
        signal_watch(life_options.stats_signal);
    }
    atomic_store(&life, READY);
    if (life_options.prefault != 0) {
        helper_prefault();
    }
    atomic_store(&life_threshold, threshold_when_open());
    return true;
}

static bool load(void) {
    struct shield shield;
    shield_raise(&shield);
    bool opened = load_shielded();
    shield_lower(&shield);
    return opened;
}

bool life_ready(void) {
    enum life now = atomic_load_explicit(&life, memory_order_acquire);
    if (LIKELY(now == READY)) {
        return true;
    }
    enum life expected = UNSTARTED;
    return atomic_compare_exchange_strong(&life, &expected, LOADING) && load();
}

/* ---- fork: locks in the order of their ranks, jemalloc's first ---- */

/* The state when the locks were taken. In the parent it says what to release. */
static enum life life_at_fork;

static void before_fork(void) {
    helper_before_fork();
    small_before_fork();
    life_at_fork = atomic_load(&life);
    if (life_at_fork >= READY) {
        host_before_fork(&life_host);
    }
}

static void after_fork_in_parent(void) {
    if (life_at_fork >= READY) {
        host_after_fork_in_parent(&life_host);
    }
    small_after_fork_in_parent();
    helper_after_fork_in_parent();
}

/*
 * Here the state of now counts: libc may wait for long between our handler and the fork itself, and
 * another thread may have opened the pools meanwhile. Where it was just doing so, it is not there any
 * more to finish.
 */
static void after_fork_in_child(void) {
    enum life now = atomic_load(&life);
    if (now >= READY) {
        host_after_fork_in_child(&life_host);
    }
    if (now == LOADING) {
        atomic_store(&life, EXITING);
    }
    bool open = now == UNSTARTED || now == READY;
    atomic_store(&life_threshold, open ? threshold_when_open() : SIZE_MAX);
    small_after_fork_in_child();
    helper_after_fork_in_child();
    forked = true;
    atomic_store(&owner, getpid());
}

/* ---- start and end ---- */

/* When jemalloc cannot map, what we keep idle may be what it lacks, as the other way round. It may
 * hold its own locks here, which rank before ours. */
static bool give_way(void) {
    return atomic_load(&life) == READY && host_drain(&life_host, HOST_REFUSED) > 0;
}

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
    upkeep_load(trusted ? environ : NULL);
    (void)pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
    (void)at_quick_exit(dump_at_exit);
    atomic_store(&owner, getpid());
    atomic_store(&life_threshold, threshold_when_open());
}

/* From here on everything new is small. Blocks that live may still be freed and moved. */
__attribute__((destructor)) static void stop(void) {
    atomic_store(&life_threshold, SIZE_MAX);
    dump_at_exit();
    atomic_store(&life, EXITING);
}

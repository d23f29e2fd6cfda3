#include "interpose/helper.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "interpose/life.h"
#include "interpose/shield.h"
#include "interpose/upkeep.h"

/* Less than this is not worth a thread: what a program frees next, or its end, gives it back. */
static const size_t WORTH_A_THREAD = 16 * MIB;

/* Static thread-local storage lies on the stack too: where this is too small for it, libc's default. */
static const size_t STACK_BYTES = 128 * KIB;

/* How often a large free looks after what is due, and how long a refused thread is not asked for again. */
static const uint64_t TICK_MS = 1000;

/* Looks at a thread that is about to be gone, before we go on all the same. */
enum {
    PATIENCE = 10000
};

static struct lock lock; /* of starting and stopping; held during a fork */
static pthread_t thread;
static _Atomic pid_t thread_id;
static bool must_join;
static atomic_bool running;
static _Atomic uint32_t stopping; /* a futex */
static atomic_bool prefaults;     /* there is something to be made resident */

/* ---- the thread ---- */

static void wait_until(uint64_t ms) {
    struct timespec end = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};
    (void)syscall(SYS_futex, &stopping, FUTEX_WAIT_BITSET_PRIVATE, 0, &end, NULL,
                  FUTEX_BITSET_MATCH_ANY);
}

/* Nothing was left, but a block may have come in since, whose owner saw the thread running: either he
 * sees that it does not, or it sees his block here. */
static bool may_end(void) {
    atomic_store(&running, false);
    bool expected = false;
    return host_idle_bytes(&life_host) < WORTH_A_THREAD ||
           !atomic_compare_exchange_strong(&running, &expected, true);
}

/* Once in the life of a process: what it has given back since, it had reasons for. */
static void prefault(const _Atomic uint32_t *stop) {
    while (atomic_load(stop) == 0 && atomic_load(&prefaults)) {
        if (!host_prefault(&life_host, clock_coarse_ms())) {
            atomic_store(&prefaults, false);
        }
    }
}

/* With a table of descriptors of its own: the files that it opens take no number that the program, and
 * close none that it counts on. close_range(2), Linux 5.9. */
static void *help(void *unused) {
    (void)unused;
    atomic_store(&thread_id, gettid());
    (void)prctl(PR_SET_NAME, "bigmalloc");
    (void)close_range(0, ~0U, CLOSE_RANGE_UNSHARE);
    prefault(&stopping);
    while (atomic_load(&stopping) == 0) {
        uint64_t next = upkeep_tick(UPKEEP_HELPER, clock_us() / 1000);
        if (next != NEVER) {
            wait_until(next);
        } else if (may_end()) {
            break;
        }
    }
    upkeep_end(UPKEEP_HELPER);
    return NULL;
}

/* ---- starting and stopping ---- */

/* One that has ended by itself is joined in no time. malloc and fork are no cancellation points, as
 * pthread_join is. */
static void join(void) REQUIRES(lock) {
    int state = PTHREAD_CANCEL_ENABLE;
    (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
    if (must_join) {
        (void)pthread_join(thread, NULL);
        must_join = false;
    }
    (void)pthread_setcancelstate(state, NULL);
}

static bool create(void) REQUIRES(lock) {
    pthread_attr_t attributes;
    (void)pthread_attr_init(&attributes);
    (void)pthread_attr_setstacksize(&attributes, STACK_BYTES);
    int error = pthread_create(&thread, &attributes, help, NULL);
    (void)pthread_attr_destroy(&attributes);
    return error == 0 || (error == EINVAL && pthread_create(&thread, NULL, help, NULL) == 0);
}

/* The thread inherits the mask. */
static bool create_without_signals(void) REQUIRES(lock) {
    sigset_t all;
    sigset_t mask;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &mask);
    bool created = create();
    (void)pthread_sigmask(SIG_SETMASK, &mask, NULL);
    return created;
}

/* Not while the program ends, nor in a child of vfork. */
static bool may_act(void) {
    return life_ready() && life_is_owner();
}

static bool is_wanted(void) {
    return life_options.helper == HELPER_AUTO && upkeep_has_purpose() && may_act();
}

/* False: there is no thread to be had. */
ASIDE static bool start(void) {
    if (!is_wanted() || !lock_try(&lock)) {
        return false;
    }
    int saved_errno = errno;
    /* Whoever sets the flag decides: a thread that is about to end, and would rather not, is too late. */
    bool expected = false;
    if (atomic_compare_exchange_strong(&running, &expected, true)) {
        join();
        must_join = create_without_signals();
        atomic_store(&running, must_join);
    }
    bool started = must_join;
    lock_release(&lock);
    errno = saved_errno;
    return started;
}

/* Nobody is there to do it later. */
ASIDE static void stand_in(uint64_t now_ms) {
    struct shield shield;
    shield_raise(&shield);
    (void)upkeep_tick(UPKEEP_PROGRAM, now_ms);

    shield_lower(&shield);
}

/* Once in a while; true for one of several threads. */
static bool is_due(_Atomic uint64_t *due_ms, uint64_t now_ms) {
    uint64_t due = atomic_load_explicit(due_ms, memory_order_relaxed);
    return UNLIKELY(now_ms >= due) &&
           atomic_compare_exchange_strong(due_ms, &due, now_ms + TICK_MS);
}

void helper_call(uint64_t now_ms) {
    static _Atomic uint64_t start_ms;
    static _Atomic uint64_t tick_ms;
    if (LIKELY(atomic_load(&running))) {
        return;
    }
    bool is_worth_it = host_idle_bytes(&life_host) >= WORTH_A_THREAD;
    if (is_worth_it && now_ms >= atomic_load_explicit(&start_ms, memory_order_relaxed)) {
        if (start()) {
            return;
        }
        atomic_store_explicit(&start_ms, now_ms + TICK_MS, memory_order_relaxed);
    }
    if (is_due(&tick_ms, now_ms) && may_act()) {
        stand_in(now_ms);
    }
}

void helper_prefault(void) {
    static const _Atomic uint32_t never = 0;
    atomic_store(&prefaults, true);
    if (!start()) {
        prefault(&never);
    }
}

/* ---- fork ---- */

/* It is joined a moment before the kernel, and /proc/self/stat with it, has forgotten it. */
static void wait_until_gone(void) {
    pid_t tid = atomic_load(&thread_id);
    for (int i = 0; i < PATIENCE && tgkill(getpid(), tid, 0) == 0; i++) {
        (void)sched_yield();
    }
}

void helper_before_fork(void) UNCHECKED_LOCKING {
    lock_acquire(&lock);
    if (!must_join) {
        return;
    }
    int saved_errno = errno;
    atomic_store(&stopping, 1);
    (void)syscall(SYS_futex, &stopping, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
    join();
    wait_until_gone();
    atomic_store(&stopping, 0);
    atomic_store(&running, false);
    host_before_silence(&life_host, clock_coarse_ms());
    errno = saved_errno;
}

void helper_after_fork_in_parent(void) UNCHECKED_LOCKING {
    lock_release(&lock);
}

void helper_after_fork_in_child(void) UNCHECKED_LOCKING {
    upkeep_after_fork_in_child();
    atomic_store(&prefaults, false);
    lock_reset(&lock);
}

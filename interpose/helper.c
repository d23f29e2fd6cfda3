#include "interpose/helper.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cuda_hooks/cuda_hooks.h"
#include "interpose/life.h"

#include "interpose/shield.h"
#include "interpose/trace.h"
#include "interpose/upkeep.h"
#include "interpose/warm.h"

/* Less than this is not worth a thread: what a program frees next, or its end, gives it back. */
static const size_t WORTH_A_THREAD = 16 * MIB;

/* Static thread-local storage lies on the stack too: where this is too small for it, libc's default. */
static const size_t STACK_BYTES = 128 * KIB;
static const size_t CUDA_STACK_BYTES = 1 * MIB; /* the driver runs on it, too */

/* How often a large free looks after what is due, and how long a refused thread is not asked for again. */
static const uint64_t TICK_MS = 1000;

/* Looks at a thread that is about to be gone, before we go on all the same: the later ones are apart, as it may have
 * to wait for a processor. */
enum {
    LOOKS_AT_ONCE = 100,
    LOOKS = 2000
};
static const struct timespec LOOK_PAUSE = {.tv_nsec = 100000}; /* 100 us */

static struct lock lock; /* of starting and stopping; held during a fork */
static pthread_t thread;
static _Atomic pid_t thread_id;
static bool must_join;
static atomic_bool running;
static atomic_bool stopping;
static _Atomic uint32_t bell; /* a futex: it rings when there is something to do before it is due */
static atomic_bool is_behind; /* something is to be made ahead */
static struct lock making;    /* of whoever makes it; nobody waits for it */

/* ---- the thread ---- */

static void wait_until(uint64_t ms, uint32_t rung) {
    struct timespec end = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};
    (void)syscall(SYS_futex, &bell, FUTEX_WAIT_BITSET_PRIVATE, rung, &end, NULL,
                  FUTEX_BITSET_MATCH_ANY);
}

static void ring(void) {
    (void)atomic_fetch_add(&bell, 1);
    (void)syscall(SYS_futex, &bell, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

/* Memory of a device is short for others, who cannot ask us for it. */
static bool is_worth_a_thread(void) {
    return atomic_load(&is_behind) || host_idle_bytes(&life_host) >= WORTH_A_THREAD ||
           cuda_hooks_idle_bytes() != 0;
}

/* Does the thread call the driver, or will it soon? */
static bool serves_cuda(void) {
    return cuda_hooks_idle_bytes() != 0 || cuda_hooks_expects();
}

/* Nothing was left, but a block may have come in since, or something to be made, whose owner saw the thread running:
 * either he sees that it does not, or it sees that here. */
static bool may_end(void) {
    atomic_store(&running, false);
    bool expected = false;
    return !is_worth_a_thread() || !atomic_compare_exchange_strong(&running, &expected, true);
}

/* Once for each time that something is to be made: what the process has given back since, it had reasons for. */
static void make_ahead(enum upkeep_by by, bool has_program_files) {
    if (!atomic_load(&is_behind) || !lock_try(&making)) {
        return;
    }
    while (!atomic_load(&stopping) && atomic_exchange(&is_behind, false)) {
        bool made = !upkeep_finds_shortage(by) && warm_step(has_program_files, clock_coarse_ms());
        if (made) {
            atomic_store(&is_behind, true);
        }
    }
    lock_release(&making);
}

/* The driver's descriptors are the program's: a thread that has not got them leaves CUDA to another. */
static uint64_t tick(bool has_program_files) {
    uint64_t now_ms = clock_us() / 1000;
    trace_tick(now_ms);
    uint64_t next = upkeep_tick(UPKEEP_HELPER, now_ms);
    uint64_t cuda_next = has_program_files ? cuda_hooks_tick(now_ms) : NEVER;
    return cuda_next < next ? retention_next_ms(cuda_next, TICK_MS, now_ms) : next;
}

/* What it does can wait, whoever was the first to free a block. sched(7) */
static void leave_real_time(void) {
    int policy = sched_getscheduler(0) & ~SCHED_RESET_ON_FORK;
    if (policy == SCHED_FIFO || policy == SCHED_RR) {
        (void)sched_setscheduler(0, SCHED_OTHER, &(struct sched_param){0});
    }
}

/* With a table of descriptors of its own, where no CUDA is in use: the files that it opens take no number that
 * the program, and close none that it counts on. close_range(2), Linux 5.9. */
static void *help(void *unused) {
    (void)unused;
    bool has_program_files = serves_cuda();
    atomic_store(&thread_id, gettid());
    leave_real_time();
    (void)prctl(PR_SET_NAME, "bigmalloc");
    if (!has_program_files) {
        (void)close_range(0, ~0U, CLOSE_RANGE_UNSHARE);
    }
    /* The bell is looked at before what it rings for: if it rings after that, nobody sleeps. */
    for (uint32_t rung = atomic_load(&bell); !atomic_load(&stopping); rung = atomic_load(&bell)) {
        make_ahead(UPKEEP_HELPER, has_program_files);
        uint64_t next = tick(has_program_files);
        if (!has_program_files && serves_cuda()) {
            atomic_store(&running, false);
            break;
        }
        if (next != NEVER) {
            wait_until(next, rung);
        } else if (may_end()) {
            break;
        }
    }
    upkeep_end(UPKEEP_HELPER);
    trace_flush();
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
    (void)pthread_attr_setstacksize(&attributes, serves_cuda() ? CUDA_STACK_BYTES : STACK_BYTES);
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
        if (!must_join) {
            atomic_store(&running,
                         false); /* else this is the thread's, which may have ended by now */
        }
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
    make_ahead(UPKEEP_PROGRAM, true);
    (void)upkeep_tick(UPKEEP_PROGRAM, now_ms);
    (void)cuda_hooks_tick(now_ms);
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
    if (is_worth_a_thread() && now_ms >= atomic_load_explicit(&start_ms, memory_order_relaxed)) {
        if (start()) {
            return;
        }
        atomic_store_explicit(&start_ms, now_ms + TICK_MS, memory_order_relaxed);
    }
    if (is_due(&tick_ms, now_ms) && may_act()) {
        stand_in(now_ms);
    }
}

void helper_make_ahead(void) {
    atomic_store(&is_behind, true);
    if (start()) {
        ring();
        return;
    }
    struct shield shield;
    shield_raise(&shield);
    make_ahead(UPKEEP_PROGRAM, true);
    shield_lower(&shield);
}

/* ---- fork ---- */

/* It is joined a moment before the kernel, and /proc/self/stat with it, has forgotten it. The pause is a wait for a bell
 * that nobody rings: nanosleep would be a cancellation point. */
static void wait_until_gone(void) {
    pid_t tid = atomic_load(&thread_id);
    for (int i = 0; i < LOOKS && tgkill(getpid(), tid, 0) == 0; i++) {
        if (i < LOOKS_AT_ONCE) {
            (void)sched_yield();
        } else {
            uint32_t rung = atomic_load(&bell);
            (void)syscall(SYS_futex, &bell, FUTEX_WAIT_PRIVATE, rung, &LOOK_PAUSE, NULL, 0);
        }
    }
}

void helper_pause(void) UNCHECKED_LOCKING {
    lock_acquire(&lock);
    if (!must_join) {
        return;
    }
    int saved_errno = errno;
    atomic_store(&stopping, true);
    ring();
    join();
    wait_until_gone();
    atomic_store(&stopping, false);
    atomic_store(&running, false);
    host_before_silence(&life_host, clock_coarse_ms());
    errno = saved_errno;
}

void helper_resume(void) UNCHECKED_LOCKING {
    lock_release(&lock);
}

void helper_after_fork_in_child(void) UNCHECKED_LOCKING {
    upkeep_after_fork_in_child();
    atomic_store(&is_behind, false);
    lock_reset(&making);
    lock_reset(&lock);
}

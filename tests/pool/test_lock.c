#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/single_threaded.h>
#include <unistd.h>

#include "pool/lock.h"
#include "tests/pool/memory.h"

enum {
    THREADS = 4,
    ROUNDS = 50000
};

static struct lock lock;
static size_t counter; /* not atomic: the lock is what is tested */

static void *count(void *unused) {
    (void)unused;
    for (int i = 0; i < ROUNDS; i++) {
        lock_acquire(&lock);
        counter++;
        lock_release(&lock);
    }
    return NULL;
}

Test(lock, no_two_threads_hold_it_at_once) {
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        cr_assert(eq(int, pthread_create(&threads[i], NULL, count, NULL), 0));
    }
    for (int i = 0; i < THREADS; i++) {
        cr_assert(eq(int, pthread_join(threads[i], NULL), 0));
    }
    cr_expect(eq(sz, counter, 200000));
    cr_expect(eq(u32, lock.state, LOCK_FREE));
}

static atomic_int waiter_id;

static void *take_and_leave(void *saw_errno) {
    atomic_store(&waiter_id, gettid());
    errno = 77;
    lock_acquire(&lock);
    counter++;
    lock_release(&lock);
    *(int *)saw_errno = errno;
    return NULL;
}

static bool is_asleep(int thread_id) {
    char name[64];
    char text[128] = "";
    (void)snprintf(name, sizeof name, "/proc/self/task/%d/stat", thread_id);
    int fd = open(name, O_RDONLY | O_CLOEXEC);
    (void)read(fd, text, sizeof text - 1);
    (void)close(fd);
    return strstr(text, ") S ") != NULL;
}

/* The waiter sleeps for the lock once it has left its mark there. */
static void wait_until_somebody_sleeps_for_it(void) {
    while (atomic_load(&lock.state) != LOCK_CONTENDED || !is_asleep(atomic_load(&waiter_id))) {
        (void)sched_yield();
    }
}

Test(lock, a_sleeping_waiter_is_woken_with_its_errno_untouched) {
    __libc_single_threaded = 0;
    lock_acquire(&lock);
    pthread_t waiter;
    int saw_errno = 0;
    cr_assert(eq(int, pthread_create(&waiter, NULL, take_and_leave, &saw_errno), 0));
    wait_until_somebody_sleeps_for_it();
    cr_expect(eq(sz, counter, 0), "nobody came in");

    errno = 55;
    lock_release(&lock);
    cr_expect(eq(int, errno, 55));
    cr_assert(eq(int, pthread_join(waiter, NULL), 0));
    cr_expect(eq(sz, counter, 1));
    cr_expect(eq(int, saw_errno, 77));
}

Test(lock, is_held_between_acquire_and_release) {
    lock_acquire(&lock);
    cr_expect(eq(u32, lock.state, LOCK_HELD));
    lock_release(&lock);
    cr_expect(eq(u32, lock.state, LOCK_FREE));
}

Test(lock, works_the_same_while_the_process_has_one_thread) {
    char was = __libc_single_threaded;
    __libc_single_threaded = 1;
    lock_acquire(&lock);
    uint32_t held = lock.state;
    lock_release(&lock);
    __libc_single_threaded = was;
    cr_expect(eq(u32, held, LOCK_HELD));
    cr_expect(eq(u32, lock.state, LOCK_FREE));
}

static bool usable_after_reset(void) {
    lock_reset(&lock);
    lock_acquire(&lock);
    lock_release(&lock);
    return lock.state == LOCK_FREE;
}

Test(lock, a_child_resets_what_its_parent_held) {
    lock_acquire(&lock);
    cr_expect(true_in_child(usable_after_reset));
    cr_expect(eq(u32, lock.state, LOCK_HELD), "the parent's is its own");
    lock_release(&lock);
}

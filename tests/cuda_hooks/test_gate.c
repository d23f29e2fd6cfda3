#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <pthread.h>
#include <sched.h>

#include "cuda_hooks/driver.h"
#include "cuda_hooks/gate.h"

static struct gate gate;
static atomic_int passed; /* threads that have come where they wanted */

static pthread_t start(void *(*body)(void *)) {
    pthread_t thread;
    cr_assert(eq(int, pthread_create(&thread, NULL, body, NULL), 0));
    return thread;
}

static void end(pthread_t thread) {
    cr_assert(eq(int, pthread_join(thread, NULL), 0));
}

static void *enter_in_thread(void *unused) {
    gate_enter(&gate);
    passed++;
    gate_leave(&gate);
    return unused;
}

static void *close_in_thread(void *unused) {
    gate_close(&gate);
    passed++;
    gate_open(&gate);
    return unused;
}

static void until_it_is_barred(void) {
    while (!gate_is_barred(&gate)) {
        (void)sched_yield();
    }
}

Test(gate, lets_many_in) {
    gate_enter(&gate);
    end(start(enter_in_thread));
    cr_expect(not(gate_is_empty(&gate)));
    gate_leave(&gate);
    cr_expect(gate_is_empty(&gate));
}

Test(gate, is_closed_when_the_last_one_has_left) {
    gate_enter(&gate);
    gate_enter(&gate);
    pthread_t thread = start(close_in_thread);
    until_it_is_barred();
    gate_leave(&gate);
    cr_expect(eq(int, passed, 0));
    gate_leave(&gate);
    end(thread);
    cr_expect(eq(int, passed, 1));
    cr_expect(not(gate_is_barred(&gate)));
}

Test(gate, lets_nobody_in_before_it_is_open_again) {
    gate_close(&gate);
    cr_expect(not(gate_enter_unless_barred(&gate)));
    pthread_t first = start(enter_in_thread);
    pthread_t second = start(close_in_thread);
    (void)sched_yield();
    cr_expect(eq(int, passed, 0));
    gate_open(&gate);
    end(first);
    end(second);
    cr_expect(eq(int, passed, 2));
    cr_assert(gate_enter_unless_barred(&gate));
    gate_leave(&gate);
}

/* Else those who come and go without end would keep it open. */
Test(gate, lets_nobody_in_while_somebody_waits_to_close_it) {
    gate_enter(&gate);
    pthread_t thread = start(close_in_thread);
    until_it_is_barred();
    cr_expect(not(gate_enter_unless_barred(&gate)));
    gate_leave(&gate);
    end(thread);
}

Test(gate, that_is_barred_tells_when_it_is_empty) {
    gate_enter(&gate);
    gate_bar(&gate);
    cr_expect(not(gate_is_empty(&gate)));
    gate_leave(&gate);
    cr_expect(gate_is_empty(&gate));
}

Test(gate, leads_into_the_driver) {
    gate_enter(&gate);
    cr_expect(driver_is_entered());
    gate_leave(&gate);
    cr_expect(not(driver_is_entered()));
    gate_close(&gate);
    cr_expect(driver_is_entered());
    cr_expect(not(gate_enter_unless_barred(&gate)));
    gate_open(&gate);
    cr_expect(not(driver_is_entered()));
}

Test(gate, is_open_and_empty_in_a_child) {
    gate_enter(&gate);
    gate_bar(&gate);
    gate_reset(&gate);
    cr_expect(gate_is_empty(&gate));
    cr_expect(not(gate_is_barred(&gate)));
}

/* What is written behind the closed gate nobody sees half done. */
static unsigned halves[2];

static void *read_in_thread(void *unused) {
    for (int i = 0; i < 20000; i++) {
        gate_enter(&gate);
        passed += halves[0] != halves[1];
        gate_leave(&gate);
    }
    return unused;
}

static void *write_in_thread(void *unused) {
    for (int i = 0; i < 2000; i++) {
        gate_close(&gate);
        halves[0]++;
        halves[1]++;
        gate_open(&gate);
    }
    return unused;
}

Test(gate, keeps_those_who_close_it_apart_from_all_others) {
    void *(*const bodies[])(void *) = {read_in_thread, write_in_thread, read_in_thread,
                                       write_in_thread};
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) {
        threads[i] = start(bodies[i]);
    }
    for (int i = 0; i < 4; i++) {
        end(threads[i]);
    }
    cr_expect(eq(int, passed, 0));
    cr_expect(eq(uint, halves[0], 4000));
    cr_expect(eq(uint, halves[1], 4000));
}

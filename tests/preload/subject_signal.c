/*
 * subject_signal.c - programs that get a signal, SIGUSR1 if nothing else is said.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/preload/subject.h"

static volatile sig_atomic_t handled;
static volatile sig_atomic_t code;

static void note(int number) {
    handled = number;
}

static void note_with_information(int number, siginfo_t *info, void *context) {
    (void)context;
    handled = number;
    code = info->si_code;
}

/* On to the dump of the library: a request that makes it start. */
static void wake_library(void) {
    free(get(8 * MIB));
}

static void *action_of(int number) {
    struct sigaction action;
    CHECK(sigaction(number, NULL, &action) == 0);
    CHECK((action.sa_flags & SA_SIGINFO) == 0);
    return (void *)action.sa_handler;
}

/* The number on the command line; without one SIGUSR1. */
void get_a_signal(void) {
    wake_library();
    CHECK(raise(subject_arguments[0] != NULL ? atoi(subject_arguments[0]) : SIGUSR1) == 0);
    dprintf(STDOUT_FILENO, "survived=yes\n");
}

void get_two_signals(void) {
    wake_library();
    CHECK(raise(SIGUSR1) == 0);
    CHECK(raise(SIGUSR1) == 0);
}

void get_a_signal_without_a_large_request(void) {
    free(get(100));
    CHECK(raise(SIGUSR1) == 0);
}

void a_program_sees_the_default_action(void) {
    wake_library();
    CHECK(action_of(SIGUSR1) == (void *)SIG_DFL);
    CHECK(signal(SIGUSR1, SIG_DFL) == SIG_DFL);
    struct sigaction action = {.sa_handler = SIG_DFL};
    struct sigaction old = {.sa_handler = note};
    CHECK(sigaction(SIGUSR1, &action, &old) == 0 && old.sa_handler == SIG_DFL);
}

void a_handler_by_sigaction_wins(void) {
    wake_library();
    struct sigaction action = {.sa_handler = note};
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
    CHECK(action_of(SIGUSR1) == (void *)note);
    CHECK(raise(SIGUSR1) == 0 && handled == SIGUSR1);
}

void a_handler_by_signal_wins(void) {
    wake_library();
    CHECK(signal(SIGUSR1, note) == SIG_DFL);
    CHECK(raise(SIGUSR1) == 0 && handled == SIGUSR1);
    handled = 0;
    CHECK(raise(SIGUSR1) == 0 && handled == SIGUSR1);
    CHECK(signal(SIGUSR1, SIG_DFL) == note);
}

void a_handler_set_before_the_first_large_request_wins(void) {
    CHECK(signal(SIGUSR1, note) == SIG_DFL);
    wake_library();
    CHECK(raise(SIGUSR1) == 0 && handled == SIGUSR1);
    CHECK(action_of(SIGUSR1) == (void *)note);
}

void a_handler_with_information_wins(void) {
    wake_library();
    struct sigaction action = {.sa_sigaction = note_with_information, .sa_flags = SA_SIGINFO};
    struct sigaction old;
    CHECK(sigaction(SIGUSR1, &action, &old) == 0 && old.sa_handler == SIG_DFL);
    CHECK(raise(SIGUSR1) == 0 && handled == SIGUSR1 && code == SI_TKILL);
    CHECK(sigaction(SIGUSR1, NULL, &old) == 0);
    CHECK(old.sa_sigaction == note_with_information && (old.sa_flags & SA_SIGINFO) != 0);
}

void an_ignored_signal_stays_ignored(void) {
    wake_library();
    CHECK(signal(SIGUSR1, SIG_IGN) == SIG_DFL);
    CHECK(raise(SIGUSR1) == 0);
    CHECK(action_of(SIGUSR1) == (void *)SIG_IGN);
}

/* As the parent of a service may have it: inherited over exec. */
void a_signal_ignored_from_the_start_stays_ignored(void) {
    wake_library();
    CHECK(action_of(SIGUSR1) == (void *)SIG_IGN);
    CHECK(raise(SIGUSR1) == 0);
}

void saving_and_restoring_changes_nothing(void) {
    wake_library();
    struct sigaction own = {.sa_handler = note};
    struct sigaction saved;
    CHECK(sigaction(SIGUSR1, &own, &saved) == 0);
    CHECK(raise(SIGUSR1) == 0 && handled == SIGUSR1);
    CHECK(sigaction(SIGUSR1, &saved, NULL) == 0);
    CHECK(action_of(SIGUSR1) == (void *)SIG_DFL);
}

/* The library speaks once: after the handler was taken away, not while it was there. */
void save_restore_and_get_a_signal(void) {
    saving_and_restoring_changes_nothing();
    CHECK(raise(SIGUSR1) == 0);
    dprintf(STDOUT_FILENO, "survived=yes\n");
}

void other_signals_are_the_programs_own(void) {
    wake_library();
    CHECK(signal(SIGUSR2, note) == SIG_DFL);
    CHECK(raise(SIGUSR2) == 0 && handled == SIGUSR2);
    CHECK(signal(SIGUSR2, SIG_DFL) == note);
    errno = 0;
    CHECK(signal(SIGKILL, note) == SIG_ERR && errno == EINVAL);
    struct sigaction action = {.sa_handler = note};
    CHECK(sigaction(0, &action, NULL) == -1 && sigaction(10000, &action, NULL) == -1);
}

/* A dump in the middle of a read must not end it. */
void a_signal_interrupts_no_read(void) {
    wake_library();
    int ends[2];
    CHECK(pipe(ends) == 0);
    pid_t reader = getpid();
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        usleep(100 * 1000);
        (void)kill(reader, SIGUSR1);
        usleep(100 * 1000);
        _exit(write(ends[1], "x", 1) == 1 ? 0 : 1);
    }
    char byte = 0;
    CHECK(read(ends[0], &byte, 1) == 1 && byte == 'x');
}

static void get_it(void) {
    CHECK(raise(SIGUSR1) == 0);
}

void a_forked_child_gets_a_signal(void) {
    wake_library();
    CHECK(in_child(get_it) == 0);
}

/* ---- many at once ---- */

static atomic_bool over;

static void *allocate_until_over(void *argument) {
    unsigned state = (unsigned)(uintptr_t)argument;
    while (!atomic_load(&over)) {
        state = state * 1664525 + 1013904223;
        size_t bytes = MIB + (state >> 9);
        char *p = get(bytes);
        p[0] = 1;
        p[bytes - 1] = 1;
        free(p);
        free(get(1 + state % 10000));
    }
    return NULL;
}

void a_storm_of_signals_hits_busy_threads(void) {
    wake_library();
    pthread_t threads[4];
    for (uintptr_t i = 0; i < 4; i++) {
        CHECK(pthread_create(&threads[i], NULL, allocate_until_over, (void *)(i + 1)) == 0);
    }
    for (int i = 0; i < 1000; i++) {
        CHECK(pthread_kill(threads[i % 4], SIGUSR1) == 0);
        usleep(500);
    }
    atomic_store(&over, true);
    for (int i = 0; i < 4; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
}

/* errno belongs to what the signal came into. */
void a_signal_leaves_errno(void) {
    wake_library();
    errno = EDOM;
    CHECK(raise(SIGUSR1) == 0 && errno == EDOM);
}

/* Its handlers run on a stack of their own; ours must not need more than it has. */
void a_signal_fits_an_alternate_stack(void) {
    wake_library();
    stack_t stack = {.ss_sp = get(SIGSTKSZ), .ss_size = SIGSTKSZ};
    CHECK(sigaltstack(&stack, NULL) == 0);
    CHECK(raise(SIGUSR1) == 0);
}

/* siginterrupt before signal: the handler that comes later interrupts system calls. */
void siginterrupt_has_its_say(void) {
    struct sigaction action;
    wake_library();
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
    CHECK(siginterrupt(SIGUSR1, 1) == 0);
#pragma GCC diagnostic pop
    CHECK(signal(SIGUSR1, note) == SIG_DFL);
    CHECK(sigaction(SIGUSR1, NULL, &action) == 0);
    CHECK(action.sa_handler == note && (action.sa_flags & SA_RESTART) == 0);
    CHECK(signal(SIGUSR1, SIG_ERR) == SIG_ERR);
}

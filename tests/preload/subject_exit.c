/*
 * subject_exit.c - the ways a process ends, each after a large request.
 */
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/preload/subject.h"

extern char **environ;

static void work(void) {
    free(get_touched(8 * MIB));
}

void end_by_return(void) {
    work();
}

void end_by_exit(void) {
    work();
    exit(7);
}

void end_by_underscore_exit(void) {
    work();
    _exit(7);
}

void end_by_capital_exit(void) {
    work();
    _Exit(7);
}

void end_by_quick_exit(void) {
    work();
    quick_exit(7);
}

void end_by_abort(void) {
    work();
    abort();
}

void end_by_a_signal(void) {
    work();
    (void)raise(SIGTERM);
}

static void *exit_from_thread(void *argument) {
    work();
    exit(argument == NULL ? 7 : 8);
}

void end_by_exit_in_a_thread(void) {
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, exit_from_thread, NULL) == 0);
    (void)pthread_join(thread, NULL);
}

static void *outlive_main(void *argument) {
    usleep(50 * 1000);
    work();
    return argument;
}

void end_by_the_last_pthread_exit(void) {
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, outlive_main, NULL) == 0);
    pthread_exit(NULL);
}

static void allocate_late(void) {
    void *p = get_touched(8 * MIB);
    p = realloc(p, 16 * MIB);
    CHECK(p != NULL);
    free(p);
    free(get(100));
}

void end_with_handlers_that_allocate(void) {
    work();
    CHECK(atexit(allocate_late) == 0);
    CHECK(at_quick_exit(allocate_late) == 0);
}

void quick_exit_with_handlers_that_allocate(void) {
    end_with_handlers_that_allocate();
    quick_exit(0);
}

/* A block that lives is freed after the library has stopped. */
static void *survivor;

__attribute__((destructor)) static void free_survivor(void) {
    survivor = survivor != NULL ? realloc(survivor, 16 * MIB) : NULL;
    free(survivor);
}

void end_with_a_destructor_that_frees(void) {
    survivor = get_touched(8 * MIB);
}

static void *busy_forever(void *argument) {
    for (;;) {
        free(get(2 * MIB));
    }
    return argument;
}

void end_while_threads_are_busy(void) {
    pthread_t threads[4];
    work();
    for (int i = 0; i < 4; i++) {
        CHECK(pthread_create(&threads[i], NULL, busy_forever, NULL) == 0);
    }
    usleep(20 * 1000);
    exit(7);
}

/* ---- children ---- */

void a_forked_child_ends_by_underscore_exit(void) {
    work();
    CHECK(in_child(work) == 0);
}

static void end_child_by_exit(void) {
    work();
    exit(0);
}

void a_forked_child_ends_by_exit(void) {
    work();
    CHECK(in_child(end_child_by_exit) == 0);
}

static void work_much(void) {
    for (int i = 0; i < 20; i++) {
        free(get_touched(16 * MIB));
    }
}

void a_forked_child_works_much(void) {
    CHECK(in_child(work_much) == 0);
}

/* The parent has done much; the child nothing of its own. */
static void no_work(void) {
    free(get(100));
}

void a_forked_child_does_nothing(void) {
    work_much();
    CHECK(in_child(no_work) == 0);
}

static void tell_pid(void) {
    tell("child", (size_t)getpid());
    work();
}

void tell_the_pid_of_a_forked_child(void) {
    tell("parent", (size_t)getpid());
    work();
    CHECK(in_child(tell_pid) == 0);
}

void a_vfork_child_ends_by_underscore_exit(void) {
    work();
    int status = 0;
    pid_t pid = vfork();
    if (pid == 0) {
        _exit(9);
    }
    CHECK(waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == 9);
    work();
}

/* Programs that end in a child of each kind: the parent's own counters and memory must be whole. */
void programs_can_be_started(void) {
    char *argv[] = {"true", NULL};
    void *p = get(8 * MIB);
    fill(p, 8 * MIB, 1);
    for (int i = 0; i < 5; i++) {
        int status = -1;
        pid_t pid = 0;
        CHECK(posix_spawnp(&pid, "true", NULL, NULL, argv, environ) == 0);
        CHECK(waitpid(pid, &status, 0) == pid && status == 0);
        CHECK(system("exit 3") == 3 * 256);
        FILE *pipe = popen("echo hello", "r");
        char line[16] = "";
        CHECK(pipe != NULL && fgets(line, sizeof line, pipe) != NULL);
        CHECK(strcmp(line, "hello\n") == 0 && pclose(pipe) == 0);
        CHECK(posix_spawnp(&pid, "no-such-program", NULL, NULL, argv, environ) != 0);
    }
    CHECK(is_filled(p, 8 * MIB, 1));
    free(p);
}

/* The new program inherits the environment, and counts from nothing. */
void end_by_exec(void) {
    work_much();
    char path[4096] = "";
    CHECK(readlink("/proc/self/exe", path, sizeof path - 1) > 0);
    (void)execl(path, "subject", "end_by_return", (char *)NULL);
    exit(1);
}

/*
 * subject_helper.c - forks while the library's helper is at work: it is gone when the program looks.
 *
 * CPython warns of a fork when the parent has several threads right after it (os.fork, 3.12).
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/preload/subject.h"

static bool is_alone(void) {
    return stat_thread_count() == 1;
}

static bool has_helper(void) {
    return stat_thread_count() == 2;
}

/* What is idle ages in 300 ms at the least: on a machine that is late the helper may have come and gone. */
static void free_with_helper(size_t bytes) {
    void *p = get_touched(bytes);
    uint64_t freed_ms = clock_ms();
    free(p);
    CHECK(has_helper() || clock_ms() - freed_ms > 300);
}

static void end_child(pid_t pid) {
    int status = 0;
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
}

/* A fork of which parent and child see that it had one thread only. */
static void fork_alone(void) {
    pid_t pid = fork();
    size_t threads = stat_thread_count();
    CHECK(pid >= 0 && threads == 1);
    if (pid == 0) {
        _exit(0);
    }
    end_child(pid);
}

void forks_leave_one_thread(void) {
    for (size_t i = 0; i < 200; i++) {
        free_with_helper(32 * MIB + i * 100 * KIB);
        fork_alone();
    }
}

/* The helper has something to do at any time: what is idle ages within milliseconds. */
void forks_amid_idle_memory_leave_one_thread(void) {
    uint32_t state = 1;
    for (size_t i = 0; i < 200; i++) {
        free(get_touched(17 * MIB + draw(&state) % (16 * MIB)));
        CHECK(stat_thread_count() <= 2);
        (void)usleep(draw(&state) % 4000);
        fork_alone();
    }
}

static size_t resident_before;

static bool has_given_back(void) {
    return smaps_bytes("Rss:") < resident_before + 16 * MIB;
}

static void free_much_in_child(void) {
    CHECK(is_alone());
    free(get_touched(2 * MIB));
    CHECK(is_alone());
    resident_before = smaps_bytes("Rss:");
    free_with_helper(100 * MIB);
    CHECK(comes_true(has_given_back, 3000));
    CHECK(comes_true(is_alone, 3000));
}

void a_child_starts_a_helper_of_its_own(void) {
    free_with_helper(64 * MIB);
    CHECK(in_child(free_much_in_child) == 0);
    free_with_helper(64 * MIB);
    CHECK(in_child(free_much_in_child) == 0);
}

void memory_goes_back_after_many_forks(void) {
    resident_before = smaps_bytes("Rss:");
    for (int i = 0; i < 20; i++) {
        free(get_touched(100 * MIB));
        fork_alone();
    }
    free_with_helper(8 * MIB);
    CHECK(comes_true(has_given_back, 3000));
    CHECK(comes_true(is_alone, 3000));
}

/* Those namespaces that are for processes of one thread only. */
void a_new_user_namespace_amid_idle_memory(void) {
    free(get_touched(64 * MIB));
    CHECK(has_helper());
    errno = 77;
    int result = unshare(CLONE_NEWUSER);
    if (result != 0 && (errno == EPERM || errno == ENOSPC)) {
        _exit(FORBIDDEN);
    }
    CHECK(result == 0 && errno == 77);
    free(get_touched(64 * MIB));
    CHECK(has_helper());
}

void an_old_namespace_amid_idle_memory(void) {
    int mounts = open("/proc/self/ns/mnt", O_RDONLY);
    CHECK(mounts >= 0);
    free(get_touched(64 * MIB));
    CHECK(has_helper());
    int result = setns(mounts, CLONE_NEWNS);
    if (result != 0 && errno == EPERM) {
        _exit(FORBIDDEN);
    }
    CHECK(result == 0);
    CHECK(setns(mounts, CLONE_NEWUSER) == -1 && errno == EINVAL);
    free(get_touched(64 * MIB));
    CHECK(has_helper());
}

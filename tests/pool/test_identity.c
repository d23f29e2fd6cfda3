#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "pool/identity.h"
#include "pool/text_file.h"
#include "tests/pool/files.h"

Test(identity, is_that_of_this_process_on_this_machine) {
    struct identity who;
    struct stat ns;
    char host[256] = "";
    char boot_id[64] = "";
    cr_assert(eq(int, stat("/proc/self/ns/pid", &ns), 0));
    cr_assert(eq(int, gethostname(host, sizeof host - 1), 0));
    cr_assert(text_file_read("/proc/sys/kernel/random/boot_id", boot_id, 37));
    identity_read(&who);
    cr_expect(eq(sz, who.pid, (size_t)getpid()));
    cr_expect(eq(sz, who.pid_ns, (size_t)ns.st_ino));
    cr_expect(eq(str, who.host, host));
    cr_expect(eq(str, who.boot_id, boot_id));
    cr_expect(eq(int, who.rank, IDENTITY_NO_RANK));
}

/* A tick is a hundredth of a second. */
static size_t now_ticks(void) {
    struct timespec now;
    cr_assert(eq(int, clock_gettime(CLOCK_BOOTTIME, &now), 0));
    return (size_t)now.tv_sec * 100 + (size_t)now.tv_nsec / 10000000;
}

static size_t own_start_ticks(void) {
    struct identity who;
    identity_read(&who);
    return who.start_ticks;
}

Test(identity, tells_when_the_process_started) {
    size_t ticks = 0;
    int ends[2];
    cr_assert(eq(int, pipe(ends), 0));
    size_t before = now_ticks();
    pid_t child = fork();
    if (child == 0) {
        ticks = own_start_ticks();
        _exit(write(ends[1], &ticks, sizeof ticks) == sizeof ticks ? 0 : 1);
    }
    size_t after = now_ticks();
    cr_assert(eq(sz, (size_t)read(ends[0], &ticks, sizeof ticks), sizeof ticks));
    cr_expect(ge(sz, ticks, before));
    cr_expect(le(sz, ticks, after));
    cr_assert(eq(int, waitpid(child, NULL, 0), child));
    cr_expect(ge(sz, before, own_start_ticks()), "it was here before its child");
}

TestSuite(identity_files, .init = files_start, .fini = files_stop);

#define BEFORE_START "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 "

Test(identity_files, the_name_of_a_program_may_look_like_fields) {
    files_put("/proc/4711/stat", "4711 (a) S 1 2 (b) " BEFORE_START "815 20 21\n");
    files_put("/proc/4712/stat", "4712 (plain) " BEFORE_START "816 20 21\n");
    cr_expect(eq(sz, identity_start_ticks(4711), 815));
    cr_expect(eq(sz, identity_start_ticks(4712), 816));
}

static const char *command_of(const char *stat) {
    static struct identity who;
    char path[32];
    (void)snprintf(path, sizeof path, "/proc/%d/stat", (int)getpid());
    files_put(path, stat);
    identity_read(&who);
    return who.command;
}

Test(identity_files, the_name_of_a_program_is_all_between_the_outermost_parentheses) {
    cr_expect(eq(str, (char *)command_of("1 (plain) " BEFORE_START "815 20\n"), "plain"));
    cr_expect(eq(str, (char *)command_of("1 (a) S 1 (b) " BEFORE_START "815 20\n"), "a) S 1 (b"));
    cr_expect(eq(str, (char *)command_of("1 () " BEFORE_START "815 20\n"), ""));
    cr_expect(eq(str, (char *)command_of("1 (longer than it may be) " BEFORE_START "815 20\n"),
                 "longer than it "));
}

static void *tell_command(void *who) {
    (void)prctl(PR_SET_NAME, "a worker");
    identity_read(who);
    return NULL;
}

Test(identity, has_the_name_of_the_program_whichever_thread_asks) {
    struct identity who;
    pthread_t worker;
    (void)prctl(PR_SET_NAME, "the program");
    cr_assert(eq(int, pthread_create(&worker, NULL, tell_command, &who), 0));
    cr_assert(eq(int, pthread_join(worker, NULL), 0));
    cr_expect(eq(str, who.command, "the program"));
}

Test(identity_files, the_name_of_a_program_without_proc_is_that_of_its_thread) {
    struct identity who;
    (void)prctl(PR_SET_NAME, "the thread");
    identity_read(&who);
    cr_expect(eq(sz, who.start_ticks, 0));
    cr_expect(eq(str, who.command, "the thread"));
}

Test(identity_files, there_is_no_start_of_what_is_not_there_or_not_whole) {
    files_put("/proc/4711/stat", "4711 (a) S 1 2 3\n");
    files_put("/proc/4712/stat", "4712");
    cr_expect(eq(sz, identity_start_ticks(4711), 0));
    cr_expect(eq(sz, identity_start_ticks(4712), 0));
    cr_expect(eq(sz, identity_start_ticks(4713), 0));
}

static int32_t rank_of(const char *variable) {
    char *environment[] = {(char *)(uintptr_t)variable, NULL};
    struct identity who;
    identity_load(environment);
    identity_read(&who);
    return who.rank;
}

Test(identity, has_the_rank_that_its_launcher_gave_as_a_number) {
    cr_expect(eq(int, rank_of("RANK=0"), 0));
    cr_expect(eq(int, rank_of("SLURM_PROCID=7"), 7));
    cr_expect(eq(int, rank_of("PMI_RANK=2147483647"), 2147483647));
    cr_expect(eq(int, rank_of("PMI_RANK=2147483648"), IDENTITY_NO_RANK));
    cr_expect(eq(int, rank_of("RANK=first"), IDENTITY_NO_RANK));
    cr_expect(eq(int, rank_of("RANKS=1"), IDENTITY_NO_RANK));
}

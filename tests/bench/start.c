/*
 * start.c - what a preloaded library adds to the start of a program: /bin/true, hundreds of times,
 * in the environment it was given itself. The median in microseconds.
 */
#include "tests/bench/measure.h"

#include <spawn.h>
#include <sys/wait.h>

extern char **environ;

enum {
    STARTS = 400
};

static int compare(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double one_start_us(void) {
    char *argv[] = {"true", NULL};
    pid_t pid;
    int status = 1;
    double start = now_ns();
    if (posix_spawn(&pid, "/bin/true", NULL, NULL, argv, environ) == 0) {
        waitpid(pid, &status, 0);
    }
    if (status != 0) {
        fprintf(stderr, "/bin/true failed: status %d\n", status);
        exit(1);
    }
    return (now_ns() - start) / 1e3;
}

int main(void) {
    static double us[STARTS];
    const long n = steps_wanted(STARTS);
    struct usage start = usage_now(RUSAGE_CHILDREN);
    for (long i = 0; i < n; i++) {
        us[i] = one_start_us();
    }
    struct usage used = usage_since(start, RUSAGE_CHILDREN);
    qsort(us, (size_t)n, sizeof us[0], compare);
    print_row("", us[n / 2], used, (double)n);
    return 0;
}

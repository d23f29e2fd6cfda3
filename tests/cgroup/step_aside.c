/*
 * step_aside.c - a program that has freed 300 MiB and waits, while one beside it needs the memory.
 *
 *     step_aside NEIGHBOUR [ARGUMENT...]
 *
 * Its blocks are written and freed, then the other program is started, without the library. It
 * exits with 1 unless that one ends well, and prints how much of its own memory is left then.
 */
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)

enum {
    BLOCKS = 15
};

static const size_t BLOCK_BYTES = 20 * MIB;

static void use_and_free(void) {
    char *blocks[BLOCKS];
    for (int i = 0; i < BLOCKS; i++) {
        blocks[i] = malloc(BLOCK_BYTES);
        if (blocks[i] == NULL) {
            (void)fprintf(stderr, "%zu bytes were refused\n", BLOCK_BYTES);
            exit(EXIT_FAILURE);
        }
        memset(blocks[i], 1, BLOCK_BYTES);
    }
    for (int i = 0; i < BLOCKS; i++) {
        free(blocks[i]);
    }
}

/* With an environment that preloads nothing. */
static int run_neighbour(char **words) {
    char *const nothing[] = {NULL};
    pid_t pid = -1;
    int status = -1;
    if (posix_spawn(&pid, words[0], NULL, NULL, words, nothing) != 0) {
        return -1;
    }
    return waitpid(pid, &status, 0) == pid ? status : -1;
}

/* The second number of statm; proc(5). */
static size_t resident_bytes(void) {
    size_t pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file == NULL || fscanf(file, "%*u %zu", &pages) != 1) {
        return 0;
    }
    (void)fclose(file);
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

int main(int argc, char **argv) {
    if (argc < 2) {
        (void)fprintf(stderr, "usage: step_aside NEIGHBOUR [ARGUMENT...]\n");
        return 2;
    }
    use_and_free();
    size_t before = resident_bytes();
    int status = run_neighbour(argv + 1);
    (void)printf("%zu MiB were resident before, %zu MiB after\n", before / MIB,
                 resident_bytes() / MIB);
    return status == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/*
 * neighbour.c - a program that takes memory step by step, and knows nothing of the library.
 *
 *     neighbour MIB
 *
 * Each step is 8 MiB, written at once, and a pause of 20 ms.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)

enum {
    PAUSE_US = 20 * 1000
};

static const size_t STEP_BYTES = 8 * MIB;

int main(int argc, char **argv) {
    size_t wanted = argc == 2 ? strtoull(argv[1], NULL, 10) * MIB : 0;
    if (wanted == 0) {
        (void)fprintf(stderr, "usage: neighbour MIB\n");
        return 2;
    }
    for (size_t taken = 0; taken < wanted; taken += STEP_BYTES) {
        char *p = malloc(STEP_BYTES);
        if (p == NULL) {
            (void)fprintf(stderr, "%zu bytes were refused\n", STEP_BYTES);
            return EXIT_FAILURE;
        }
        memset(p, 1, STEP_BYTES);
        (void)usleep(PAUSE_US);
    }
    return EXIT_SUCCESS;
}

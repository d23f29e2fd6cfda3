/*
 * lib_atfork.c - a library whose fork handlers allocate, small and large, on all three sides. It
 * registers them in its constructor, as early as any library can.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static const size_t LARGE = (size_t)8 << 20;

static void allocate(void) {
    char *small = malloc(100);
    char *large = malloc(LARGE);
    if (small == NULL || large == NULL) {
        abort();
    }
    memset(small, 1, 100);
    large[0] = 1;
    large[LARGE - 1] = 1;
    free(small);
    free(large);
}

__attribute__((constructor)) static void start(void) {
    if (pthread_atfork(allocate, allocate, allocate) != 0) {
        abort();
    }
}

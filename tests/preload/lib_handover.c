/*
 * lib_handover.c - hands out blocks of its malloc: libc's own, when opened with RTLD_DEEPBIND.
 */
#include <stdlib.h>

void *hand_over(size_t bytes);
void *malloc_in_use(void);

void *hand_over(size_t bytes) {
    return malloc(bytes);
}

void *malloc_in_use(void) {
    return (void *)malloc;
}

/*
 * privileged.c - makes a large request with the rights of its owner instead of its caller's. Linked
 * with the library, since LD_PRELOAD does not reach such a program. ld.so(8).
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <unistd.h>

int main(void) {
    free(malloc((size_t)8 << 20));
    printf("secure=%lu\n", getauxval(AT_SECURE));
    return 0;
}

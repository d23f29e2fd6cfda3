/*
 * privileged.c - makes a large request with the rights of its owner instead of its caller's, and tells
 * whether it has a live file. Linked with the library, since LD_PRELOAD does not reach such a program. ld.so(8).
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

/* Of this process. */
static int live_files(void) {
    char folder[64];
    char own[32];
    int n = 0;
    (void)snprintf(folder, sizeof folder, "/dev/shm/bigmalloc-%u", geteuid());
    (void)snprintf(own, sizeof own, "%d-", (int)getpid());
    DIR *d = opendir(folder);
    for (const struct dirent *e = d != NULL ? readdir(d) : NULL; e != NULL; e = readdir(d)) {
        n += strncmp(e->d_name, own, strlen(own)) == 0;
    }
    return n;
}

int main(void) {
    char *p = malloc((size_t)80 << 20);
    if (p != NULL) {
        memset(p, 1, (size_t)80 << 20);
    }
    free(p);
    printf("secure=%lu\nlive_files=%d\n", getauxval(AT_SECURE), live_files());
    return 0;
}

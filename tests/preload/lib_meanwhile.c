/*
 * lib_meanwhile.c - while a folder is made, its maker and another thread make a large request each.
 */
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static void *ask(void *unused) {
    (void)unused;
    void *volatile p = malloc((size_t)4 << 20);
    free(p);
    return NULL;
}

int mkdirat(int parent, const char *name, mode_t mode) {
    pthread_t thread;
    (void)ask(NULL);
    if (pthread_create(&thread, NULL, ask, NULL) == 0) {
        (void)pthread_join(thread, NULL);
    }
    return (int)syscall(SYS_mkdirat, parent, name, mode);
}

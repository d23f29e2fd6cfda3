/*
 * alone - a program with one thread, which the tests are not: asks the companion, TEST_COMPANION, all
 * that makes hwloc load, and says on stdout what became of its environment.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "pool/topology.h"

int main(void) {
    static struct topology t;
    const char *path = getenv("TEST_COMPANION");
    void *library = path != NULL ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
    const struct topology_companion *c =
        library != NULL ? dlsym(library, TOPOLOGY_COMPANION) : NULL;
    if (c == NULL) {
        return 1;
    }
    char **before = environ;
    bool is_known = c->discover(&t);
    bool is_kept = environ == before;
    environ = NULL;
    is_known = is_known && c->discover(&t) && environ == NULL;
    (void)printf("%s, %s\n", is_known ? "known" : "unknown", is_kept ? "kept" : "changed");
    return 0;
}

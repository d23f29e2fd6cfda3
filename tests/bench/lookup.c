/*
 * lookup.c - the price of dlsym for a name that is nobody's business but libc's: found in the first
 * library of its handle, and in the search order of the program. The median of batches; see hit_pair.c.
 */
#include "tests/bench/measure.h"

#include <dlfcn.h>

enum {
    BATCHES = 201,
    LOOKUPS = 2000
};

static int compare(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double lookup_ns(void *handle, const char *name) {
    double ns[BATCHES];
    for (int i = 0; i < BATCHES; i++) {
        double start = now_ns();
        for (int n = 0; n < LOOKUPS; n++) {
            keep(dlsym(handle, name));
        }
        ns[i] = (now_ns() - start) / LOOKUPS;
    }
    qsort(ns, BATCHES, sizeof ns[0], compare);
    return ns[BATCHES / 2];
}

int main(void) {
    void *libm = dlopen("libm.so.6", RTLD_NOW);
    print_time("in libm: log", lookup_ns(libm, "log"));
    print_time("in libm: cos", lookup_ns(libm, "cos"));
    print_time("in the program: puts", lookup_ns(RTLD_DEFAULT, "puts"));
    return 0;
}

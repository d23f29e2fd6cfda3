/*
 * subject_library.c - libraries that come while the program runs: one that is bound to libc's own
 * malloc, and the allocator itself.
 */
#include <dlfcn.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/preload/subject.h"

static void *open_argument(int flags) {
    void *library = dlopen(subject_arguments[0], flags);
    if (library == NULL) {
        dprintf(STDERR_FILENO, "%s\n", dlerror());
        _exit(1);
    }
    return library;
}

static void *symbol(void *library, const char *name) {
    void *p = dlsym(library, name);
    CHECK(p != NULL);
    return p;
}

/* lib_handover.c: hands out blocks of libc's own malloc, for us to free and grow. */
void blocks_of_a_deep_bound_library_can_be_freed(void) {
    void *library = open_argument(RTLD_NOW | RTLD_DEEPBIND);
    void *(*hand_over)(size_t) = symbol(library, "hand_over");
    CHECK(symbol(library, "hand_over") != NULL);
    static const size_t sizes[] = {1, 100, 100 * KIB, MIB, 8 * MIB, 64 * MIB};
    for (int i = 0; i < 6; i++) {
        char *p = hand_over(sizes[i]);
        CHECK(p != NULL && malloc_usable_size(p) >= sizes[i]);
        fill(p, sizes[i], 1);
        free(p);
    }
    free(hand_over(0));
}

void blocks_of_a_deep_bound_library_can_be_resized(void) {
    void *library = open_argument(RTLD_NOW | RTLD_DEEPBIND);
    void *(*hand_over)(size_t) = symbol(library, "hand_over");
    static const size_t sizes[][2] = {{100, 200},          {100, 8 * MIB}, {8 * MIB, 100},
                                      {8 * MIB, 16 * MIB}, {MIB, 0},       {100 * KIB, 3 * MIB}};
    for (int i = 0; i < 6; i++) {
        size_t least = sizes[i][0] < sizes[i][1] ? sizes[i][0] : sizes[i][1];
        char *p = hand_over(sizes[i][0]);
        fill(p, sizes[i][0], 1);
        p = realloc(p, sizes[i][1]);
        CHECK(sizes[i][1] == 0 || is_filled(p, least / 8 * 8, 1));
        free(p);
    }
}

/* The library is bound to libc, or the two above would prove nothing. */
/* A request that jemalloc's addresses do not hold, and the system refuses: nothing has changed. */
void blocks_of_a_deep_bound_library_survive_an_absurd_request(void) {
    void *library = open_argument(RTLD_NOW | RTLD_DEEPBIND);
    void *(*hand_over)(size_t) = symbol(library, "hand_over");
    void *p = hand_over(100);
    CHECK(malloc((size_t)20 << 40) == NULL);
    CHECK(memalign(4 * MIB, (size_t)20 << 40) == NULL);
    free(p);
}

void a_deep_bound_library_has_a_malloc_of_its_own(void) {
    void *library = open_argument(RTLD_NOW | RTLD_DEEPBIND);
    void *(*malloc_of_library)(void) = symbol(library, "malloc_in_use");
    CHECK(malloc_of_library() != (void *)malloc);
}

/* ---- the allocator, opened like any other library ---- */

void the_allocator_can_be_opened_and_closed(void) {
    for (int i = 0; i < 3; i++) {
        void *library = open_argument(RTLD_NOW | RTLD_LOCAL);
        void *(*its_malloc)(size_t) = symbol(library, "malloc");
        void (*its_free)(void *) = symbol(library, "free");
        char *small = its_malloc(100);
        char *large = its_malloc(8 * MIB);
        CHECK(small != NULL && large != NULL);
        CHECK(dlclose(library) == 0);
        fill(small, 100, 1);
        fill(large, 8 * MIB, 2);
        CHECK(is_filled(small, 100, 1) && is_filled(large, 8 * MIB, 2));
        its_free(small);
        its_free(large);
    }
    free(get_touched(8 * MIB));
}

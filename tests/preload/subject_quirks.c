/*
 * subject_quirks.c - what a program did to a part of its block before it freed it: it is of no
 * consequence for the next owner, nor for those that the block lends its pages to.
 */
#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/preload/subject.h"

static void lock_part(char *p, size_t bytes) {
    CHECK(mlock(p, bytes) == 0);
}

static void keep_part_from_children(char *p, size_t bytes) {
    CHECK(madvise(p, bytes, MADV_DONTFORK) == 0);
}

static void wipe_part_for_children(char *p, size_t bytes) {
    CHECK(madvise(p, bytes, MADV_WIPEONFORK) == 0);
}

static void keep_part_on_small_pages(char *p, size_t bytes) {
    CHECK(madvise(p, bytes, MADV_NOHUGEPAGE) == 0);
}

static void protect_part_for_a_while(char *p, size_t bytes) {
    CHECK(mprotect(p, bytes, PROT_READ) == 0);
    CHECK(mprotect(p, bytes, PROT_READ | PROT_WRITE) == 0);
}

static void protect_part_with_a_key(char *p, size_t bytes) {
    CHECK(pkey_mprotect(p, bytes, PROT_READ, -1) == 0);
}

static void read_part_in_order(char *p, size_t bytes) {
    CHECK(madvise(p, bytes, MADV_SEQUENTIAL) == 0);
}

static void read_part_in_no_order(char *p, size_t bytes) {
    CHECK(madvise(p, bytes, MADV_RANDOM) == 0);
}

enum {
    GUARD_INSTALL = 102,
    MPOL_PREFERRED = 1
};

/* Linux 6.13 */
static void guard_part(char *p, size_t bytes) {
    if (madvise(p, bytes, GUARD_INSTALL) != 0) {
        CHECK(errno == EINVAL);
        _exit(FORBIDDEN);
    }
}

/* As libnuma has it, which is not linked here: bare, there is no such function. */
static void bind_part(char *p, size_t bytes) {
    long (*bind)(void *, unsigned long, int, const unsigned long *, unsigned long, unsigned) = NULL;
    void *function = function_named("mbind");
    memcpy(&bind, &function, sizeof bind);
    unsigned long nodes = 1;
    if (bind(p, bytes, MPOL_PREFERRED, &nodes, 8 * sizeof nodes, 0) != 0) {
        CHECK(errno == EPERM || errno == ENOSYS);
        _exit(FORBIDDEN);
    }
}

typedef void quirk(char *p, size_t bytes);

static quirk *quirk_named(const char *name) {
    static const struct {
        const char *name;
        quirk *function;
    } quirks[] = {{"lock", lock_part},
                  {"dontfork", keep_part_from_children},
                  {"wipeonfork", wipe_part_for_children},
                  {"nohugepage", keep_part_on_small_pages},
                  {"protect", protect_part_for_a_while},
                  {"key", protect_part_with_a_key},
                  {"sequential", read_part_in_order},
                  {"random", read_part_in_no_order},
                  {"guard", guard_part},
                  {"bind", bind_part}};
    for (size_t i = 0; i < sizeof quirks / sizeof *quirks; i++) {
        if (strcmp(quirks[i].name, name) == 0) {
            return quirks[i].function;
        }
    }
    CHECK(false);
    return NULL;
}

static char *others[12];

static void take_others(void) {
    for (size_t i = 0; i < 12; i++) {
        size_t bytes = (i + 1) * 5 * MIB / 2;
        others[i] = i % 2 == 0 ? calloc(1, bytes) : malloc(bytes);
        CHECK(others[i] != NULL && (i % 2 != 0 || is_zero(others[i], bytes)));
        others[i] = realloc(others[i], bytes + 3 * MIB);
        CHECK(others[i] != NULL);
        fill(others[i], bytes + 3 * MIB, i);
    }
}

static void check_others(void) {
    for (size_t i = 0; i < 12; i++) {
        CHECK(is_filled(others[i], (i + 1) * 5 * MIB / 2 + 3 * MIB, i));
    }
}

static void free_others(void) {
    for (int i = 0; i < 12; i++) {
        free(others[i]);
    }
}

/* The first argument is what it did. */
void a_quirk_of_a_former_owner_does_no_harm(void) {
    quirk *apply = quirk_named(subject_arguments[0]);
    for (size_t n = 0; n < 10; n++) {
        char *p = get(40 * MIB);
        memset(p, 0xff, 40 * MIB);
        apply(p + n * 3 * MIB / 2, 4 * MIB + n * 3 * PAGE);
        free(p);
        take_others();
        check_others();
        free_others();
        if (n % 3 == 2) {
            (void)malloc_trim(0);
        }
    }
}

static char *reused;

static void check_reused(void) {
    CHECK(is_filled(reused, 40 * MIB, 1));
}

/* Memory that its former owner kept from children is the next owner's to share with them: the block
 * itself, as it was or after a rest, and those that it lent its pages to. */
void a_quirk_of_a_former_owner_does_not_reach_children(void) {
    quirk *apply = quirk_named(subject_arguments[0]);
    for (int n = 0; n < 3; n++) {
        char *p = get_touched(40 * MIB);
        apply(p + 6 * MIB, 8 * MIB);
        free(p);
        if (n == 1) {
            (void)malloc_trim(0);
        }
        if (n == 2) {
            take_others();
            CHECK(in_child(check_others) == 0);
            free_others();
        }
        reused = get(40 * MIB);
        fill(reused, 40 * MIB, 1);
        CHECK(in_child(check_reused) == 0);
        check_reused();
        free(reused);
    }
}

/* So many mappings have a part of the range. */
static size_t mappings_of(const char *p, size_t bytes) {
    FILE *maps = fopen("/proc/self/maps", "r");
    CHECK(maps != NULL);
    size_t count = 0;
    unsigned long start = 0;
    unsigned long end = 0;
    while (fscanf(maps, "%lx-%lx%*[^\n]", &start, &end) == 2) {
        count += start < (uintptr_t)p + bytes && end > (uintptr_t)p;
    }
    (void)fclose(maps);
    return count;
}

/* The first argument is what it did. */
void a_quirk_of_a_former_owner_leaves_no_mappings(void) {
    quirk *apply = quirk_named(subject_arguments[0]);
    char *p = get_touched(40 * MIB);
    CHECK(mappings_of(p, 40 * MIB) == 1);
    apply(p + 6 * MIB, 8 * MIB);
    CHECK(mappings_of(p, 40 * MIB) == 3);
    free(p);
    char *again = get_touched(40 * MIB);
    CHECK(again == p);
    CHECK(mappings_of(p, 40 * MIB) == 1);
    free(p);
}

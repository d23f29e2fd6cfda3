/*
 * subject_quirks.c - what a program did to a part of its block before it freed it: it is of no
 * consequence for the next owner, nor for those that the block lends its pages to.
 */
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

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

typedef void quirk(char *p, size_t bytes);

static quirk *quirk_named(const char *name) {
    static const struct {
        const char *name;
        quirk *function;
    } quirks[] = {{"lock", lock_part},
                  {"dontfork", keep_part_from_children},
                  {"wipeonfork", wipe_part_for_children},
                  {"nohugepage", keep_part_on_small_pages},
                  {"protect", protect_part_for_a_while}};
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

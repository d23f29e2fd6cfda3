/*
 * subject_errors.c - memory errors: each names the pointer and the thread first, and "survived" if
 * it comes so far.
 */
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/preload/subject.h"

static void announce(const void *p) {
    dprintf(STDOUT_FILENO, "pointer=%p\n", p);
    tell("thread", (size_t)gettid());
}

static void survive(void) {
    dprintf(STDOUT_FILENO, "survived=yes\n");
}

void double_free(void) {
    void *p = get_touched(8 * MIB);
    void *again = opaque_pointer(p);
    announce(p);
    free(p);
    free(again);
    survive();
}

void free_inside_a_block(void) {
    char *p = get(8 * MIB);
    announce(p + 5000);
    free(opaque_pointer(p + 5000));
    fill(p, 8 * MIB, 1);
    free(p);
    survive();
}

void free_inside_the_second_granule_of_a_block(void) {
    char *p = get(8 * MIB);
    announce(p + 2 * MIB);
    free(opaque_pointer(p + 2 * MIB));
    free(p);
    survive();
}

void free_inside_a_freed_block(void) {
    char *p = get(8 * MIB);
    char *inside = opaque_pointer(p + 16);
    announce(inside);
    free(p);
    free(inside);
    survive();
}

void free_where_no_block_ever_was(void) {
    char *p = get(8 * MIB);
    announce(p + GIB);
    free(opaque_pointer(p + GIB));
    free(p);
    survive();
}

void realloc_of_a_freed_block(void) {
    void *p = get(8 * MIB);
    void *again = opaque_pointer(p);
    announce(p);
    free(p);
    errno = 0;
    CHECK(realloc(again, 16 * MIB) == NULL && errno != 0);
    survive();
}

void realloc_inside_a_block(void) {
    char *p = get(8 * MIB);
    announce(p + 64);
    CHECK(realloc(opaque_pointer(p + 64), 100) == NULL);
    free(p);
    survive();
}

void usable_size_of_a_freed_block(void) {
    void *p = get(8 * MIB);
    void *again = opaque_pointer(p);
    announce(p);
    free(p);
    CHECK(malloc_usable_size(again) == 0);
    survive();
}

static void *free_twice(void *argument) {
    CHECK(pthread_setname_np(pthread_self(), "worker") == 0);
    double_free();
    return argument;
}

void double_free_in_a_thread(void) {
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, free_twice, NULL) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
}

/* What follows must be as if nothing had happened. */
void errors_do_not_harm_the_pool(void) {
    void *p = get(8 * MIB);
    void *again = opaque_pointer(p);
    free(p);
    free(again);
    char *a = get(8 * MIB);
    char *b = get(8 * MIB);
    CHECK(a != b);
    fill(a, 8 * MIB, 1);
    fill(b, 8 * MIB, 2);
    CHECK(is_filled(a, 8 * MIB, 1));
    free(a);
    free(b);
}

static void *race_to_free(void *block) {
    free(block);
    return NULL;
}

/* Of eight threads that free a block one does, and seven are told. */
void eight_threads_free_one_block(void) {
    pthread_t threads[8];
    void *block = get_touched(8 * MIB);
    for (int i = 0; i < 8; i++) {
        CHECK(pthread_create(&threads[i], NULL, race_to_free, block) == 0);
    }
    for (int i = 0; i < 8; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
    survive();
}

/*
 * size_class.h - the sizes that blocks come in: eight to a doubling. Pure arithmetic.
 *
 *     class   0      1       2     ...   8      9     ...
 *     bytes   64K    72K     80K   ...   128K   144K  ...   (8 + c % 8) << (LG_MIN - 3 + c / 8)
 *
 * A request of n bytes gets the smallest class that holds it, so at most 1/8 of it is slack. Every
 * class is a whole number of pages. Untouched slack costs addresses only.
 */
#ifndef POOL_SIZE_CLASS_H
#define POOL_SIZE_CLASS_H

#include <assert.h>

#include "pool/util.h"

enum {
    SIZE_CLASS_LG_STEPS = 3,
    SIZE_CLASS_STEPS = 1 << SIZE_CLASS_LG_STEPS,
    SIZE_CLASS_LG_MIN = 16,
    SIZE_CLASS_LG_MAX = 47, /* the user half of a 48-bit address space */
    SIZE_CLASSES = (SIZE_CLASS_LG_MAX - SIZE_CLASS_LG_MIN) * SIZE_CLASS_STEPS + 1
};

#define SIZE_CLASS_MIN ((size_t)1 << SIZE_CLASS_LG_MIN)
#define SIZE_CLASS_MAX ((size_t)1 << SIZE_CLASS_LG_MAX)

static_assert((SIZE_CLASS_MIN >> SIZE_CLASS_LG_STEPS) % PAGE == 0, "classes are whole pages");

static inline size_t size_class_bytes(unsigned c) {
    size_t steps = SIZE_CLASS_STEPS + c % SIZE_CLASS_STEPS;
    return steps << (SIZE_CLASS_LG_MIN - SIZE_CLASS_LG_STEPS + c / SIZE_CLASS_STEPS);
}

/* The smallest class of at least `bytes`, which are SIZE_CLASS_MAX at most. */
static inline unsigned size_class_of(size_t bytes) {
    size_t last = size_max(bytes, SIZE_CLASS_MIN) - 1; /* offset of the last byte needed */
    unsigned lg = 63U - (unsigned)__builtin_clzl(last);
    unsigned steps = (unsigned)(last >> (lg - SIZE_CLASS_LG_STEPS)); /* 8 to 15 */
    return (lg + 1 - SIZE_CLASS_LG_MIN) * SIZE_CLASS_STEPS + steps + 1 - 2 * SIZE_CLASS_STEPS;
}

#endif

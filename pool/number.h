/*
 * number.h - decimal digits at the beginning of a text.
 */
#ifndef POOL_NUMBER_H
#define POOL_NUMBER_H

#include "pool/util.h"

/* *n is their value, SIZE_MAX where that is too large for it, and *end what follows them. False, and
 * nothing set: there are none. Pure. */
MUST_CHECK static inline bool number_parse(const char *text, const char **end, size_t *n) {
    size_t sum = 0;
    bool overflows = false;
    const char *p = text;
    for (; *p >= '0' && *p <= '9'; p++) {
        overflows = overflows || __builtin_mul_overflow(sum, (size_t)10, &sum) ||
                    __builtin_add_overflow(sum, (size_t)(*p - '0'), &sum);
    }
    if (p == text) {
        return false;
    }
    *end = p;
    *n = overflows ? SIZE_MAX : sum;
    return true;
}

/* The number that the text begins with; `otherwise` for "max" and all that is none. Pure. */
static inline size_t number_or(const char *text, size_t otherwise) {
    const char *end = NULL;
    size_t n = 0;
    return number_parse(text, &end, &n) ? n : otherwise;
}

#endif

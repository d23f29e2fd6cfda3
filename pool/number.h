/*
 * number.h - digits at the beginning of a text.
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

static inline int number_hex_digit(char c) {
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The same of hexadecimal digits in lower case, of which those beyond 16 are not taken. */
MUST_CHECK static inline bool number_parse_hex(const char *text, const char **end, size_t *n) {
    size_t sum = 0;
    const char *p = text;
    for (; number_hex_digit(*p) >= 0 && p - text < (ptrdiff_t)(2 * sizeof sum); p++) {
        sum = sum << 4 | (size_t)number_hex_digit(*p);
    }
    if (p == text) {
        return false;
    }
    *end = p;
    *n = sum;
    return true;
}

/* The number that the text begins with; `otherwise` for "max" and all that is none. Pure. */
static inline size_t number_or(const char *text, size_t otherwise) {
    const char *end = NULL;
    size_t n = 0;
    return number_parse(text, &end, &n) ? n : otherwise;
}

#endif

/*
 * environment.h - variables of an environment that is handed in: a program may overwrite its own.
 */
#ifndef POOL_ENVIRONMENT_H
#define POOL_ENVIRONMENT_H

#include "pool/util.h"

#include <string.h>

/* The value of name[length]; NULL where it has none. Of two the first counts. Pure. getenv(3). */
static inline const char *environment_value(char *const *environment, const char *name,
                                            size_t length) {
    for (char *const *e = environment; e != NULL && *e != NULL; e++) {
        if (strncmp(*e, name, length) == 0 && (*e)[length] == '=') {
            return *e + length + 1;
        }
    }
    return NULL;
}

#endif

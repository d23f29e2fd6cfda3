/*
 * companion.h - finds libbigmalloc-topology.so, which pool/topology.h describes, beside our own file.
 */
#ifndef INTERPOSE_COMPANION_H
#define INTERPOSE_COMPANION_H

#include "pool/topology.h"

enum {
    COMPANION_WORD = 96 /* room for why there is none */
};

/*
 * What the companion offers, and why is empty; or NULL, and why is a word for the statistics, one line.
 * It stays loaded. To be called once at most, while the library is pass-through, and under no lock: the
 * loader and the libraries that come with the companion call malloc. Preserves errno, is no
 * cancellation point, and forgets an error that dlerror(3) has not told yet, as every dlopen does.
 */
MUST_CHECK const struct topology_companion *companion_load(char why[COMPANION_WORD]);

#endif

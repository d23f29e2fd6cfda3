/* companion_load as in a library, which may lie in any folder: shown to the tests. */
#include "interpose/companion.h"

const struct topology_companion *load(char why[COMPANION_WORD]);

const struct topology_companion *load(char why[COMPANION_WORD]) {
    return companion_load(why);
}

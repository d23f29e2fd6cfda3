/* asker - has companion_load in itself, and says what it says. */
#include <stdio.h>

#include "interpose/companion.h"

int main(void) {
    char why[COMPANION_WORD];
    (void)printf("%s\n", companion_load(why) != NULL ? "loaded" : why);
    return 0;
}

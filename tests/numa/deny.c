/*
 * deny COMMAND [ARGUMENT...] - runs it where every call for memory policies answers EPERM, as in an
 * ordinary container. 77: the kernel cannot be told so; 127: there is no such command.
 */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "tests/numa/refuse.h"

enum {
    CANNOT_DENY = 77,
    NO_COMMAND = 127
};

int main(int argc, char **argv) {
    if (argc < 2) {
        (void)fprintf(stderr, "usage: %s COMMAND [ARGUMENT...]\n", argv[0]);
        return NO_COMMAND;
    }
    if (!refuse_mempolicy(EPERM)) {
        perror("seccomp");
        return CANNOT_DENY;
    }
    (void)execvp(argv[1], argv + 1);
    perror(argv[1]);
    return NO_COMMAND;
}

/*
 * shield.h - what we do inside somebody's malloc, free or signal handler leaves no trace in his thread.
 *
 * Behind the shield files may be opened and lines written: the thread cannot be cancelled there
 * (pthreads(7): open and write are cancellation points, malloc is none), a reader of stderr who has
 * gone does not end the program (SIGPIPE), and errno is what it was. Async-signal-safe.
 */
#ifndef INTERPOSE_SHIELD_H
#define INTERPOSE_SHIELD_H

#include <signal.h>
#include <stdbool.h>

struct shield {
    int saved_errno;
    int cancel_state;
    bool pipe_pending; /* there was a SIGPIPE before, which is not ours to take away */
    sigset_t mask;
};

void shield_raise(struct shield *s);
void shield_lower(const struct shield *s);

#endif

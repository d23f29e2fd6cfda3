#include "interpose/shield.h"

#include <errno.h>
#include <pthread.h>
#include <time.h>

static sigset_t only_sigpipe(void) {
    sigset_t set;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGPIPE);
    return set;
}

static bool is_pending(void) {
    sigset_t pending;
    return sigpending(&pending) == 0 && sigismember(&pending, SIGPIPE) == 1;
}

void shield_raise(struct shield *s) {
    s->saved_errno = errno;
    (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &s->cancel_state);
    sigset_t set = only_sigpipe();
    s->pipe_pending = is_pending();
    (void)pthread_sigmask(SIG_BLOCK, &set, &s->mask);
}

void shield_lower(const struct shield *s) {
    if (!s->pipe_pending && is_pending()) {
        sigset_t set = only_sigpipe();
        const struct timespec at_once = {0};
        (void)sigtimedwait(&set, NULL, &at_once);
    }
    (void)pthread_sigmask(SIG_SETMASK, &s->mask, NULL);
    (void)pthread_setcancelstate(s->cancel_state, NULL);
    errno = s->saved_errno;
}

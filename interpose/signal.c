#include "interpose/signal.h"

#include <signal.h>
#include <stdatomic.h>
#include <string.h>

#include "interpose/dump.h"
#include "interpose/exports.h"
#include "interpose/libc.h"
#include "pool/util.h"

static atomic_int watched;    /* the number, 0 until signal_watch found it at its default */
static atomic_bool installed; /* our handler is there, and the program sees `untouched` */
static struct sigaction untouched;

static void handle(int number) {
    (void)number;
    dump_now();
}

/* On the program's own signal stack where it has one (Go insists), and without EINTR. */
static bool install(int number, struct sigaction *old) {
    struct sigaction ours;
    memset(&ours, 0, sizeof ours);
    ours.sa_handler = handle;
    ours.sa_flags = SA_RESTART | SA_ONSTACK;
    if (libc_next()->sigaction(number, &ours, old) != 0) {
        return false;
    }
    atomic_store(&installed, true);
    return true;
}

static bool is_default(const struct sigaction *action) {
    return (action->sa_flags & SA_SIGINFO) == 0 && action->sa_handler == SIG_DFL;
}

void signal_watch(int number) {
    if (number == 0 || libc_next()->sigaction(number, NULL, &untouched) != 0 ||
        !is_default(&untouched)) {
        return;
    }
    if (install(number, NULL)) {
        atomic_store(&watched, number);
    }
}

/* The program sets, or asks for, the watched signal while our handler is there. */
static int replace_ours(int number, const struct sigaction *action, struct sigaction *old) {
    if (action != NULL && !is_default(action)) {
        atomic_store(&installed, false);
        if (libc_next()->sigaction(number, action, NULL) != 0) {
            atomic_store(&installed, true);
            return -1;
        }
    }
    if (old != NULL) {
        *old = untouched;
    }
    return 0;
}

EXPORT int sigaction(int number, const struct sigaction *restrict action,
                     struct sigaction *restrict old) {
    if (number == 0 || number != atomic_load(&watched)) {
        return libc_next()->sigaction(number, action, old);
    }
    if (atomic_load(&installed)) {
        return replace_ours(number, action, old);
    }
    if (action != NULL && is_default(action)) {
        return install(number, old) ? 0 : -1;
    }
    return libc_next()->sigaction(number, action, old);
}

EXPORT sighandler_t signal(int number, sighandler_t handler) {
    if (number == 0 || number != atomic_load(&watched)) {
        return libc_next()->signal(number, handler);
    }
    struct sigaction action;
    struct sigaction old;
    memset(&action, 0, sizeof action);
    action.sa_handler = handler;
    action.sa_flags = SA_RESTART;
    (void)sigaddset(&action.sa_mask, number);
    return sigaction(number, &action, &old) == 0 ? old.sa_handler : SIG_ERR;
}

#include "interpose/signal.h"

#include <signal.h>
#include <stdatomic.h>
#include <string.h>

#include "interpose/dump.h"
#include "interpose/exports.h"
#include "interpose/libc.h"
#include "pool/live.h"
#include "pool/util.h"

static atomic_int watched;    /* the number, 0 until signal_watch found it at its default */
static atomic_bool installed; /* our handler is there, and the program sees `untouched` */
static struct sigaction untouched;

/* And tells those who would send the signal. */
static void set_installed(bool is_installed) {
    atomic_store(&installed, is_installed);
    live_note_signal(is_installed ? atomic_load(&watched) : 0);
}

static void handle(int number) {
    (void)number;
    dump_now();
}

/* On the program's own signal stack where it has one (Go insists), and with as little EINTR as can
 * be (signal(7) lists the calls that SA_RESTART does not cover). */
static bool install(int number, struct sigaction *old) {
    struct sigaction ours;
    memset(&ours, 0, sizeof ours);
    ours.sa_handler = handle;
    ours.sa_flags = SA_RESTART | SA_ONSTACK;
    if (libc_next()->sigaction(number, &ours, old) != 0) {
        return false;
    }
    set_installed(true);
    return true;
}

static bool is_default(const struct sigaction *action) {
    return (action->sa_flags & SA_SIGINFO) == 0 && action->sa_handler == SIG_DFL;
}

/* `watched` comes first: another thread that sets its handler now must find us told. */
void signal_watch(int number) {
    struct sigaction found;
    if (number == 0 || libc_next()->sigaction(number, NULL, &found) != 0 || !is_default(&found)) {
        return;
    }
    untouched = found;
    atomic_store(&watched, number);
    if (install(number, &found) && !is_default(&found)) {
        set_installed(false);
        (void)libc_next()->sigaction(number, &found, NULL);
    }
}

/* The program sets, or asks for, the watched signal while our handler is there. */
static int replace_ours(int number, const struct sigaction *action, struct sigaction *old) {
    if (action != NULL && !is_default(action)) {
        set_installed(false);
        if (libc_next()->sigaction(number, action, NULL) != 0) {
            set_installed(true);
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

/* libc's own function sets what is not the default: siginterrupt(3) has a say in it. */
EXPORT sighandler_t signal(int number, sighandler_t handler) {
    bool ours = number != 0 && number == atomic_load(&watched);
    if (!ours || (handler != SIG_DFL && !atomic_load(&installed))) {
        return libc_next()->signal(number, handler);
    }
    if (handler != SIG_DFL) {
        set_installed(false);
        bool refused = libc_next()->signal(number, handler) == SIG_ERR;
        set_installed(refused);
        return refused ? SIG_ERR : SIG_DFL;
    }
    struct sigaction action;
    struct sigaction old;
    memset(&action, 0, sizeof action);
    action.sa_handler = SIG_DFL;
    return sigaction(number, &action, &old) == 0 ? old.sa_handler : SIG_ERR;
}

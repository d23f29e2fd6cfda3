#include "interpose/dump.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "interpose/exports.h"
#include "interpose/libc.h"
#include "interpose/life.h"
#include "interpose/shield.h"
#include "pool/report.h"
#include "pool/writer.h"

typedef void format(struct writer *w, const struct report *r);

enum {
    COMMAND_BYTES = 16,
    PATH_BYTES = PATTERN_BYTES + 64
};

/* Less than this is not worth a word that nobody asked for: sort, xz, ld and git get that far. */
static const size_t WORTH_A_WORD = 64 * MIB;

static _Atomic size_t sequence;
static atomic_flag ended = ATOMIC_FLAG_INIT;

static void write_report(int fd, format *how, const struct report *r) {
    char room[WRITER_LINE];
    struct writer w = writer_to(fd, room, sizeof room);
    how(&w, r);
    writer_flush(&w);
}

static void complain(const char *path) {
    char room[WRITER_LINE];
    struct writer w = writer_to(STDERR_FILENO, room, sizeof room);
    write_text(&w, "bigmalloc: BIGMALLOC_STATS_FILE: cannot write ");
    write_text(&w, path);
    write_text(&w, ", using stderr\n");
    writer_flush(&w);
}

static bool to_stderr(void) {
    return strcmp(life_options.stats_file.text, "-") == 0;
}

/* The file that the pattern names. Negative, and said so, where it cannot be written. */
static int open_file(size_t pid) {
    char path[PATH_BYTES] = "";
    struct dump_name name = {
        .pid = pid, .sequence = atomic_fetch_add(&sequence, 1), .forked = life_is_forked()};
    int fd = -1;
    if (pattern_expand(&life_options.stats_file, name, path, sizeof path)) {
        fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY, 0644);
    }
    if (fd < 0) {
        complain(path);
    }
    return fd;
}

static void dump(format *how, const struct report *r) {
    int fd = to_stderr() ? -1 : open_file(r->pid);
    write_report(fd < 0 ? STDERR_FILENO : fd, how, r);
    if (fd >= 0) {
        (void)close(fd);
    }
}

/* The name of the thread, which is the program's for its first one. PR_GET_NAME(2const). */
static struct report make_report(char command[COMMAND_BYTES]) {
    (void)prctl(PR_GET_NAME, command);
    return (struct report){.pools = life_host.pools,
                           .pool_count = HOST_NODES,
                           .command = command,
                           .pid = (size_t)getpid()};
}

/* How to speak at exit; NULL: not at all. */
static format *format_at_exit(const struct totals *t) {
    switch (life_options.stats) {
    case STATS_OFF: return NULL;
    case STATS_ALWAYS: return report_text;
    case STATS_TEXT: return t->requests > 0 ? report_text : NULL;
    case STATS_JSON: return t->requests > 0 ? report_json : NULL;
    case STATS_AUTO: break;
    }
    if (!to_stderr()) {
        return t->requests > 0 ? report_text : NULL;
    }
    return t->requested_bytes >= WORTH_A_WORD && !life_is_forked() ? report_brief : NULL;
}

/* Lets `tell` have a report, and leaves no trace in the thread. */
static void with_report(void (*tell)(const struct report *r)) {
    struct shield shield;
    shield_raise(&shield);
    char command[COMMAND_BYTES] = "";
    struct report r = make_report(command);
    tell(&r);
    shield_lower(&shield);
}

static void tell_at_exit(const struct report *r) {
    struct totals t = report_totals(r);
    format *how = format_at_exit(&t);
    if (how != NULL) {
        dump(how, r);
    }
}

static void tell_in_full(const struct report *r) {
    dump(life_options.stats == STATS_JSON ? report_json : report_text, r);
}

static void tell_on_stderr(const struct report *r) {
    write_report(STDERR_FILENO, report_text, r);
}

void dump_at_exit(void) {
    /* Most processes are small: they do not pay for a look at figures that are all zero. */
    if (!life_has_begun() && life_options.stats != STATS_ALWAYS) {
        return;
    }
    /* A child of vfork runs on its parent's memory: nothing here is its own. */
    if (!life_is_owner() || atomic_flag_test_and_set(&ended)) {
        return;
    }
    with_report(tell_at_exit);
}

void dump_now(void) {
    with_report(tell_in_full);
}

void dump_to_stderr(void) {
    with_report(tell_on_stderr);
}

/* ---- the ends of a process that no destructor sees ---- */

EXPORT void _exit(int status) {
    dump_at_exit();
    libc_next()->exit_now(status);
    __builtin_unreachable();
}

EXPORT void _Exit(int status) {
    _exit(status);
}

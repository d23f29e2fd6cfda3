#include "interpose/dump.h"

#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cuda_hooks/cuda_hooks.h"
#include "interpose/exports.h"

#include "interpose/libc.h"
#include "interpose/life.h"
#include "interpose/shield.h"
#include "interpose/warm.h"
#include "pool/clock.h"
#include "pool/report.h"
#include "pool/residence.h"
#include "pool/whole_file.h"

#include "pool/writer.h"

typedef void format(struct writer *w, const struct report *r);

enum {
    PATH_BYTES = PATTERN_BYTES + 64
};

/* Less than this is not worth a word that nobody asked for: sort, xz, ld and git get that far. */
static const size_t WORTH_A_WORD = 64 * MIB;

static _Atomic size_t sequence;
static atomic_flag ended = ATOMIC_FLAG_INIT;

/* False: fd did not take all of it. */
static bool write_report(int fd, format *how, const struct report *r) {
    char room[WRITER_LINE];
    struct writer w = writer_to(fd, room, sizeof room);
    how(&w, r);
    writer_flush(&w);
    return !w.failed;
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
    return pattern_is_dash(&life_options.stats_file);
}

/* Whoever collects metrics is another user than the program's, whatever its mask. */
static void let_all_read(int fd) {
    (void)fchmod(fd, 0644);
}

/* To the file that the pattern names. False, and said so: it cannot be written. */
static bool dump_to_file(format *how, const struct report *r) {
    char path[PATH_BYTES] = "";
    struct dump_name name = {.pid = r->identity->pid,
                             .sequence = atomic_fetch_add(&sequence, 1),
                             .forked = life_is_forked()};
    struct whole_file file;
    bool written = false;
    if (pattern_expand(&life_options.stats_file, name, path, sizeof path) &&
        whole_file_open(&file, path, name.sequence)) {
        if (how == report_prom) {
            let_all_read(file.fd);
        }
        written = whole_file_close(&file, write_report(file.fd, how, r));
    }
    if (!written) {
        complain(path);
    }
    return written;
}

static void dump(format *how, const struct report *r) {
    if (to_stderr() || !dump_to_file(how, r)) {
        (void)write_report(STDERR_FILENO, how, r);
    }
}

static const struct pool *next_of_all(size_t *cursor) {
    return life_next_pool(cursor);
}

static struct report make_report(struct figure figures[CUDA_FIGURES],
                                 const struct identity *identity,
                                 const struct residence *residence) {
    return (struct report){.next = next_of_all,
                           .figures = figures,
                           .figure_count = cuda_hooks_figures(figures),
                           .identity = identity,
                           .time_unix_us = clock_unix_us(),
                           .placement = &life_host.placement,
                           .bind_error = host_bind_error(&life_host),
                           .residence = residence};
}

/* How to speak at exit; NULL: not at all. */
static format *format_at_exit(const struct report *r) {
    struct totals t = report_totals(r);
    switch (life_options.stats) {
    case STATS_OFF: return NULL;
    case STATS_ALWAYS: return report_text;
    case STATS_TEXT: return t.requests > 0 ? report_text : NULL;
    case STATS_JSON: return t.requests > 0 ? report_json : NULL;
    case STATS_PROM: return t.requests > 0 ? report_prom : NULL;
    case STATS_AUTO: break;
    }
    if (!to_stderr()) {
        return t.requests > 0 ? report_text : NULL;
    }
    return t.requested_bytes >= WORTH_A_WORD && !life_is_forked() ? report_brief : NULL;
}

static format *format_on_request(const struct report *r) {
    (void)r;
    return life_options.stats == STATS_JSON   ? report_json
           : life_options.stats == STATS_PROM ? report_prom
                                              : report_text;
}

static format *format_for_reading(const struct report *r) {
    (void)r;
    return report_text;
}

/* Sends a report as `choose` wants it, and leaves no trace in the thread. Where memory lies is asked only
 * for those who are told. */
static void tell(format *(*choose)(const struct report *r),
                 void (*send)(format *how, const struct report *r)) {
    struct shield shield;
    shield_raise(&shield);
    struct figure figures[CUDA_FIGURES];
    struct identity identity;
    struct residence residence = {.measured_by = "nothing"};
    struct report r = make_report(figures, &identity, &residence);
    format *how = choose(&r);
    if (how != NULL) {
        identity_read(&identity);
        if (how != report_brief) {
            residence_measure(&residence, &life_host);
        }
        send(how, &r);
    }
    shield_lower(&shield);
}

static void send_to_stderr(format *how, const struct report *r) {
    (void)write_report(STDERR_FILENO, how, r);
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
    tell(format_at_exit, dump);
    struct shield shield;
    shield_raise(&shield);
    warm_at_exit();
    shield_lower(&shield);
}

void dump_now(void) {
    tell(format_on_request, dump);
}

void dump_to_stderr(void) {
    tell(format_for_reading, send_to_stderr);
}

/* ---- the ends of a process that no destructor sees ---- */

EXPORT void _exit(int status) {
    life_end();
    libc_next()->exit_now(status);
    __builtin_unreachable();
}

EXPORT void _Exit(int status) {
    _exit(status);
}

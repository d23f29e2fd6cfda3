#include "interpose/warm.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cuda_hooks/cuda_hooks.h"
#include "interpose/life.h"
#include "pool/ahead.h"
#include "pool/profile.h"
#include "pool/text_file.h"
#include "pool/whole_file.h"
#include "pool/writer.h"

enum {
    PATH_BYTES = PATTERN_BYTES + 64
};

/* Less than this is there in no time. A tool that a program starts does not overwrite the program's file. */
static const size_t WORTH_A_FILE = 64 * MIB;

static struct profile expected; /* of the last run, whose pools may take from it to the end */
static struct profile needed;   /* by this one */
static bool is_strange;         /* what the file held was none of ours */

static void complain(const char *what, const char *path, const char *then) {
    char room[WRITER_LINE];
    struct writer w = writer_to(STDERR_FILENO, room, sizeof room);
    write_text(&w, "bigmalloc: BIGMALLOC_PROFILE: ");
    write_text(&w, what);
    write_text(&w, path);
    write_text(&w, then);
    writer_flush(&w);
}

static bool is_wanted(void) {
    return !pattern_is_dash(&life_options.profile);
}

static bool name_file(char path[PATH_BYTES]) {
    struct dump_name name = {.pid = (size_t)getpid()};
    return pattern_expand(&life_options.profile, name, path, PATH_BYTES);
}

/* A FIFO would make us wait for its writer. False: there is no file, or an empty one. */
static bool read_file(const char *path, char text[PROFILE_TEXT]) {
    struct stat found;
    return stat(path, &found) == 0 && S_ISREG(found.st_mode) &&
           text_file_read(path, text, PROFILE_TEXT);
}

/* Is it of this program? */
static bool is_mine(void) {
    struct identity who;
    identity_read(&who);
    return strcmp(who.command, expected.command) == 0;
}

bool warm_start(void) {
    static char text[PROFILE_TEXT];
    char path[PATH_BYTES] = "";
    if (!is_wanted() || !name_file(path) || !read_file(path, text)) {
        return false;
    }
    if (!profile_parse(&expected, text)) {
        is_strange = !profile_is_one(text);
        complain("", path, " is no profile of this version, ignored\n");
        return false;
    }
    if (!is_mine()) {
        return false;
    }
    ahead_expect_on_host(&life_host, &expected);
    cuda_hooks_expect(&expected, life_host.retention.memory_limit);
    return true;
}

/* Devices first: it takes little time. */
bool warm_step(bool has_program_files, uint64_t now_ms) {
    return (has_program_files && cuda_hooks_make_ahead(now_ms)) ||
           ahead_make_on_host(&life_host, now_ms);
}

static void write_file(const char *path) {
    char room[WRITER_LINE];
    struct whole_file file;
    bool written = false;
    if (whole_file_open(&file, path, 0)) {
        struct writer w = writer_to(file.fd, room, sizeof room);
        profile_write(&w, &needed);
        writer_flush(&w);
        written = whole_file_close(&file, !w.failed);
    }
    if (!written) {
        complain("cannot write ", path, "\n");
    }
}

void warm_at_exit(void) {
    char path[PATH_BYTES] = "";
    struct identity who;
    if (!is_wanted() || is_strange || life_is_forked() || !name_file(path)) {
        return;
    }
    identity_read(&who);
    memcpy(needed.command, who.command, sizeof needed.command);
    size_t cursor = 0;
    for (const struct pool *p = life_next_pool(&cursor); p != NULL; p = life_next_pool(&cursor)) {
        ahead_note(p, &needed);
    }
    if (profile_peak(&needed, NULL) >= WORTH_A_FILE) {
        write_file(path);
    }
}

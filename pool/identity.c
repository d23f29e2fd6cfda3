#include "pool/identity.h"

#include <errno.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "pool/environment.h"
#include "pool/number.h"
#include "pool/text_file.h"
#include "pool/writer.h"

enum {
    STAT_BYTES = 512, /* the fields of interest, behind a name of 64 bytes at most */
    STAT_FIELD_BEHIND_NAME = 3,
    STAT_FIELD_START = 22
};

static int32_t rank = IDENTITY_NO_RANK;

/* The name may hold blanks and parentheses: fields are counted from the last one on. */
static size_t start_of(const char *stat) {
    const char *field = strrchr(stat, ')');
    field = field != NULL ? field + 1 : "";
    for (int n = STAT_FIELD_BEHIND_NAME; *field != '\0' && n < STAT_FIELD_START; n++) {
        field += 1 + strcspn(field + 1, " ");
    }
    return *field != '\0' ? number_or(field + 1, 0) : 0;
}

/* False: there is no such process, or it hides. */
static bool read_stat(size_t pid, char text[STAT_BYTES]) {
    char path[32] = "";
    struct writer w = writer_to(-1, path, sizeof path - 1);
    write_text(&w, "/proc/");
    write_number(&w, pid, 0);
    write_text(&w, "/stat");
    return text_file_read(path, text, STAT_BYTES);
}

size_t identity_start_ticks(size_t pid) {
    char text[STAT_BYTES];
    return read_stat(pid, text) ? start_of(text) : 0;
}

/* That of the first thread, which is the program's. Where /proc does not tell it, that of the calling one
 * has to do. PR_GET_NAME(2const). */
static void copy_command(char *command, const char *stat) {
    const char *begin = strchr(stat, '(');
    const char *end = strrchr(stat, ')');
    if (begin == NULL || end == NULL) {
        (void)prctl(PR_GET_NAME, command);
        return;
    }
    memcpy(command, begin + 1, size_min((size_t)(end - begin - 1), IDENTITY_COMMAND_BYTES - 1));
}

static size_t own_pid_ns(void) {
    struct stat s;
    int saved_errno = errno;
    bool found = stat("/proc/self/ns/pid", &s) == 0;
    errno = saved_errno;
    return found ? (size_t)s.st_ino : 0;
}

static void read_boot_id(char *boot_id) {
    char text[IDENTITY_BOOT_BYTES];
    if (text_file_read("/proc/sys/kernel/random/boot_id", text, sizeof text)) {
        memcpy(boot_id, text, strcspn(text, "\n"));
    }
}

static void read_host(char *host) {
    struct utsname name;
    if (uname(&name) == 0) {
        memcpy(host, name.nodename, strnlen(name.nodename, IDENTITY_HOST_BYTES - 1));
    }
}

void identity_read(struct identity *who) {
    char stat[STAT_BYTES] = "";
    *who = (struct identity){.pid = (size_t)getpid(), .rank = rank};
    if (read_stat(who->pid, stat)) {
        who->start_ticks = start_of(stat);
    }
    copy_command(who->command, stat);
    who->pid_ns = own_pid_ns();
    read_boot_id(who->boot_id);
    read_host(who->host);
}

const char *identity_rank_text(char *const *environment) {
    static const char *const names[] = {"RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK", "PMI_RANK"};
    const char *value = NULL;
    for (size_t i = 0; value == NULL && i < sizeof names / sizeof *names; i++) {
        value = environment_value(environment, names[i], strlen(names[i]));
    }
    return value;
}

void identity_load(char *const *environment) {
    const char *text = identity_rank_text(environment);
    size_t n = text != NULL ? number_or(text, SIZE_MAX) : SIZE_MAX;
    rank = n <= INT32_MAX ? (int32_t)n : IDENTITY_NO_RANK;
}

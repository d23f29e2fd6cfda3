/*
 * options.h - what the user may choose: one environment variable each (options.def), of which one stands
 * for several defaults (presets.def).
 *
 * A bad value or an unknown name never stops a program: it is told in one line, which names the
 * variable, the value and what is used instead, and the default holds.
 */
#ifndef POOL_OPTIONS_H
#define POOL_OPTIONS_H

#include "pool/host_backend.h"
#include "pool/placement.h"
#include "pool/pressure.h"
#include "pool/util.h"
#include "pool/writer.h"

enum stats_mode {
    STATS_AUTO,
    STATS_OFF,
    STATS_TEXT,
    STATS_JSON,
    STATS_PROM,
    STATS_ALWAYS
};
enum preset {
    PRESET_NONE,
    PRESET_INFERENCE,
    PRESET_TRAINING,
    PRESET_BATCH,
    PRESETS
};
enum fill_mode {
    CONTENTS_ANY,
    CONTENTS_ZERO,
    CONTENTS_POISON
};
enum error_mode {
    ERROR_ABORT,
    ERROR_REPORT
};
enum device_free_mode {
    DEVICE_FREE_SYNC,
    DEVICE_FREE_QUARANTINE
};
enum meminfo_mode {
    MEMINFO_ADJUSTED,
    MEMINFO_DRIVER
};
enum helper_mode {
    HELPER_AUTO,
    HELPER_OFF
};

enum {
    PATTERN_BYTES = 1024,
};

/* A share of memory: bytes, or per cent of what there is. */
struct share {
    bool is_percent;
    unsigned percent;
    size_t bytes;
};

/* A file name with %p, %n and %% still in it; "-" is stderr. The rest is filled in once, early:
 * a program may overwrite its environment (setproctitle does), and a signal handler may not read it. */
struct pattern {
    char text[PATTERN_BYTES];
};

static inline bool pattern_is_dash(const struct pattern *p) {
    return p->text[0] == '-' && p->text[1] == '\0';
}

typedef bool option_flag;
typedef size_t option_threshold;
typedef struct share option_share;
typedef size_t option_bytes;
typedef uint64_t option_millis; /* NEVER for -1 */
typedef struct pressure_limits option_pressure;
typedef enum helper_mode option_helper;
typedef enum device_free_mode option_device_free;
typedef enum meminfo_mode option_meminfo;
typedef struct numa_choice option_numa;
typedef enum thp_mode option_thp;
typedef enum preset option_preset;
typedef enum fill_mode option_fill;
typedef enum stats_mode option_stats;
typedef struct pattern option_pattern;
typedef int option_signal;
typedef enum error_mode option_on_error;

struct options {
#define OPTION(type, field, name, default_text, values, doc) option_##type field;
#include "pool/options.def"
#undef OPTION
};

/*
 * Sets every option to its default, then to what environment (NULL: empty) says; complaints get
 * lines about what was wrong there. Reads no file but the host's name. Not thread-safe.
 */
void options_load(struct options *o, char *const *environment, struct writer *complaints);

/* The bytes that a share stands for, where there are `whole` bytes. Pure. */
size_t share_bytes(struct share share, size_t whole);

/*
 * Writes the file name of dump number `sequence` of process `pid` into path[size], terminated.
 * The child of a fork gets .pid appended where the pattern has no %p, so that no process overwrites
 * another's file. False: it does not fit. Async-signal-safe.
 */
struct dump_name {
    size_t pid;
    size_t sequence;
    bool forked;
};
MUST_CHECK bool pattern_expand(const struct pattern *p, struct dump_name name, char *path,
                               size_t size);

#endif

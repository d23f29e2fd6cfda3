#include "pool/options.h"

#include <signal.h>
#include <string.h>
#include <sys/utsname.h>

#include "pool/clock.h"
#include "pool/environment.h"
#include "pool/identity.h"
#include "pool/number.h"
#include "pool/size_class.h"

/* ---- words, numbers, sizes ---- */

static bool equal(const char *a, const char *b) {
    return strcmp(a, b) == 0;
}

/* The place of text among the words; false where it is none of them. */
static bool parse_word(const char *text, const char *const *words, unsigned *place) {
    for (unsigned i = 0; words[i] != NULL; i++) {
        if (equal(text, words[i])) {
            *place = i;
            return true;
        }
    }
    return false;
}

/* The power of two that a unit stands for: "", k, m, g, t, each also as kib or kb; -1: no unit. */
static int unit_shift(const char *unit) {
    static const char letters[] = "kmgt";
    if (*unit == '\0') {
        return 0;
    }
    const char *letter = strchr(letters, *unit | ' ');
    const char *rest = unit + 1;
    if (letter == NULL || *letter == '\0') {
        return -1;
    }
    bool known = *rest == '\0' || equal(rest, "b") || equal(rest, "B") || equal(rest, "ib") ||
                 equal(rest, "iB");
    return known ? 10 * (int)(letter - letters + 1) : -1;
}

static bool parse_size(const char *text, size_t *bytes) {
    size_t n = 0;
    const char *unit = NULL;
    if (!number_parse(text, &unit, &n)) {
        return false;
    }
    int shift = unit_shift(unit);
    if (shift < 0 || n > (SIZE_CLASS_MAX >> shift)) {
        return false;
    }
    *bytes = n << shift;
    return true;
}

/* ---- file name patterns ---- */

struct text {
    char *next;
    const char *end; /* the last byte, which the terminator needs */
};

static struct text text_on(char *room, size_t size) {
    *room = '\0';
    return (struct text){.next = room, .end = room + size - 1};
}

static bool append(struct text *t, const char *bytes, size_t length) {
    if (length > (size_t)(t->end - t->next)) {
        return false;
    }
    memcpy(t->next, bytes, length);
    t->next += length;
    *t->next = '\0';
    return true;
}

/* A value put into the pattern: its percent signs are doubled, so that it is not expanded again. */
static bool append_value(struct text *t, const char *value) {
    bool fits = true;
    for (; *value != '\0' && fits; value++) {
        fits = *value == '%' ? append(t, "%%", 2) : append(t, value, 1);
    }
    return fits;
}

/* One conversion; *p is behind the percent sign, and moves on. False: unknown, or no room. */
static bool fill_in(struct text *t, const char **p, char *const *environment) {
    char c = *(*p)++;
    if (c == 'p' || c == 'n' || c == '%') {
        char kept[] = {'%', c};
        return append(t, kept, sizeof kept);
    }
    if (c == 'h') {
        struct utsname name;
        return uname(&name) == 0 && append_value(t, name.nodename);
    }
    if (c == 'r') {
        const char *rank = identity_rank_text(environment);
        return append_value(t, rank != NULL ? rank : "0");
    }
    const char *close = c == 'q' && **p == '{' ? strchr(*p, '}') : NULL;
    if (close == NULL) {
        return false;
    }
    const char *value = environment_value(environment, *p + 1, (size_t)(close - *p - 1));
    *p = close + 1;
    return append_value(t, value != NULL ? value : "");
}

static bool fill_in_all(struct text *t, const char *p, char *const *environment) {
    bool filled = true;
    while (filled && *p != '\0') {
        size_t plain = strcspn(p, "%");
        filled = append(t, p, plain);
        p += plain;
        if (*p == '%' && filled) {
            p++;
            filled = fill_in(t, &p, environment);
        }
    }
    return filled;
}

static bool append_number(struct text *t, size_t n) {
    char room[24];
    struct writer digits = writer_to(-1, room, sizeof room);
    write_number(&digits, n, 0);
    return append(t, digits.text, digits.length);
}

bool pattern_expand(const struct pattern *pattern, struct dump_name name, char *path, size_t size) {
    struct text t = text_on(path, size);
    bool has_pid = false;
    bool fits = true;
    for (const char *p = pattern->text; *p != '\0' && fits; p++) {
        if (*p != '%') {
            fits = append(&t, p, 1);
            continue;
        }
        p++;
        has_pid = has_pid || *p == 'p';
        fits = *p == 'p'   ? append_number(&t, name.pid)
               : *p == 'n' ? append_number(&t, name.sequence)
                           : append(&t, "%", 1);
    }
    if (name.forked && !has_pid) {
        fits = fits && append(&t, ".", 1) && append_number(&t, name.pid);
    }
    return fits;
}

/* ---- one parser for each type of options.def; the field stays as it is on failure ---- */

/* What an option is made from: its text, and for file names the environment around it. */
struct source {
    const char *text;
    char *const *environment;
};

static bool parse_flag(const struct source *s, void *field) {
    static const char *const words[] = {"off", "on", "0", "1", "no", "yes", "false", "true", NULL};
    unsigned place = 0;
    if (!parse_word(s->text, words, &place)) {
        return false;
    }
    *(option_flag *)field = place % 2 == 1;
    return true;
}

static bool parse_threshold(const struct source *s, void *field) {
    size_t bytes = 0;
    if (!parse_size(s->text, &bytes) || bytes < SIZE_CLASS_MIN) {
        return false;
    }
    *(option_threshold *)field = bytes;
    return true;
}

static bool parse_percent(const char *text, size_t *percent) {
    const char *end = NULL;
    return number_parse(text, &end, percent) && equal(end, "%") && *percent <= 100;
}

static bool parse_share(const struct source *s, void *field) {
    size_t n = 0;
    if (parse_percent(s->text, &n)) {
        *(option_share *)field = (struct share){.percent = (unsigned)n, .is_percent = true};
        return true;
    }
    if (!parse_size(s->text, &n)) {
        return false;
    }
    *(option_share *)field = (struct share){.bytes = n};
    return true;
}

static bool parse_bytes(const struct source *s, void *field) {
    return parse_size(s->text, field);
}

static bool parse_millis(const struct source *s, void *field) {
    const char *end = NULL;
    size_t n = 0;
    if (equal(s->text, "-1")) {
        *(option_millis *)field = NEVER;
        return true;
    }
    if (!number_parse(s->text, &end, &n) || *end != '\0' || n == NEVER) {
        return false;
    }
    *(option_millis *)field = n;
    return true;
}

/* The number of "75%" at the beginning of text, and in *end what follows it. */
static bool parse_limit(const char *text, const char **end, unsigned *percent) {
    size_t n = 0;
    if (!number_parse(text, end, &n) || **end != '%' || n < 1 || n > 100) {
        return false;
    }
    (*end)++;
    *percent = (unsigned)n;
    return true;
}

static bool parse_pressure(const struct source *s, void *field) {
    struct pressure_limits limits = {0};
    const char *end = NULL;
    bool both = parse_limit(s->text, &end, &limits.cleanup) && *end == ',' &&
                parse_limit(end + 1, &end, &limits.emergency) && *end == '\0';
    bool valid = both ? limits.cleanup <= limits.emergency : equal(s->text, "off");
    if (valid) {
        *(option_pressure *)field = both ? limits : (struct pressure_limits){0};
    }
    return valid;
}

static bool parse_device_free(const struct source *s, void *field) {
    static const char *const words[] = {"sync", "quarantine", NULL};
    return parse_word(s->text, words, field);
}

static bool parse_meminfo(const struct source *s, void *field) {
    static const char *const words[] = {"adjusted", "driver", NULL};
    return parse_word(s->text, words, field);
}

static bool parse_helper(const struct source *s, void *field) {
    static const char *const words[] = {"auto", "off", NULL};
    return parse_word(s->text, words, field);
}

static bool parse_numa(const struct source *s, void *field) {
    static const char *const words[] = {"auto", "local", "interleave", "off", NULL};
    static const char nodes[] = "nodes:";
    struct numa_choice choice = {.mode = NUMA_NODES};
    unsigned place = 0;
    if (parse_word(s->text, words, &place)) {
        choice.mode = (enum numa_mode)place;
    } else if (strncmp(s->text, nodes, strlen(nodes)) != 0 ||
               !node_set_parse(&choice.nodes, s->text + strlen(nodes))) {
        return false;
    }
    *(option_numa *)field = choice;
    return true;
}

static bool parse_thp(const struct source *s, void *field) {
    static const char *const words[] = {"auto", "on", "off", NULL};
    return parse_word(s->text, words, field);
}

static bool parse_preset(const struct source *s, void *field) {
    static const char *const words[] = {"none", "inference", "training", "batch", NULL};
    return parse_word(s->text, words, field);
}

static bool parse_fill(const struct source *s, void *field) {
    static const char *const words[] = {"none", "zero", "poison", NULL};
    return parse_word(s->text, words, field);
}

static bool parse_stats(const struct source *s, void *field) {
    static const char *const words[] = {"auto", "off", "text", "json", "prom", "always", NULL};
    return parse_word(s->text, words, field);
}

static bool parse_on_error(const struct source *s, void *field) {
    static const char *const words[] = {"abort", "report", NULL};
    return parse_word(s->text, words, field);
}

/* The n of "", "+n" behind RTMIN. */
static bool parse_offset(const char *text, size_t *n) {
    const char *end = text;
    *n = 0;
    return *text == '\0' || (*text == '+' && number_parse(text + 1, &end, n) && *end == '\0');
}

static bool parse_signal(const struct source *s, void *field) {
    static const char *const words[] = {"none", "USR1", "USR2", NULL};
    static const int numbers[] = {0, SIGUSR1, SIGUSR2};
    static const char realtime[] = "RTMIN";
    const char *name = strncmp(s->text, "SIG", 3) == 0 ? s->text + 3 : s->text;
    unsigned place = 0;
    size_t offset = 0;
    if (parse_word(name, words, &place)) {
        *(option_signal *)field = numbers[place];
        return true;
    }
    if (strncmp(name, realtime, strlen(realtime)) != 0 ||
        !parse_offset(name + strlen(realtime), &offset) || offset > (size_t)(SIGRTMAX - SIGRTMIN)) {
        return false;
    }
    *(option_signal *)field = SIGRTMIN + (int)offset;
    return true;
}

static bool parse_pattern(const struct source *s, void *field) {
    struct pattern filled = {""};
    struct text t = text_on(filled.text, sizeof filled.text);
    if (*s->text == '\0' || !fill_in_all(&t, s->text, s->environment)) {
        return false;
    }
    *(option_pattern *)field = filled;
    return true;
}

/* ---- loading ---- */

struct option {
    const char *name;
    const char *default_text;
    size_t offset; /* of the field in struct options */
    bool (*parse)(const struct source *s, void *field);
};

static const struct option table[] = {
#define OPTION(type, field, name, default_text, values, doc) \
    {name, default_text, offsetof(struct options, field), parse_##type},
#include "pool/options.def"
#undef OPTION
};

/* What is to be instead of an option's default; "": the default. */
static const struct {
    const char *name;
    const char *texts[PRESETS];
} presets[] = {
#define PRESET(name, inference, training, batch) {name, {"", inference, training, batch}},
#include "pool/presets.def"
#undef PRESET
};

static const char *default_of(const struct option *option, enum preset preset) {
    const char *text = "";
    for (size_t i = 0; i < sizeof presets / sizeof *presets; i++) {
        text = equal(presets[i].name, option->name) ? presets[i].texts[preset] : text;
    }
    return *text != '\0' ? text : option->default_text;
}

enum {
    OPTIONS = sizeof table / sizeof *table,
    COMPLAINT_COLUMNS = 100
};

static void complain(struct writer *w, const char *variable, const char *default_text) {
    size_t length = strlen(variable);
    write_text(w, "bigmalloc: ");
    write_padded(w, variable, size_min(length, COMPLAINT_COLUMNS));
    write_text(w, length > COMPLAINT_COLUMNS ? "..." : "");
    if (default_text != NULL) {
        write_text(w, ": not a value of this option, using ");
        write_text(w, default_text);
    } else {
        write_text(w, ": no such option, ignored");
    }
    write_char(w, '\n');
}

/* The default holds where the text is none of the option's. */
static void load(struct options *o, const struct option *option, char *const *environment,
                 struct writer *complaints) {
    void *field = (char *)o + option->offset;
    const char *default_text = default_of(option, o->preset);
    struct source source = {.text = default_text, .environment = environment};
    (void)option->parse(&source, field);
    source.text = environment_value(environment, option->name, strlen(option->name));
    if (source.text != NULL && !option->parse(&source, field)) {
        complain(complaints, source.text - strlen(option->name) - 1, default_text);
    }
}

static bool is_known(const char *variable) {
    size_t length = strcspn(variable, "=");
    bool known = false;
    for (size_t i = 0; i < OPTIONS && !known; i++) {
        known = strlen(table[i].name) == length && strncmp(table[i].name, variable, length) == 0;
    }
    return known;
}

void options_load(struct options *o, char *const *environment, struct writer *complaints) {
    static const char prefix[] = "BIGMALLOC_";
    o->preset = PRESET_NONE;
    for (size_t i = 0; i < OPTIONS; i++) {
        load(o, &table[i], environment, complaints);
    }
    for (char *const *e = environment; e != NULL && *e != NULL; e++) {
        if (strncmp(*e, prefix, strlen(prefix)) == 0 && !is_known(*e)) {
            complain(complaints, *e, NULL);
        }
    }
}

size_t share_bytes(struct share share, size_t whole) {
    return share.is_percent ? whole / 100 * share.percent : share.bytes;
}

#include "pool/pressure.h"

#include <string.h>

#include "pool/number.h"

enum {
    PERCENT = 100, /* hundredths */
    STALLED = 10 * PERCENT,
    ALWAYS = 100 * PERCENT
};

/* ---- judging ---- */

unsigned pressure_percent(size_t part, size_t whole) {
    if (part >= whole) {
        return 100;
    }
    /* Of sizes so large that 100 of them overflow, a hundredth is exact enough. */
    size_t percent = part <= SIZE_MAX / 100 ? part * 100 / whole : part / (whole / 100);
    return (unsigned)size_min(percent, 100);
}

static unsigned percent_of(size_t part, size_t whole) {
    return whole != 0 ? pressure_percent(part, whole) : 0;
}

static unsigned machine_percent(const struct pressure_reading *r) {
    unsigned used = percent_of(size_minus(r->total, r->available), r->total);
    unsigned promised = percent_of(r->promised, r->promisable);
    return used > promised ? used : promised;
}

static bool is_emergency(const struct pressure_reading *now, bool max_met,
                         struct pressure_limits limits) {
    return now->group_percent >= limits.emergency || machine_percent(now) >= limits.emergency ||
           (max_met && now->group_percent >= limits.cleanup) || now->stall.full >= STALLED ||
           now->watch_fired;
}

enum pressure_level pressure_judge(const struct pressure_reading *now,
                                   const struct pressure_reading *before,
                                   struct pressure_limits limits) {
    if (limits.cleanup == 0) {
        return PRESSURE_NONE;
    }
    bool max_met = now->max_events > before->max_events;
    bool high_met = now->high_events > before->high_events;
    if (is_emergency(now, max_met, limits)) {
        return PRESSURE_EMERGENCY;
    }
    bool cleanup = now->group_percent >= limits.cleanup || machine_percent(now) >= limits.cleanup ||
                   max_met || high_met || now->stall.some >= STALLED;
    return cleanup ? PRESSURE_CLEANUP : PRESSURE_NONE;
}

/* ---- parsing ---- */

/* What follows `word` at the beginning of text; NULL where that is another one. */
static const char *skip_word(const char *text, const char *word) {
    size_t length = strlen(word);
    return strncmp(text, word, length) == 0 ? text + length : NULL;
}

static const char *next_line(const char *line) {
    line += strcspn(line, "\n");
    return *line == '\n' ? line + 1 : line;
}

static bool ends_value(char c) {
    return c == ' ' || c == '\n';
}

/* "  24684092 kB": the number, in bytes where the unit is kB. */
static size_t field_value(const char *text) {
    const char *end = NULL;
    size_t n = 0;
    if (!number_parse(text + strspn(text, " "), &end, &n) || !ends_value(*end)) {
        return 0;
    }
    size_t unit = skip_word(end, " kB") != NULL ? KIB : 1;
    return n > SIZE_MAX / unit ? SIZE_MAX : n * unit;
}

size_t pressure_parse_field(const char *text, const char *key) {
    for (const char *line = text; *line != '\0'; line = next_line(line)) {
        const char *rest = skip_word(line, key);
        const char *value = rest != NULL && *rest == ':' ? rest + 1 : rest;
        if (value != NULL && *value == ' ') {
            return field_value(value);
        }
    }
    return 0;
}

/* "12.34" in hundredths. */
static unsigned hundredths(const char *text) {
    const char *point = NULL;
    const char *end = NULL;
    size_t whole = 0;
    size_t part = 0;
    bool parsed = number_parse(text, &point, &whole) && *point == '.' &&
                  number_parse(point + 1, &end, &part) && end - point == 3 && ends_value(*end);
    size_t sum = parsed ? size_min(whole, 100) * PERCENT + part : 0;
    return (unsigned)size_min(sum, ALWAYS);
}

struct pressure_stall pressure_parse_stall(const char *text) {
    struct pressure_stall stall = {0};
    for (const char *line = text; *line != '\0'; line = next_line(line)) {
        const char *some = skip_word(line, "some avg10=");
        const char *full = skip_word(line, "full avg10=");
        stall.some = some != NULL ? hundredths(some) : stall.some;
        stall.full = full != NULL ? hundredths(full) : stall.full;
    }
    return stall;
}

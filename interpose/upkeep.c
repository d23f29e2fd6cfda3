#include "interpose/upkeep.h"

#include "interpose/life.h"
#include "interpose/small.h"
#include "pool/pressure_source.h"

/* How long a shortage may go unnoticed: where a cgroup has a limit, processes in it can use up what is
 * left within a second, and the kernel kills without asking for our idle memory first. */
static const uint64_t WATCH_MS = 1000;
static const uint64_t WATCH_LIMITED_MS = 100;

static const struct pressure_watch_config no_watch;
static struct pressure_watch_config watch;

/* What a caller of upkeep_tick reads from, opened by its first tick. */
static struct reader {
    struct pressure_source source;
    struct pressure_reading before;
    bool is_open;
} readers[2];
static struct lock lock; /* of the readers */

void upkeep_load(char *const *environment) {
    pressure_watch_load(&watch, environment);
}

static bool watches(void) {
    return life_options.pressure.cleanup != 0;
}

bool upkeep_has_purpose(void) {
    return watches() || life_options.decay_ms != NEVER;
}

static void open_reader(struct reader *r, enum upkeep_by by) REQUIRES(lock) {
    bool follows = watches() && (by == UPKEEP_HELPER || life_options.helper == HELPER_OFF);
    pressure_open(&r->source, "", follows ? &watch : &no_watch);
    r->is_open = true;
}

/* The first reading has none before it. */
static enum pressure_level read_pressure(enum upkeep_by by, struct pressure_limits limits)
    REQUIRES(lock) {
    struct reader *r = &readers[by];
    struct pressure_reading now = {0};
    bool is_first = !r->is_open;
    if (is_first) {
        open_reader(r, by);
    }
    pressure_read(&r->source, &now);
    enum pressure_level level = pressure_judge(&now, is_first ? &now : &r->before, limits);
    r->before = now;
    return level;
}

/* Also where the user wants nothing to be given back. */
bool upkeep_finds_shortage(enum upkeep_by by) {
    static const struct pressure_limits nearly_full = {.cleanup = 90, .emergency = 95};
    if (!lock_try(&lock)) {
        return false;
    }
    enum pressure_level level = read_pressure(by, watches() ? life_options.pressure : nearly_full);
    lock_release(&lock);
    return level != PRESSURE_NONE;
}

/* jemalloc has no thread that would look for what has aged. */
static void tick_small(enum pressure_level level) {
    if (level == PRESSURE_EMERGENCY) {
        (void)small_purge();
    } else {
        small_decay();
    }
}

static uint64_t watch_ms(const struct reader *r) {
    return watches() && r->before.group_percent != 0 ? WATCH_LIMITED_MS : WATCH_MS;
}

static uint64_t tick(enum upkeep_by by, uint64_t now_ms) REQUIRES(lock) {
    enum pressure_level level =
        watches() ? read_pressure(by, life_options.pressure) : PRESSURE_NONE;
    tick_small(level);
    uint64_t due = host_tick(&life_host, now_ms, level);
    bool is_over = due == NEVER && host_idle_bytes(&life_host) == 0 && small_dirty_pages() == 0;
    return is_over ? NEVER : retention_next_ms(due, watch_ms(&readers[by]), now_ms);
}

uint64_t upkeep_tick(enum upkeep_by by, uint64_t now_ms) {
    if (!lock_try(&lock)) {
        return now_ms + WATCH_MS;
    }
    uint64_t next = tick(by, now_ms);
    lock_release(&lock);
    return next;
}

void upkeep_end(enum upkeep_by by) {
    lock_acquire(&lock);
    if (readers[by].is_open) {
        pressure_close(&readers[by].source);
        readers[by].is_open = false;
    }
    lock_release(&lock);
}

void upkeep_after_fork_in_child(void) UNCHECKED_LOCKING {
    lock_reset(&lock);
    upkeep_end(UPKEEP_PROGRAM);
}

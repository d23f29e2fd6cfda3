#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdlib.h>
#include <string.h>

#include "pool/pressure.h"

/* ---- judging ---- */

static const struct pressure_limits LIMITS = {.cleanup = 75, .emergency = 90};

/* Of two readings that differ as `now` says. */
static enum pressure_level judge(struct pressure_reading now) {
    struct pressure_reading before = {.high_events = 7, .max_events = 7};
    now.high_events += 7;
    now.max_events += 7;
    return pressure_judge(&now, &before, LIMITS);
}

Test(pressure, is_none_where_the_system_tells_nothing) {
    cr_expect(eq(int, judge((struct pressure_reading){0}), PRESSURE_NONE));
}

Test(pressure, follows_what_the_group_uses) {
    static const struct {
        unsigned percent;
        enum pressure_level level;
    } rows[] = {{0, PRESSURE_NONE},     {74, PRESSURE_NONE},      {75, PRESSURE_CLEANUP},
                {89, PRESSURE_CLEANUP}, {90, PRESSURE_EMERGENCY}, {100, PRESSURE_EMERGENCY}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct pressure_reading now = {.group_percent = rows[i].percent};
        cr_expect(eq(int, judge(now), rows[i].level), "%u %%", rows[i].percent);
    }
}

Test(pressure, follows_what_the_machine_uses) {
    static const struct {
        size_t available;
        enum pressure_level level;
    } rows[] = {{1000, PRESSURE_NONE},   {251, PRESSURE_NONE},      {250, PRESSURE_CLEANUP},
                {101, PRESSURE_CLEANUP}, {100, PRESSURE_EMERGENCY}, {0, PRESSURE_EMERGENCY},
                {1001, PRESSURE_NONE}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct pressure_reading now = {.total = 1000, .available = rows[i].available};
        cr_expect(eq(int, judge(now), rows[i].level), "%zu of 1000", rows[i].available);
    }
}

Test(pressure, follows_what_the_machine_has_promised) {
    static const struct {
        size_t promised;
        enum pressure_level level;
    } rows[] = {{0, PRESSURE_NONE},      {749, PRESSURE_NONE},      {750, PRESSURE_CLEANUP},
                {899, PRESSURE_CLEANUP}, {900, PRESSURE_EMERGENCY}, {1001, PRESSURE_EMERGENCY}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct pressure_reading now = {
            .total = 9000, .available = 9000, .promised = rows[i].promised, .promisable = 1000};
        cr_expect(eq(int, judge(now), rows[i].level), "%zu of 1000", rows[i].promised);
    }
}

Test(pressure, is_cleanup_at_least_where_memory_high_was_met) {
    cr_expect(eq(int, judge((struct pressure_reading){.high_events = 1}), PRESSURE_CLEANUP));
    struct pressure_reading full = {.high_events = 1, .group_percent = 95};
    cr_expect(eq(int, judge(full), PRESSURE_EMERGENCY));
}

Test(pressure, is_an_emergency_where_the_limit_was_met_by_more_than_page_cache) {
    static const struct {
        unsigned percent;
        enum pressure_level level;
    } rows[] = {{0, PRESSURE_CLEANUP}, {74, PRESSURE_CLEANUP}, {75, PRESSURE_EMERGENCY}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct pressure_reading now = {.max_events = 1, .group_percent = rows[i].percent};
        cr_expect(eq(int, judge(now), rows[i].level), "%u %%", rows[i].percent);
    }
}

Test(pressure, of_counters_that_stay_or_fall_is_none) {
    struct pressure_reading now = {.high_events = 3, .max_events = 3};
    struct pressure_reading before = now;
    cr_expect(eq(int, pressure_judge(&now, &now, LIMITS), PRESSURE_NONE));
    before.high_events = before.max_events = 4;
    cr_expect(eq(int, pressure_judge(&now, &before, LIMITS), PRESSURE_NONE), "another group");
}

Test(pressure, follows_the_stalls_of_the_last_ten_seconds) {
    static const struct {
        struct pressure_stall stall;
        enum pressure_level level;
    } rows[] = {{{999, 0}, PRESSURE_NONE},       {{1000, 0}, PRESSURE_CLEANUP},
                {{10000, 0}, PRESSURE_CLEANUP},  {{999, 999}, PRESSURE_NONE},
                {{1000, 999}, PRESSURE_CLEANUP}, {{1000, 1000}, PRESSURE_EMERGENCY}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct pressure_reading now = {.stall = rows[i].stall};
        cr_expect(eq(int, judge(now), rows[i].level), "%zu", i);
    }
}

Test(pressure, is_an_emergency_where_the_watch_fired) {
    cr_expect(eq(int, judge((struct pressure_reading){.watch_fired = true}), PRESSURE_EMERGENCY));
}

Test(pressure, is_none_where_it_is_switched_off) {
    struct pressure_reading before = {0};
    struct pressure_reading now = {.group_percent = 100,
                                   .high_events = 1,
                                   .max_events = 1,
                                   .stall = {10000, 10000},
                                   .total = 1,
                                   .watch_fired = true};
    struct pressure_limits off = {0};
    cr_expect(eq(int, pressure_judge(&now, &before, off), PRESSURE_NONE));
}

Test(pressure, of_equal_limits_goes_to_emergency_at_once) {
    struct pressure_limits equal = {.cleanup = 80, .emergency = 80};
    struct pressure_reading now = {.group_percent = 79};
    cr_expect(eq(int, pressure_judge(&now, &now, equal), PRESSURE_NONE));
    now.group_percent = 80;
    cr_expect(eq(int, pressure_judge(&now, &now, equal), PRESSURE_EMERGENCY));
}

Test(pressure, per_cent_are_whole_ones_and_never_wrap) {
    cr_expect(eq(u32, pressure_percent(0, 1000), 0));
    cr_expect(eq(u32, pressure_percent(9, 1000), 0));
    cr_expect(eq(u32, pressure_percent(10, 1000), 1));
    cr_expect(eq(u32, pressure_percent(999, 1000), 99));
    cr_expect(eq(u32, pressure_percent(1000, 1000), 100));
    cr_expect(eq(u32, pressure_percent(5000, 1000), 100));
    cr_expect(eq(u32, pressure_percent(0, 0), 100), "memory.max may be 0");
    cr_expect(eq(u32, pressure_percent(SIZE_MAX / 2, SIZE_MAX), 50));
    cr_expect(eq(u32, pressure_percent(SIZE_MAX / 100, SIZE_MAX), 0));
    cr_expect(eq(u32, pressure_percent(SIZE_MAX - 1, SIZE_MAX), 100));
    cr_expect(eq(u32, pressure_percent(1, 3), 33));
}

/* ---- fields ---- */

static const char STAT_V2[] = "anon 1703936\n"
                              "file 8830976\n"
                              "kernel 1904640\n"
                              "kernel_stack 65536\n"
                              "pagetables 217088\n"
                              "sec_pagetables 0\n"
                              "percpu 1056\n"
                              "sock 0\n"
                              "vmalloc 0\n"
                              "shmem 0\n"
                              "zswap 0\n"
                              "zswapped 0\n"
                              "file_mapped 2433024\n"
                              "file_dirty 0\n"
                              "file_writeback 0\n"
                              "swapcached 0\n"
                              "anon_thp 0\n"
                              "inactive_anon 1654784\n"
                              "active_anon 16384\n"
                              "inactive_file 5750784\n"
                              "active_file 3080192\n"
                              "unevictable 0\n"
                              "slab_reclaimable 1273176\n"
                              "workingset_refault_file 12\n"
                              "pgfault 48127\n";

static const char STAT_V1[] = "cache 12165120\n"
                              "rss 1708032\n"
                              "mapped_file 0\n"
                              "inactive_anon 1564672\n"
                              "active_anon 8192\n"
                              "inactive_file 1024\n"
                              "active_file 5140480\n"
                              "hierarchical_memory_limit 9223372036854771712\n"
                              "total_cache 12165120\n"
                              "total_inactive_anon 1564672\n"
                              "total_inactive_file 7024640\n"
                              "total_active_file 5140480\n"
                              "total_unevictable 0\n";

static const char EVENTS[] = "low 0\n"
                             "high 42\n"
                             "max 17\n"
                             "oom 1\n"
                             "oom_kill 2\n"
                             "oom_group_kill 0\n";

static const char MEMINFO[] = "MemTotal:       24684092 kB\n"
                              "MemFree:        21798808 kB\n"
                              "MemAvailable:   24209268 kB\n"
                              "Buffers:           33348 kB\n"
                              "HugePages_Total:       3\n"
                              "Hugepagesize:       2048 kB\n";

Test(pressure, finds_what_can_be_reclaimed_in_memory_stat) {
    cr_expect(eq(sz, pressure_parse_field(STAT_V2, "inactive_file"), 5750784));
    cr_expect(eq(sz, pressure_parse_field(STAT_V2, "anon"), 1703936), "the first line");
    cr_expect(eq(sz, pressure_parse_field(STAT_V2, "pgfault"), 48127), "the last line");
    cr_expect(eq(sz, pressure_parse_field(STAT_V1, "total_inactive_file"), 7024640));
    cr_expect(eq(sz, pressure_parse_field(STAT_V1, "inactive_file"), 1024));
}

Test(pressure, finds_counters_in_memory_events) {
    cr_expect(eq(sz, pressure_parse_field(EVENTS, "high"), 42));
    cr_expect(eq(sz, pressure_parse_field(EVENTS, "max"), 17));
    cr_expect(eq(sz, pressure_parse_field(EVENTS, "oom"), 1), "not oom_kill");
}

Test(pressure, finds_bytes_in_meminfo) {
    cr_expect(eq(sz, pressure_parse_field(MEMINFO, "MemTotal"), 24684092 * KIB));
    cr_expect(eq(sz, pressure_parse_field(MEMINFO, "MemAvailable"), 24209268 * KIB));
    cr_expect(eq(sz, pressure_parse_field(MEMINFO, "HugePages_Total"), 3), "no unit");
}

Test(pressure, a_key_is_the_whole_first_word_of_a_line) {
    cr_expect(eq(sz, pressure_parse_field(STAT_V2, "file_m"), 0));
    cr_expect(eq(sz, pressure_parse_field(STAT_V2, "ile"), 0));
    cr_expect(eq(sz, pressure_parse_field("maxmax 3\n", "max"), 0));
    cr_expect(eq(sz, pressure_parse_field("max max 3\nmax 4\n", "max"), 0), "the first counts");
    cr_expect(eq(sz, pressure_parse_field("a max 3\nmax 4\n", "max"), 4));
    cr_expect(eq(sz, pressure_parse_field("maximum 3\nmax 4\n", "max"), 4));
    cr_expect(eq(sz, pressure_parse_field("\n\nmax 4\n", "max"), 4));
}

Test(pressure, a_value_that_is_torn_or_none_is_zero) {
    static const char *const texts[] = {"",       "max",     "max ",     "max 4",     "max 4x\n",
                                        "max:",   "max: \n", "max -4\n", "max +4\n",  "max max\n",
                                        "max4\n", "max=4\n", "max\n4\n", "max \n4\n", "max\t4\n"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        cr_expect(eq(sz, pressure_parse_field(texts[i], "max"), 0), "%s", texts[i]);
    }
}

Test(pressure, a_value_too_large_is_the_largest) {
    cr_expect(eq(sz, pressure_parse_field("max 18446744073709551616\n", "max"), SIZE_MAX));
    cr_expect(eq(sz, pressure_parse_field("max 18446744073709551615 kB\n", "max"), SIZE_MAX));
    cr_expect(eq(sz, pressure_parse_field("max 18014398509481984 kB\n", "max"), SIZE_MAX));
    cr_expect(
        eq(sz, pressure_parse_field("max 18014398509481983 kB\n", "max"), 18446744073709550592U));
}

/* ---- stalls ---- */

static struct pressure_stall stall(const char *text) {
    return pressure_parse_stall(text);
}

Test(pressure, finds_the_averages_of_ten_seconds) {
    static const char text[] = "some avg10=12.34 avg60=5.60 avg300=1.07 total=4523891\n"
                               "full avg10=2.05 avg60=0.00 avg300=99.00 total=1201\n";
    cr_expect(eq(u32, stall(text).some, 1234));
    cr_expect(eq(u32, stall(text).full, 205));
}

Test(pressure, finds_one_average_without_the_other) {
    static const char some[] = "some avg10=0.01 avg60=0.00 avg300=0.00 total=1\n";
    static const char full[] = "full avg10=100.00 avg60=0.00 avg300=0.00 total=1\n";
    cr_expect(eq(u32, stall(some).some, 1));
    cr_expect(eq(u32, stall(some).full, 0));
    cr_expect(eq(u32, stall(full).some, 0));
    cr_expect(eq(u32, stall(full).full, 10000));
}

Test(pressure, an_average_that_is_torn_or_none_is_zero) {
    static const char *const texts[] = {
        "",
        "some",
        "some avg10=",
        "some avg10=9",
        "some avg10=99.",
        "some avg10=99.9",
        "some avg10=99.99",
        "some avg10=99.9 avg60=1.00\n",
        "some avg10=99.999 avg60=1.00\n",
        "some avg10=99 avg60=1.00\n",
        "some avg10=-9.99 avg60=1.00\n",
        "some avg10=.99 avg60=1.00\n",
        "some avg10=99.-9 avg60=1.00\n",
        "some avg10=max avg60=1.00\n",
        "some avg60=99.99 total=1\n",
        "awesome avg10=99.99 total=1\n",
        "avg10=99.99 total=1\n",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        cr_expect(eq(u32, stall(texts[i]).some, 0), "%s", texts[i]);
        cr_expect(eq(u32, stall(texts[i]).full, 0), "%s", texts[i]);
    }
}

Test(pressure, an_average_never_wraps) {
    cr_expect(eq(u32, stall("some avg10=18446744073709551616.00 \n").some, 10000));
    cr_expect(eq(u32, stall("some avg10=429496729.60 \n").some, 10000));
}

/* ---- any text ---- */

static void parse(const char *text) {
    static const char *const keys[] = {"high", "max", "inactive_file", "MemTotal"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        (void)pressure_parse_field(text, keys[i]);
    }
    struct pressure_stall s = stall(text);
    cr_assert(le(u32, s.some, 10000));
    cr_assert(le(u32, s.full, 10000));
}

Test(pressure, parsers_never_read_past_the_end_of_their_text) {
    static const char *const texts[] = {STAT_V2, STAT_V1, EVENTS, MEMINFO,
                                        "some avg10=12.34 avg60=5.60\nfull avg10=2.05 avg60=0.0"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        for (size_t length = 0; length <= strlen(texts[i]); length++) {
            char *copy = strndup(texts[i], length); /* a byte too far is the address sanitizer's */
            parse(copy);
            free(copy);
        }
    }
}

Test(pressure, parsers_survive_any_bytes) {
    static const char *const words[] = {"some ",
                                        "full ",
                                        "avg10=",
                                        "max",
                                        "high",
                                        "\n",
                                        " ",
                                        ":",
                                        "99",
                                        ".",
                                        "-",
                                        "kB",
                                        "\xff",
                                        "",
                                        "12.34",
                                        "MemTotal",
                                        "18446744073709551616"};
    unsigned seed = 1;
    for (int round = 0; round < 20000; round++) {
        char text[512] = "";
        for (int i = 0; i < 20; i++) {
            (void)strcat(text, words[(size_t)rand_r(&seed) % (sizeof words / sizeof *words)]);
        }
        char *copy = strdup(text);
        parse(copy);
        free(copy);
    }
}

Test(pressure, a_text_ends_at_its_first_nul) {
    static const char text[] = "low 0\n\0max 4\n";
    cr_expect(eq(sz, pressure_parse_field(text, "max"), 0));
}

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#include "pool/clock.h"
#include "pool/options.h"

static struct options o;
static char complaints[2048];

/* Loads with up to three variables (NULL: no more), and says what it complained about. */
static const char *load(const char *first, const char *second, const char *third) {
    char *environment[] = {(char *)(uintptr_t)first, (char *)(uintptr_t)second,
                           (char *)(uintptr_t)third, NULL};
    struct writer w = {.fd = -1, .text = complaints, .size = sizeof complaints - 1};
    memset(&o, 0xee, sizeof o);
    options_load(&o, environment, &w);
    complaints[w.length] = '\0';
    return complaints;
}

static bool accepts(const char *variable) {
    return *load(variable, NULL, NULL) == '\0';
}

static void expect_defaults(void) {
    cr_expect(o.enabled);
    cr_expect(eq(sz, o.threshold, 1 * MIB));
    cr_expect(o.cache_max.is_percent);
    cr_expect(eq(u32, o.cache_max.percent, 80));
    cr_expect(o.recycle);
    cr_expect(eq(u64, o.decay_ms, 10000));
    cr_expect(eq(u32, o.pressure.cleanup, 75));
    cr_expect(eq(u32, o.pressure.emergency, 90));
    cr_expect(eq(int, o.helper, HELPER_AUTO));
    cr_expect(eq(sz, o.prefault, 0));
    cr_expect(eq(int, o.numa.mode, NUMA_AUTO));
    cr_expect(eq(int, o.thp, THP_AUTO));
    cr_expect(eq(int, o.stats, STATS_AUTO));
    cr_expect(eq(str, o.stats_file.text, "-"));
    cr_expect(eq(int, o.stats_signal, SIGUSR1));
    cr_expect(eq(int, o.on_error, ERROR_ABORT));
}

Test(options, an_empty_environment_gives_the_defaults) {
    cr_expect(eq(str, (char *)load(NULL, NULL, NULL), ""));
    expect_defaults();
}

Test(options, no_environment_at_all_gives_the_defaults) {
    struct writer w = {.fd = -1, .text = complaints, .size = sizeof complaints};
    options_load(&o, NULL, &w);
    cr_expect(eq(sz, w.length, 0));
    expect_defaults();
}

/* A default that its own parser refused would leave the field as it was. */
Test(options, every_default_is_a_value_of_its_option) {
#define OPTION(type, field, name, default_text, values, doc) \
    cr_expect(accepts(name "=" default_text), "%s=%s", name, default_text);
#include "pool/options.def"
#undef OPTION
    expect_defaults();
}

Test(options, every_option_refuses_nonsense_and_keeps_its_default) {
#define OPTION(type, field, name, default_text, values, doc) \
    if (strcmp(#type, "pattern") != 0) { \
        cr_expect(eq(str, (char *)load(name "=?!", NULL, NULL), \
                     (char *)"bigmalloc: " name \
                             "=?!: not a value of this option, using " default_text "\n")); \
        expect_defaults(); \
    }
#include "pool/options.def"
#undef OPTION
}

Test(options, every_option_refuses_an_empty_value) {
#define OPTION(type, field, name, default_text, values, doc) \
    cr_expect(eq(str, (char *)load(name "=", NULL, NULL), \
                 (char *)"bigmalloc: " name "=: not a value of this option, using " default_text \
                         "\n")); \
    expect_defaults();
#include "pool/options.def"
#undef OPTION
}

Test(options, several_set_at_once_do_not_disturb_each_other) {
    cr_expect(eq(str,
                 (char *)load("BIGMALLOC_STATS=json", "BIGMALLOC_STATS_FILE=/x",
                              "BIGMALLOC_STATS_SIGNAL=none"),
                 ""));
    cr_expect(eq(int, o.stats, STATS_JSON));
    cr_expect(eq(str, o.stats_file.text, "/x"));
    cr_expect(eq(int, o.stats_signal, 0));
    cr_expect(eq(sz, o.threshold, 1 * MIB));
}

Test(options, an_unknown_name_is_told_and_changes_nothing) {
    cr_expect(eq(str, (char *)load("BIGMALLOC_SPEED=11", NULL, NULL),
                 "bigmalloc: BIGMALLOC_SPEED=11: no such option, ignored\n"));
    expect_defaults();
}

Test(options, names_that_only_begin_or_end_alike_are_unknown) {
    cr_expect(eq(str, (char *)load("BIGMALLOC_STATSX=off", NULL, NULL),
                 "bigmalloc: BIGMALLOC_STATSX=off: no such option, ignored\n"));
    cr_expect(eq(str, (char *)load("BIGMALLOC_STAT=off", NULL, NULL),
                 "bigmalloc: BIGMALLOC_STAT=off: no such option, ignored\n"));
    cr_expect(eq(str, (char *)load("BIGMALLOC_=off", NULL, NULL),
                 "bigmalloc: BIGMALLOC_=off: no such option, ignored\n"));
    expect_defaults();
}

Test(options, variables_of_others_are_none_of_our_business) {
    cr_expect(
        eq(str, (char *)load("MYBIGMALLOC=off", "bigmalloc_stats=off", "BIGMALLOCX=off"), ""));
    expect_defaults();
}

Test(options, a_variable_without_a_value_is_unknown_or_unset) {
    cr_expect(eq(str, (char *)load("BIGMALLOC_STATS", "BIGMALLOC", "BIGMALLOC_NONE"),
                 "bigmalloc: BIGMALLOC_NONE: no such option, ignored\n"));
    expect_defaults();
}

Test(options, the_first_of_two_equal_names_counts_as_for_getenv) {
    cr_expect(eq(str, (char *)load("BIGMALLOC_STATS=json", "BIGMALLOC_STATS=off", NULL), ""));
    cr_expect(eq(int, o.stats, STATS_JSON));
}

/* ---- flags and words ---- */

Test(options, a_flag_knows_four_words_for_yes_and_four_for_no) {
    static const char *const yes[] = {"on", "1", "yes", "true"};
    static const char *const no[] = {"off", "0", "no", "false"};
    for (int i = 0; i < 4; i++) {
        char variable[32];
        (void)snprintf(variable, sizeof variable, "BIGMALLOC=%s", yes[i]);
        cr_expect(accepts(variable) && o.enabled, "%s", variable);
        (void)snprintf(variable, sizeof variable, "BIGMALLOC=%s", no[i]);
        cr_expect(accepts(variable) && !o.enabled, "%s", variable);
    }
    cr_expect(not(accepts("BIGMALLOC=onn")));
    cr_expect(not(accepts("BIGMALLOC=o")));
    cr_expect(not(accepts("BIGMALLOC=on ")));
}

Test(options, nodes_are_a_word_or_a_list) {
    cr_expect(accepts("BIGMALLOC_NUMA=auto") && o.numa.mode == NUMA_AUTO);
    cr_expect(accepts("BIGMALLOC_NUMA=local") && o.numa.mode == NUMA_LOCAL);
    cr_expect(accepts("BIGMALLOC_NUMA=interleave") && o.numa.mode == NUMA_INTERLEAVE);
    cr_expect(accepts("BIGMALLOC_NUMA=off") && o.numa.mode == NUMA_OFF);
    cr_expect(accepts("BIGMALLOC_NUMA=nodes:0,2-3") && o.numa.mode == NUMA_NODES);
    cr_expect(node_set_has(&o.numa.nodes, 0) && !node_set_has(&o.numa.nodes, 1));
    cr_expect(node_set_has(&o.numa.nodes, 2) && node_set_has(&o.numa.nodes, 3));
    cr_expect(not(accepts("BIGMALLOC_NUMA=nodes")));
    cr_expect(not(accepts("BIGMALLOC_NUMA=nodes:")));
    cr_expect(not(accepts("BIGMALLOC_NUMA=nodes:0,")));
    cr_expect(not(accepts("BIGMALLOC_NUMA=nodes:1024")));
    cr_expect(not(accepts("BIGMALLOC_NUMA=0,2")));
}

Test(options, huge_pages_are_auto_on_or_off) {
    cr_expect(accepts("BIGMALLOC_THP=auto") && o.thp == THP_AUTO);
    cr_expect(accepts("BIGMALLOC_THP=on") && o.thp == THP_ON);
    cr_expect(accepts("BIGMALLOC_THP=off") && o.thp == THP_OFF);
    cr_expect(not(accepts("BIGMALLOC_THP=always")));
}

Test(options, recycling_is_on_or_off) {
    cr_expect(accepts("BIGMALLOC_RECYCLE=on") && o.recycle);
    cr_expect(accepts("BIGMALLOC_RECYCLE=off") && !o.recycle);
    cr_expect(not(accepts("BIGMALLOC_RECYCLE=auto")));
}

Test(options, the_helper_is_auto_or_off) {
    cr_expect(accepts("BIGMALLOC_HELPER=auto") && o.helper == HELPER_AUTO);
    cr_expect(accepts("BIGMALLOC_HELPER=off") && o.helper == HELPER_OFF);
    cr_expect(not(accepts("BIGMALLOC_HELPER=on")));
}

/* ---- presets ---- */

Test(options, a_preset_is_one_of_three_words_or_none) {
    cr_expect(accepts("BIGMALLOC_PRESET=none") && o.preset == PRESET_NONE);
    cr_expect(accepts("BIGMALLOC_PRESET=inference") && o.preset == PRESET_INFERENCE);
    cr_expect(accepts("BIGMALLOC_PRESET=training") && o.preset == PRESET_TRAINING);
    cr_expect(accepts("BIGMALLOC_PRESET=batch") && o.preset == PRESET_BATCH);
    cr_expect(not(accepts("BIGMALLOC_PRESET=speed")));
    cr_expect(eq(int, o.preset, PRESET_NONE));
    expect_defaults();
}

/* The default of a preset that its option's parser refused, or of an option that is none, would be lost. */
Test(options, every_value_of_a_preset_is_a_value_of_its_option) {
#define VALID(name, value) \
    cr_expect(strlen(value) == 0 || accepts(name "=" value), "%s=%s", name, value);
#define PRESET(name, inference, training, batch) \
    VALID(name, inference) VALID(name, training) VALID(name, batch)
#include "pool/presets.def"
#undef PRESET
#undef VALID
}

Test(options, a_preset_changes_defaults) {
    cr_expect(accepts("BIGMALLOC_PRESET=training"));
    cr_expect(eq(u64, o.decay_ms, 60000));
    cr_expect(eq(u32, o.pressure.cleanup, 85));
    cr_expect(eq(sz, o.threshold, 1 * MIB));
    cr_expect(accepts("BIGMALLOC_PRESET=inference"));
    cr_expect(eq(u64, o.decay_ms, 1000));
    cr_expect(accepts("BIGMALLOC_PRESET=batch"));
    cr_expect(eq(u64, o.decay_ms, 250));
    cr_expect(eq(u32, o.pressure.cleanup, 75), "as without a preset");
}

Test(options, a_preset_changes_how_a_program_is_watched) {
    cr_expect(accepts("BIGMALLOC_PRESET=inference"));
    cr_expect(o.stats == STATS_OFF && o.trace_ms == 10000);
    cr_expect(accepts("BIGMALLOC_PRESET=training"));
    cr_expect(o.stats == STATS_AUTO && o.trace_ms == 1000);
    cr_expect(accepts("BIGMALLOC_PRESET=batch"));
    cr_expect(o.stats == STATS_TEXT && o.trace_ms == 10);
    cr_expect(o.live, "top sees all of them");
}

Test(options, what_is_set_counts_before_and_behind_the_preset) {
    cr_expect(eq(str, (char *)load("BIGMALLOC_DECAY_MS=7", "BIGMALLOC_PRESET=training", NULL), ""));
    cr_expect(eq(u64, o.decay_ms, 7));
    cr_expect(eq(str, (char *)load("BIGMALLOC_PRESET=training", "BIGMALLOC_DECAY_MS=7", NULL), ""));
    cr_expect(eq(u64, o.decay_ms, 7));
}

Test(options, what_is_wrong_leaves_what_the_preset_says) {
    cr_expect(eq(str, (char *)load("BIGMALLOC_DECAY_MS=?", "BIGMALLOC_PRESET=training", NULL),
                 "bigmalloc: BIGMALLOC_DECAY_MS=?: not a value of this option, using 60000\n"));
    cr_expect(eq(u64, o.decay_ms, 60000));
}

/* ---- ---- */

Test(options, new_blocks_hold_anything_zeros_or_poison) {
    cr_expect(accepts("BIGMALLOC_FILL=none") && o.fill == CONTENTS_ANY);
    cr_expect(accepts("BIGMALLOC_FILL=zero") && o.fill == CONTENTS_ZERO);
    cr_expect(accepts("BIGMALLOC_FILL=poison") && o.fill == CONTENTS_POISON);
    cr_expect(not(accepts("BIGMALLOC_FILL=junk")));
    cr_expect(not(accepts("BIGMALLOC_FILL=0xd5")));
}

Test(options, statistics_have_six_modes) {
    cr_expect(accepts("BIGMALLOC_STATS=auto") && o.stats == STATS_AUTO);
    cr_expect(accepts("BIGMALLOC_STATS=off") && o.stats == STATS_OFF);
    cr_expect(accepts("BIGMALLOC_STATS=text") && o.stats == STATS_TEXT);
    cr_expect(accepts("BIGMALLOC_STATS=json") && o.stats == STATS_JSON);
    cr_expect(accepts("BIGMALLOC_STATS=prom") && o.stats == STATS_PROM);
    cr_expect(accepts("BIGMALLOC_STATS=always") && o.stats == STATS_ALWAYS);
    cr_expect(not(accepts("BIGMALLOC_STATS=xml")));
}

Test(options, after_an_error_it_aborts_or_reports) {
    cr_expect(accepts("BIGMALLOC_ON_ERROR=abort") && o.on_error == ERROR_ABORT);
    cr_expect(accepts("BIGMALLOC_ON_ERROR=report") && o.on_error == ERROR_REPORT);
    cr_expect(not(accepts("BIGMALLOC_ON_ERROR=ignore")));
}

/* ---- sizes ---- */

Test(options, sizes_are_bytes_or_carry_a_unit) {
    static const struct {
        const char *variable;
        size_t bytes;
    } good[] = {
        {"BIGMALLOC_THRESHOLD=65536", 64 * KIB},    {"BIGMALLOC_THRESHOLD=1000000", 1000000},
        {"BIGMALLOC_THRESHOLD=64k", 64 * KIB},      {"BIGMALLOC_THRESHOLD=64K", 64 * KIB},
        {"BIGMALLOC_THRESHOLD=64kb", 64 * KIB},     {"BIGMALLOC_THRESHOLD=64KB", 64 * KIB},
        {"BIGMALLOC_THRESHOLD=64kib", 64 * KIB},    {"BIGMALLOC_THRESHOLD=64KiB", 64 * KIB},
        {"BIGMALLOC_THRESHOLD=3m", 3 * MIB},        {"BIGMALLOC_THRESHOLD=3MiB", 3 * MIB},
        {"BIGMALLOC_THRESHOLD=2g", 2 * GIB},        {"BIGMALLOC_THRESHOLD=1T", 1 * TIB},
        {"BIGMALLOC_THRESHOLD=128t", 128 * TIB},    {"BIGMALLOC_THRESHOLD=00064k", 64 * KIB},
        {"BIGMALLOC_THRESHOLD=131072K", 128 * MIB},
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        cr_expect(accepts(good[i].variable), "%s", good[i].variable);
        cr_expect(eq(sz, o.threshold, good[i].bytes), "%s", good[i].variable);
    }
}

Test(options, sizes_refuse_what_is_none) {
    static const char *const bad[] = {
        "BIGMALLOC_THRESHOLD=m",
        "BIGMALLOC_THRESHOLD=-1m",
        "BIGMALLOC_THRESHOLD=+1m",
        "BIGMALLOC_THRESHOLD= 1m",
        "BIGMALLOC_THRESHOLD=1m ",
        "BIGMALLOC_THRESHOLD=1 m",
        "BIGMALLOC_THRESHOLD=1.5m",
        "BIGMALLOC_THRESHOLD=1p",
        "BIGMALLOC_THRESHOLD=1x",
        "BIGMALLOC_THRESHOLD=1mm",
        "BIGMALLOC_THRESHOLD=1mi",
        "BIGMALLOC_THRESHOLD=1mibb",
        "BIGMALLOC_THRESHOLD=1ib",
        "BIGMALLOC_THRESHOLD=0x10000",
        "BIGMALLOC_THRESHOLD=1,5m",
        "BIGMALLOC_THRESHOLD=80%",
        "BIGMALLOC_THRESHOLD=\xff",
        "BIGMALLOC_THRESHOLD=1m\n",
        "BIGMALLOC_THRESHOLD=1048576k\x0b",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cr_expect(not(accepts(bad[i])), "%s", bad[i]);
        cr_expect(eq(sz, o.threshold, 1 * MIB), "%s", bad[i]);
    }
}

Test(options, sizes_beyond_the_address_space_are_refused_and_never_wrap) {
    cr_expect(not(accepts("BIGMALLOC_THRESHOLD=129t")));
    cr_expect(not(accepts("BIGMALLOC_THRESHOLD=16777216t")), "2^64");
    cr_expect(not(accepts("BIGMALLOC_THRESHOLD=16777217t")), "2^64 + 1 TiB");
    cr_expect(not(accepts("BIGMALLOC_THRESHOLD=18446744073709551615")));
    cr_expect(not(accepts("BIGMALLOC_THRESHOLD=18446744073709551616")));
    cr_expect(not(accepts("BIGMALLOC_THRESHOLD=18446744073709617152")), "2^64 + 64 KiB");
    cr_expect(not(accepts("BIGMALLOC_THRESHOLD=99999999999999999999999999999999")));
}

Test(options, the_threshold_is_64_kib_at_least) {
    cr_expect(accepts("BIGMALLOC_THRESHOLD=64k"));
    cr_expect(not(accepts("BIGMALLOC_THRESHOLD=65535")));
    cr_expect(not(accepts("BIGMALLOC_THRESHOLD=63k")));
    cr_expect(not(accepts("BIGMALLOC_THRESHOLD=0")));
}

Test(options, the_cache_is_bounded_by_bytes_or_by_per_cent) {
    cr_expect(accepts("BIGMALLOC_CACHE_MAX=8g"));
    cr_expect(not(o.cache_max.is_percent));
    cr_expect(eq(sz, o.cache_max.bytes, 8 * GIB));
    cr_expect(accepts("BIGMALLOC_CACHE_MAX=50%"));
    cr_expect(o.cache_max.is_percent);
    cr_expect(eq(u32, o.cache_max.percent, 50));
    cr_expect(accepts("BIGMALLOC_CACHE_MAX=0"));
    cr_expect(eq(sz, o.cache_max.bytes, 0));
    cr_expect(accepts("BIGMALLOC_CACHE_MAX=0%"));
    cr_expect(eq(u32, o.cache_max.percent, 0));
    cr_expect(accepts("BIGMALLOC_CACHE_MAX=100%"));
    cr_expect(eq(u32, o.cache_max.percent, 100));
}

Test(options, per_cent_above_a_hundred_or_of_nothing_are_refused) {
    cr_expect(not(accepts("BIGMALLOC_CACHE_MAX=101%")));
    cr_expect(not(accepts("BIGMALLOC_CACHE_MAX=4294967297%")), "2^32 + 1");
    cr_expect(not(accepts("BIGMALLOC_CACHE_MAX=%")));
    cr_expect(not(accepts("BIGMALLOC_CACHE_MAX=-5%")));
    cr_expect(not(accepts("BIGMALLOC_CACHE_MAX=50%%")));
    cr_expect(not(accepts("BIGMALLOC_CACHE_MAX=50% ")));
    cr_expect(not(accepts("BIGMALLOC_CACHE_MAX=12.5%")));
    expect_defaults();
}

Test(options, a_share_is_so_many_bytes_of_the_whole) {
    struct share half = {.is_percent = true, .percent = 50};
    struct share all = {.is_percent = true, .percent = 100};
    struct share none = {.is_percent = true, .percent = 0};
    struct share fixed = {.bytes = 3 * MIB};
    cr_expect(eq(sz, share_bytes(half, 1000), 500));
    cr_expect(eq(sz, share_bytes(all, 1000), 1000));
    cr_expect(eq(sz, share_bytes(none, 1000), 0));
    cr_expect(eq(sz, share_bytes(fixed, 1000), 3 * MIB));
    cr_expect(eq(sz, share_bytes(half, 0), 0));
    cr_expect(eq(sz, share_bytes(all, SIZE_MAX), 18446744073709551600U), "no overflow");
}

Test(options, memory_made_resident_is_a_size) {
    cr_expect(accepts("BIGMALLOC_PREFAULT=0"));
    cr_expect(eq(sz, o.prefault, 0));
    cr_expect(accepts("BIGMALLOC_PREFAULT=2g"));
    cr_expect(eq(sz, o.prefault, 2 * GIB));
    cr_expect(not(accepts("BIGMALLOC_PREFAULT=50%")));
    cr_expect(not(accepts("BIGMALLOC_PREFAULT=-1")));
    expect_defaults();
}

/* ---- decay and pressure ---- */

Test(options, decay_takes_milliseconds_or_never) {
    cr_expect(accepts("BIGMALLOC_DECAY_MS=0"));
    cr_expect(eq(u64, o.decay_ms, 0));
    cr_expect(accepts("BIGMALLOC_DECAY_MS=2500"));
    cr_expect(eq(u64, o.decay_ms, 2500));
    cr_expect(accepts("BIGMALLOC_DECAY_MS=-1"));
    cr_expect(eq(u64, o.decay_ms, NEVER));
    cr_expect(accepts("BIGMALLOC_DECAY_MS=18446744073709551614"));
    cr_expect(eq(u64, o.decay_ms, 18446744073709551614U));
}

Test(options, decay_refuses_what_is_no_time) {
    static const char *const bad[] = {
        "BIGMALLOC_DECAY_MS=-2",
        "BIGMALLOC_DECAY_MS=-",
        "BIGMALLOC_DECAY_MS=-10",
        "BIGMALLOC_DECAY_MS=+1",
        "BIGMALLOC_DECAY_MS=10s",
        "BIGMALLOC_DECAY_MS=1.5",
        "BIGMALLOC_DECAY_MS= 1",
        "BIGMALLOC_DECAY_MS=1 ",
        "BIGMALLOC_DECAY_MS=never",
        "BIGMALLOC_DECAY_MS=-1 ",
        "BIGMALLOC_DECAY_MS=18446744073709551615",
        "BIGMALLOC_DECAY_MS=18446744073709551616",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cr_expect(not(accepts(bad[i])), "%s", bad[i]);
        cr_expect(eq(u64, o.decay_ms, 10000), "%s", bad[i]);
    }
}

Test(options, pressure_has_two_limits_in_order) {
    cr_expect(accepts("BIGMALLOC_PRESSURE=50%,60%"));
    cr_expect(eq(u32, o.pressure.cleanup, 50));
    cr_expect(eq(u32, o.pressure.emergency, 60));
    cr_expect(accepts("BIGMALLOC_PRESSURE=1%,1%"));
    cr_expect(eq(u32, o.pressure.emergency, 1));
    cr_expect(accepts("BIGMALLOC_PRESSURE=100%,100%"));
    cr_expect(eq(u32, o.pressure.cleanup, 100));
}

Test(options, pressure_may_be_off) {
    cr_expect(accepts("BIGMALLOC_PRESSURE=off"));
    cr_expect(eq(u32, o.pressure.cleanup, 0));
    cr_expect(eq(u32, o.pressure.emergency, 0));
}

Test(options, pressure_refuses_all_but_two_per_cent_in_order) {
    static const char *const bad[] = {
        "BIGMALLOC_PRESSURE=75%",         "BIGMALLOC_PRESSURE=75%,",
        "BIGMALLOC_PRESSURE=,90%",        "BIGMALLOC_PRESSURE=75,90",
        "BIGMALLOC_PRESSURE=75%,90",      "BIGMALLOC_PRESSURE=75%90%",
        "BIGMALLOC_PRESSURE=90%,75%",     "BIGMALLOC_PRESSURE=0%,90%",
        "BIGMALLOC_PRESSURE=0%,0%",       "BIGMALLOC_PRESSURE=75%,101%",
        "BIGMALLOC_PRESSURE=75%,90%,95%", "BIGMALLOC_PRESSURE=75%, 90%",
        "BIGMALLOC_PRESSURE=-75%,90%",    "BIGMALLOC_PRESSURE=4294967371%,90%",
        "BIGMALLOC_PRESSURE=on",          "BIGMALLOC_PRESSURE=offf",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cr_expect(not(accepts(bad[i])), "%s", bad[i]);
        expect_defaults();
    }
}

/* ---- signals ---- */

Test(options, signals_have_names_with_and_without_sig) {
    cr_expect(accepts("BIGMALLOC_STATS_SIGNAL=USR1") && o.stats_signal == SIGUSR1);
    cr_expect(accepts("BIGMALLOC_STATS_SIGNAL=USR2") && o.stats_signal == SIGUSR2);
    cr_expect(accepts("BIGMALLOC_STATS_SIGNAL=SIGUSR2") && o.stats_signal == SIGUSR2);
    cr_expect(accepts("BIGMALLOC_STATS_SIGNAL=none") && o.stats_signal == 0);
}

Test(options, realtime_signals_count_from_the_first_to_the_last) {
    char last[64];
    char beyond[64];
    (void)snprintf(last, sizeof last, "BIGMALLOC_STATS_SIGNAL=RTMIN+%d", SIGRTMAX - SIGRTMIN);
    (void)snprintf(beyond, sizeof beyond, "BIGMALLOC_STATS_SIGNAL=RTMIN+%d",
                   SIGRTMAX - SIGRTMIN + 1);
    cr_expect(accepts("BIGMALLOC_STATS_SIGNAL=RTMIN") && o.stats_signal == SIGRTMIN);
    cr_expect(accepts("BIGMALLOC_STATS_SIGNAL=RTMIN+0") && o.stats_signal == SIGRTMIN);
    cr_expect(accepts("BIGMALLOC_STATS_SIGNAL=RTMIN+5") && o.stats_signal == SIGRTMIN + 5);
    cr_expect(accepts("BIGMALLOC_STATS_SIGNAL=SIGRTMIN+5") && o.stats_signal == SIGRTMIN + 5);
    cr_expect(accepts(last) && o.stats_signal == SIGRTMAX);
    cr_expect(not(accepts(beyond)));
}

Test(options, signals_that_a_program_cannot_spare_are_refused) {
    static const char *const bad[] = {
        "BIGMALLOC_STATS_SIGNAL=SEGV",       "BIGMALLOC_STATS_SIGNAL=KILL",
        "BIGMALLOC_STATS_SIGNAL=10",         "BIGMALLOC_STATS_SIGNAL=USR",
        "BIGMALLOC_STATS_SIGNAL=USR11",      "BIGMALLOC_STATS_SIGNAL=SIG",
        "BIGMALLOC_STATS_SIGNAL=RTMIN+",     "BIGMALLOC_STATS_SIGNAL=RTMIN-1",
        "BIGMALLOC_STATS_SIGNAL=RTMIN5",     "BIGMALLOC_STATS_SIGNAL=RTMIN+1x",
        "BIGMALLOC_STATS_SIGNAL=RTMAX",      "BIGMALLOC_STATS_SIGNAL=RTMIN+4294967296",
        "BIGMALLOC_STATS_SIGNAL=SIGSIGUSR1", "BIGMALLOC_STATS_SIGNAL=RTMIN+18446744073709551616",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cr_expect(not(accepts(bad[i])), "%s", bad[i]);
        cr_expect(eq(int, o.stats_signal, SIGUSR1), "%s", bad[i]);
    }
}

/* ---- file names: what is filled in once ---- */

static const char *filled(const char *pattern, const char *second, const char *third) {
    static char variable[4096];
    (void)snprintf(variable, sizeof variable, "BIGMALLOC_STATS_FILE=%s", pattern);
    cr_expect(eq(str, (char *)load(variable, second, third), ""));
    return o.stats_file.text;
}

Test(pattern, a_plain_path_stays_as_it_is) {
    cr_expect(eq(str, (char *)filled("/tmp/stats.txt", NULL, NULL), "/tmp/stats.txt"));
    cr_expect(eq(str, (char *)filled("a b/{c}", NULL, NULL), "a b/{c}"));
}

Test(pattern, process_number_and_percent_sign_are_kept_for_later) {
    cr_expect(eq(str, (char *)filled("%p-%n-%%", NULL, NULL), "%p-%n-%%"));
}

Test(pattern, h_is_the_name_of_the_host) {
    struct utsname name;
    char wanted[256];
    cr_assert(eq(int, uname(&name), 0));
    (void)snprintf(wanted, sizeof wanted, "<%s>", name.nodename);
    cr_expect(eq(str, (char *)filled("<%h>", NULL, NULL), wanted));
}

Test(pattern, r_is_the_rank_that_the_launcher_gave_or_zero) {
    cr_expect(eq(str, (char *)filled("r%r", NULL, NULL), "r0"));
    cr_expect(eq(str, (char *)filled("r%r", "RANK=7", NULL), "r7"));
    cr_expect(eq(str, (char *)filled("r%r", "SLURM_PROCID=8", NULL), "r8"));
    cr_expect(eq(str, (char *)filled("r%r", "OMPI_COMM_WORLD_RANK=9", NULL), "r9"));
    cr_expect(eq(str, (char *)filled("r%r", "PMI_RANK=10", NULL), "r10"));
    cr_expect(eq(str, (char *)filled("r%r", "SLURM_PROCID=8", "RANK=7"), "r7"), "RANK goes first");
    cr_expect(eq(str, (char *)filled("r%r", "RANKX=8", "LOCAL_RANK=7"), "r0"));
}

Test(pattern, q_is_a_variable_and_nothing_where_it_is_unset) {
    cr_expect(eq(str, (char *)filled("/a/%q{JOB}/b", "JOB=42", NULL), "/a/42/b"));
    cr_expect(eq(str, (char *)filled("/a/%q{JOB}/b", "JOBS=42", "MYJOB=1"), "/a//b"));
    cr_expect(eq(str, (char *)filled("%q{A}%q{B}", "A=x", "B=y"), "xy"));
    cr_expect(eq(str, (char *)filled("x%q{}", "=y", NULL), "xy"), "the variable without a name");
    cr_expect(eq(str, (char *)filled("%q{A}}", "A=x", NULL), "x}"));
}

Test(pattern, percent_signs_in_values_are_no_conversions) {
    cr_expect(eq(str, (char *)filled("%q{JOB}", "JOB=50%p%", NULL), "50%%p%%"));
    cr_expect(eq(str, (char *)filled("%r", "RANK=%n", NULL), "%%n"));
}

Test(pattern, unknown_and_unfinished_conversions_are_refused) {
    static const char *const bad[] = {
        "BIGMALLOC_STATS_FILE=%",   "BIGMALLOC_STATS_FILE=a%",     "BIGMALLOC_STATS_FILE=%x",
        "BIGMALLOC_STATS_FILE=%P",  "BIGMALLOC_STATS_FILE=%5p",    "BIGMALLOC_STATS_FILE=%q",
        "BIGMALLOC_STATS_FILE=%q{", "BIGMALLOC_STATS_FILE=%q{JOB", "BIGMALLOC_STATS_FILE=%qJOB}",
        "BIGMALLOC_STATS_FILE=%%%", "BIGMALLOC_STATS_FILE=%{JOB}", "BIGMALLOC_STATS_FILE=% ",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cr_expect(not(accepts(bad[i])), "%s", bad[i]);
        cr_expect(eq(str, o.stats_file.text, "-"), "%s", bad[i]);
    }
}

/* "BIGMALLOC_STATS_FILE=" and then `length` times x, and `end`. */
static const char *long_variable(size_t length, const char *end) {
    static char variable[8192];
    int n = snprintf(variable, sizeof variable, "BIGMALLOC_STATS_FILE=");
    memset(variable + n, 'x', length);
    (void)strcpy(variable + n + length, end);
    return variable;
}

Test(pattern, of_1023_bytes_fits_and_of_one_more_does_not) {
    cr_expect(accepts(long_variable(1023, "")));
    cr_expect(eq(sz, strlen(o.stats_file.text), 1023));
    cr_expect(not(accepts(long_variable(1024, ""))));
    cr_expect(not(accepts(long_variable(5000, ""))));
    cr_expect(eq(str, o.stats_file.text, "-"));
}

Test(pattern, is_refused_where_a_conversion_or_a_value_makes_it_too_long) {
    cr_expect(accepts(long_variable(1021, "%p")));
    cr_expect(not(accepts(long_variable(1022, "%p"))));
    cr_expect(eq(str, (char *)load(long_variable(1020, "%q{V}"), "V=abc", NULL), ""));
    cr_expect(not(eq(str, (char *)load(long_variable(1020, "%q{V}"), "V=abcd", NULL), "")));
    cr_expect(not(eq(str, (char *)load(long_variable(1020, "%q{V}"), "V=ab%", NULL), "")));
}

/* ---- file names: what is filled in for each dump ---- */

static char path[64];

static bool expands(const char *text, struct dump_name name, size_t size) {
    struct pattern p = {""};
    (void)strcpy(p.text, text);
    memset(path, '#', sizeof path);
    return pattern_expand(&p, name, path, size);
}

static const struct dump_name PARENT = {.pid = 123, .sequence = 4};
static const struct dump_name CHILD = {.pid = 456, .sequence = 0, .forked = true};

Test(pattern, expands_to_the_numbers_of_the_dump) {
    cr_assert(expands("/t/%p.%n.%%.json", PARENT, sizeof path));
    cr_expect(eq(str, path, "/t/123.4.%.json"));
    cr_assert(expands("%p%p", PARENT, sizeof path));
    cr_expect(eq(str, path, "123123"));
}

Test(pattern, of_a_forked_child_gets_its_number_appended) {
    cr_assert(expands("/t/stats", CHILD, sizeof path));
    cr_expect(eq(str, path, "/t/stats.456"));
    cr_assert(expands("/t/%n%%p", CHILD, sizeof path));
    cr_expect(eq(str, path, "/t/0%p.456"), "%%p is no number");
}

Test(pattern, of_a_forked_child_with_a_number_in_it_stays_as_it_is) {
    cr_assert(expands("/t/%p.json", CHILD, sizeof path));
    cr_expect(eq(str, path, "/t/456.json"));
}

Test(pattern, that_is_empty_expands_to_an_empty_name) {
    cr_assert(expands("", PARENT, sizeof path));
    cr_expect(eq(str, path, ""));
}

Test(pattern, fills_the_room_to_the_last_byte_and_not_further) {
    cr_expect(expands("abc%p", PARENT, 7));
    cr_expect(eq(str, path, "abc123"));
    cr_expect(eq(chr, path[7], '#'));
    cr_expect(not(expands("abc%p", PARENT, 6)));
    cr_expect(eq(chr, path[6], '#'));
    cr_expect(expands("ab", CHILD, 7));
    cr_expect(eq(str, path, "ab.456"));
    cr_expect(not(expands("ab", CHILD, 6)), "no room for the child's number");
    cr_expect(not(expands("a%%", PARENT, 2)));
    cr_expect(not(expands("a", PARENT, 1)));
}

Test(pattern, a_complaint_never_writes_more_than_its_buffer) {
    char *environment[] = {(char *)(uintptr_t)long_variable(4000, ""), NULL};
    char room[64];
    memset(room, '#', sizeof room);
    struct writer w = {.fd = -1, .text = room, .size = 40};
    options_load(&o, environment, &w);
    cr_expect(eq(sz, w.length, 40));
    cr_expect(eq(chr, room[40], '#'));
}

/*
 * test_signals.c - statistics on a signal, without the program noticing; what a program sees of its
 * own handlers is in subject.def.
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <signal.h>

#include "tests/preload/child.h"

/* Silent at its end, so that all it says comes from signals. */
static struct outcome run_with(const char *behaviour, const char *argument, const char *option) {
    return child_run((struct child){.arguments = {behaviour, argument}, .environment = {option}});
}

static size_t dumps(const struct outcome *o) {
    return count(o->err, "bigmalloc: subject (pid ");
}

static void expect_dump(const struct outcome *o) {
    expect_success(o);
    cr_assert(eq(sz, count(o->out, "survived=yes"), 1));
    cr_assert(eq(sz, dumps(o), 1), "%s", o->err);
}

static void expect_death(const struct outcome *o, int number) {
    cr_assert(eq(int, o->status, CHILD_SIGNALLED + number));
    cr_assert(eq(str, o->err, ""));
}

Test(signals, usr1_dumps_in_full_and_the_program_lives_on) {
    struct outcome o = subject_run("get_a_signal");
    expect_dump(&o);
    cr_assert(gt(sz, lines(o.err), 10));
}

Test(signals, every_signal_dumps) {
    struct outcome o = subject_run("get_two_signals");
    expect_success(&o);
    cr_assert(eq(sz, dumps(&o), 2));
}

Test(signals, a_dump_is_json_where_that_was_asked_for) {
    struct outcome o = run_with("get_a_signal", NULL, "BIGMALLOC_STATS=json");
    expect_success(&o);
    cr_assert(eq(sz, count(o.err, "{\"schema\": \"bigmalloc-stats/1\""), 2), "signal and exit");
}

Test(signals, a_dump_is_metrics_where_those_were_asked_for) {
    struct outcome o = run_with("get_a_signal", NULL, "BIGMALLOC_STATS=prom");
    expect_success(&o);
    cr_assert(eq(sz, count(o.err, "# TYPE bigmalloc_info gauge\n"), 2), "signal and exit");
}

Test(signals, another_one_may_be_chosen) {
    struct outcome o = run_with("get_a_signal", "12", "BIGMALLOC_STATS_SIGNAL=USR2");
    expect_dump(&o);
    o = run_with("get_a_signal", NULL, "BIGMALLOC_STATS_SIGNAL=USR2");
    expect_death(&o, SIGUSR1);
}

Test(signals, a_realtime_one_may_be_chosen) {
    char *number = format("%d", SIGRTMIN + 3);
    struct outcome o = run_with("get_a_signal", number, "BIGMALLOC_STATS_SIGNAL=RTMIN+3");
    expect_dump(&o);
    o = run_with("get_a_signal", number, "BIGMALLOC_STATS_SIGNAL=RTMIN+2");
    expect_death(&o, SIGRTMIN + 3);
}

Test(signals, none_may_be_chosen) {
    struct outcome o = run_with("get_a_signal", NULL, "BIGMALLOC_STATS_SIGNAL=none");
    expect_death(&o, SIGUSR1);
}

Test(signals, are_left_alone_where_no_statistics_are_wanted) {
    struct outcome o = run_with("get_a_signal", NULL, "BIGMALLOC_STATS=off");
    expect_death(&o, SIGUSR1);
}

Test(signals, are_left_alone_without_pools) {
    struct outcome o = run_with("get_a_signal", NULL, "BIGMALLOC=off");
    expect_death(&o, SIGUSR1);
}

Test(signals, a_program_of_small_requests_dies_as_without_us) {
    struct outcome o = subject_run("get_a_signal_without_a_large_request");
    expect_death(&o, SIGUSR1);
    o = child_run(
        (struct child){.arguments = {"get_a_signal_without_a_large_request"}, .bare = true});
    expect_death(&o, SIGUSR1);
}

static size_t dumps_of(const char *behaviour) {
    struct outcome o = subject_run(behaviour);
    expect_success(&o);
    return dumps(&o);
}

Test(signals, the_programs_own_handler_hears_them_alone) {
    cr_assert(eq(sz, dumps_of("a_handler_by_sigaction_wins"), 0));
    cr_assert(eq(sz, dumps_of("a_handler_by_signal_wins"), 0));
    cr_assert(eq(sz, dumps_of("a_handler_with_information_wins"), 0));
    cr_assert(eq(sz, dumps_of("a_handler_set_before_the_first_large_request_wins"), 0));
    cr_assert(eq(sz, dumps_of("an_ignored_signal_stays_ignored"), 0));
}

Test(signals, the_dump_is_back_when_the_program_takes_its_handler_away) {
    struct outcome o = subject_run("save_restore_and_get_a_signal");
    expect_dump(&o);
}

Test(signals, ignored_from_the_start_stay_ignored) {
    struct outcome o = child_run((struct child){
        .program = "sh",
        .arguments = {"-c",
                      "trap '' USR1; exec \"$1\" a_signal_ignored_from_the_start_stays_ignored",
                      "sh", subject_path("subject")}});
    expect_success(&o);
    cr_assert(eq(str, o.err, ""));
}

Test(signals, a_forked_child_dumps_too) {
    cr_assert(eq(sz, dumps_of("a_forked_child_gets_a_signal"), 1));
}

/* The signals come while locks are held and blocks move. */
Test(signals, a_storm_hits_busy_threads) {
    struct outcome o =
        run_with("a_storm_of_signals_hits_busy_threads", NULL, "BIGMALLOC_STATS_FILE=/dev/null");
    expect_success(&o);
    o = run_with("a_storm_of_signals_hits_busy_threads", NULL, "BIGMALLOC_STATS=json");
    expect_success(&o);
    cr_assert(gt(sz, count(o.err, "{\"schema\": \"bigmalloc-stats/1\""), 100));
}

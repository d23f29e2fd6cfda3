/*
 * pressure.h - how short memory is, judged from the figures of one moment and of the one before.
 *
 *     used, of a group's limit or of the machine;    >= cleanup %       CLEANUP
 *     promised, of what may be                       >= emergency %     EMERGENCY
 *     memory.high was met; some task stalls          since the reading before, 10 % of the time
 *                                                                       CLEANUP
 *     memory.max was met                             and the group is  < cleanup %      CLEANUP
 *                                                                      >= cleanup %     EMERGENCY
 *     all tasks stall; systemd's watch fired         10 % of the time; since the reading before
 *                                                                       EMERGENCY
 *
 * A group that reads large files meets its limit all the time, with page cache that costs nothing
 * to drop. That is no emergency: what it uses is counted without that cache, and is far from full.
 *
 * Everything here is pure. The parsers take any text, also a hostile or torn one, and never read
 * past its end. A value that nothing ends, as in half a line, is none.
 */
#ifndef POOL_PRESSURE_H
#define POOL_PRESSURE_H

#include "pool/util.h"

enum pressure_level {
    PRESSURE_NONE,
    PRESSURE_CLEANUP,  /* give back what was idle for a little while */
    PRESSURE_EMERGENCY /* give back all that is idle */
};

/* Per cent of memory in use from which on a level holds; 0 and 0: there never is pressure.
 * Otherwise 1 <= cleanup <= emergency <= 100. */
struct pressure_limits {
    unsigned cleanup;
    unsigned emergency;
};

/* Share of the last ten seconds in which tasks waited for memory, in hundredths of a per cent. */
struct pressure_stall {
    unsigned some; /* at least one task did */
    unsigned full; /* all of them did */
};

/* All of it is 0 where the system does not tell. */
struct pressure_reading {
    unsigned group_percent; /* in use of the tightest limit of the own cgroup and those above it */
    size_t high_events;     /* so often one of them met memory.high, */
    size_t max_events;      /* and memory.max (v1: its only limit) */
    struct pressure_stall stall;
    size_t available; /* bytes of the machine */
    size_t total;
    size_t
        promised; /* bytes of the machine, and how many may be: where it promises no more than it has */
    size_t promisable;
    bool watch_fired;
};

/* `before` is the reading before, or `now` itself where there was none. */
enum pressure_level pressure_judge(const struct pressure_reading *now,
                                   const struct pressure_reading *before,
                                   struct pressure_limits limits);

/* part of whole in per cent, 100 at most; 100 of nothing. */
unsigned pressure_percent(size_t part, size_t whole);

/* The value of the line "key value", or "key: value kB" for /proc/meminfo; 0 where there is none. */
size_t pressure_parse_field(const char *text, const char *key);

/* The averages of ten seconds in the text of a PSI file. proc_pressure(5). */
struct pressure_stall pressure_parse_stall(const char *text);

#endif

/*
 * pressure_source.h - reads what pressure.h judges: cgroup, PSI, meminfo and systemd's watch.
 *
 * What is missing says nothing: no such limit, no such stall. No descriptor stays open but that of
 * the watch. Takes no lock and no memory; one caller at a time.
 */
#ifndef POOL_PRESSURE_SOURCE_H
#define POOL_PRESSURE_SOURCE_H

#include "pool/cgroup.h"
#include "pool/pressure.h"
#include "pool/pressure_watch.h"

struct pressure_source {
    const char *root; /* of /proc and /sys; "" as usual */
    bool is_strict;   /* the machine promises no more than it has */
    bool in_group;
    struct cgroup group; /* where in_group */
    struct pressure_watch watch;
};

/* Keeps root, not what it is told of the watch. Preserves errno. */
void pressure_open(struct pressure_source *s, const char *root,
                   const struct pressure_watch_config *watch);

/* The figures of this moment. Preserves errno. */
void pressure_read(struct pressure_source *s, struct pressure_reading *r);

/* Ends the watch. The other figures can still be read. For the child of a fork, too: what wakes one
 * process of a shared descriptor does not wake the other. */
void pressure_close(struct pressure_source *s);

#endif

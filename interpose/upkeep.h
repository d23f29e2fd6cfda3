/*
 * upkeep.h - what has to be done from time to time: memory that has aged goes back, ours and jemalloc's,
 * and more of it where memory is short.
 *
 * The helper thread does it while it runs (helper.h), a large free once a second otherwise.
 */
#ifndef INTERPOSE_UPKEEP_H
#define INTERPOSE_UPKEEP_H

#include "pool/util.h"

/* Reads what systemd says in the environment. To be called before the program can change it. */
void upkeep_load(char *const *environment);

/* On whose descriptors: the helper thread has a table of its own. It alone follows systemd's watch, whose
 * descriptor stays open, and the program only where it has no helper. */
enum upkeep_by {
    UPKEEP_PROGRAM,
    UPKEEP_HELPER
};

/* Does what is due, and says when to come again; NEVER: nothing is idle any more. Returns at once
 * while another thread is at it. Opens files: behind a shield, or with all signals blocked. */
uint64_t upkeep_tick(enum upkeep_by by, uint64_t now_ms);

/* Is memory short, so that nothing should be asked for that nobody needs yet? */
bool upkeep_finds_shortage(enum upkeep_by by);

/* Closes what the ticks have left open. */
void upkeep_end(enum upkeep_by by);

/* Is there anything that time, or a shortage, could take back? */
bool upkeep_has_purpose(void);

/* In the child of a fork: its parent's watch is not its own. */
void upkeep_after_fork_in_child(void);

#endif

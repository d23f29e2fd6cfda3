/*
 * helper.h - the thread that gives memory back while the program is idle.
 *
 *     a large free with enough idle     tick, wait, tick, wait ...    nothing is left
 *     -------------------------------> RUNNING ----------------------------------------> (ended)
 *                                         |                                                 |
 *                                         | fork, unshare, setns: stopped and waited for    |
 *                                         +----------> the next large free starts another <-+
 *
 * It has a small stack, blocks all signals, and runs none of the program's code. A process with one
 * thread has one again before it forks: CPython warns of a fork with several (os.fork, 3.12).
 * Functions are thread-safe and not async-signal-safe.
 */
#ifndef INTERPOSE_HELPER_H
#define INTERPOSE_HELPER_H

#include "pool/util.h"

/* After a large free: starts the thread where it is wanted and missing. Where there is none, does what
 * is due itself, once a second. Preserves errno. */
void helper_call(uint64_t now_ms);

/* Makes, in the thread, what BIGMALLOC_PREFAULT asks for, or a profile lets expect, of the host and of contexts, while
 * memory is not short; here and now where there is no thread. */
void helper_make_ahead(void);

/* In between there is no thread of ours, as far as /proc tells. What is not in steady use goes back before, as
 * nobody may come to do so later. Preserve errno. Around fork(2): before all other handlers of ours and after them. */
void helper_pause(void);
void helper_resume(void);
void helper_after_fork_in_child(void);

#endif

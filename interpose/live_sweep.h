/*
 * live_sweep.h - live files of processes that are gone.
 *
 *     running --- killed ---> found to be of nobody: marked ---> a day later, or as the 65th: removed
 *
 * Nobody sees when a process is killed. So the day counts from when that was first noticed, and what tells
 * is that nobody may write to the file any more, since its last change (inode(7), ctime).
 */
#ifndef INTERPOSE_LIVE_SWEEP_H
#define INTERPOSE_LIVE_SWEEP_H

#include "pool/live.h"

/*
 * Marks and removes what is due in a folder, an open one of ours. Files of another namespace of process ids
 * cannot be judged, and what is no live file, or one of another version, is left alone. No more than the
 * first 256 entries are looked at, which takes 5 ms at most. One caller at a time; errno may change.
 */
void live_sweep(int folder, const struct identity *who);

#endif

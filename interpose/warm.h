/*
 * warm.h - BIGMALLOC_PROFILE: what this run needed is there for the next one, made in the background.
 *
 *     first large request, or context of CUDA's    the file is read, and what it says is expected (ahead.h)
 *     exit                                         the file is written anew, with what was needed this time
 *
 * A file that is none of ours is told of, left alone and not written. It belongs to a program by name, and
 * to the process that was started, not to what that forks; a process that needs little writes none.
 */
#ifndef INTERPOSE_WARM_H
#define INTERPOSE_WARM_H

#include "pool/util.h"

/* Reads the file. False: nothing is expected. Behind a shield; the pools are open, and
 * serve nobody yet. */
MUST_CHECK bool warm_start(void);

/* Makes a piece of what is expected, or of what BIGMALLOC_PREFAULT asks for, on devices only where the thread has the
 * program's descriptors. False: nothing is left to be made. By one thread at a time. */
MUST_CHECK bool warm_step(bool has_program_files, uint64_t now_ms);

/* Writes it. Once, behind a shield; takes no lock. */
void warm_at_exit(void);

#endif

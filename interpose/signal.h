/*
 * signal.h - statistics on a signal, without the program noticing.
 *
 * Our handler is there only while the program leaves the signal at its default. sigaction and
 * signal are interposed for that one number, so that the program sees the default there, and its
 * own handler replaces ours (as the JDK's libjsig does it). Setting the default again, as in
 * saving and restoring, brings ours back.
 *
 * The other ways to set a handler (sigset, sysv_signal, sigvec) replace ours too, and show it.
 */
#ifndef INTERPOSE_SIGNAL_H
#define INTERPOSE_SIGNAL_H

/* From now on `number` (0: none) dumps statistics, if the program has left it at the default. */
void signal_watch(int number);

#endif

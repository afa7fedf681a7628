/*
 * Issues the calls of a block (program.h) as a C program would that knows them by heart: between two of
 * them nothing is timed, kept or compared. Exits if that cannot be done.
 */
#ifndef VC_REPLAY_H
#define VC_REPLAY_H

#include <stdint.h>

/* Takes the block from standard input. */
void vc_replay_read(void);

/* One execution, each from the same arena; nanoseconds. */
uint64_t vc_replay(void);

#endif

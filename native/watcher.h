/* Counts what arrives on eventfds, in a thread of its own: interrupts do not wait for JavaScript. */
#ifndef VC_WATCHER_H
#define VC_WATCHER_H

#include "program.h"

struct vc_watch {
	int32_t fd;	   /* in, for vc_watcher_open() */
	int32_t reserved;
	uint64_t sum;	   /* out: sum of all values read */
	uint64_t arrivals; /* out: how many reads that took; less than the sum if values merged */
	uint64_t first;	   /* out: CLOCK_MONOTONIC in ns of the first and of the last read, or 0 */
	uint64_t last;
};

struct vc_watch_wait {
	uint32_t index;
	uint32_t reserved;
	uint64_t at_least; /* value of `sum` to wait for */
	uint64_t timeout_ns;
};

/*
 * Watches duplicates of the given eventfds. Returns a handle >= 0, or -errno.
 * Only the thread reads them from now on.
 */
VC_EXPORT int vc_watcher_open(struct vc_watch *watches, uint32_t count);

/* Copies the present counts (as many as were opened). 0 or -EBADF. */
VC_EXPORT int vc_watcher_read(struct vc_watch *watches, uint32_t handle);

/* 0 when the sum was reached, -ETIMEDOUT, -EBADF or -EINVAL. */
VC_EXPORT int vc_watcher_wait(struct vc_watch_wait *wait, uint32_t handle);

/* Ends the thread. What was counted until now is copied to watches. 0 or -EBADF. */
VC_EXPORT int vc_watcher_close(struct vc_watch *watches, uint32_t handle);

#endif

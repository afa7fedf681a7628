/*
 * Which code of the kernel's the programs of this process reach: KCOV, Documentation/dev-tools/kcov.rst.
 * KCOV traces a thread that has asked for it, and no other.
 */
#ifndef VC_KCOV_H
#define VC_KCOV_H

#include "program.h"

struct vc_range {
	uint64_t start;
	uint64_t end;
};

/*
 * Programs are traced from now on; of what they reach, only addresses in these ranges count, which are
 * in ascending order. 0, or -errno: the kernel has no KCOV.
 */
VC_EXPORT int vc_kcov_open(const void *ranges, uint32_t count);

/* Copies up to `count` addresses (u64) that no call of before has copied. Returns their number. */
VC_EXPORT int vc_kcov_fresh(void *addresses, uint32_t count);

/* Programs are no longer traced. 0. */
VC_EXPORT int vc_kcov_close(const void *unused, uint32_t unused_too);

struct vc_tracer;

/* Traces the calling thread until vc_kcov_leave(). NULL if it cannot be traced. */
struct vc_tracer *vc_kcov_enter(void);
void vc_kcov_leave(struct vc_tracer *tracer);

#endif

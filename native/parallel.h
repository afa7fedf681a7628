/*
 * Several blocks at once, one thread each. They travel in one bundle:
 *	struct vc_bundle, one struct vc_bundle_entry a block, then the blocks (multiples of 16).
 */
#ifndef VC_PARALLEL_H
#define VC_PARALLEL_H

#include "program.h"

struct vc_bundle {
	uint32_t count;
	uint32_t reserved;
};

struct vc_bundle_entry {
	uint32_t offset; /* from the start of the bundle */
	uint32_t length;
	int32_t result; /* out: as vc_run() */
	int32_t reserved;
};

/*
 * Runs all blocks, which begin together (barrier) once every thread exists; returns when all have
 * ended. 0, -EINVAL for a malformed bundle, or the error of pthread_create (nothing was executed).
 */
VC_EXPORT int vc_run_parallel(void *bundle, uint32_t length);

#endif

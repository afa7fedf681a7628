#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "../parallel.h"
#include "check.h"

void check_parallel(void)
{
	enum { THREADS = 4 };
	struct bundle {
		struct vc_bundle head;
		struct vc_bundle_entry entries[THREADS];
		uint64_t padding;
		struct block blocks[THREADS];
	} *bundle = calloc(1, sizeof *bundle);
	int64_t ids[THREADS];

	bundle->head.count = THREADS;
	for (int i = 0; i < THREADS; i++) {
		struct block *block = new_block();

		ADD(block, gettid, number(0));
		ADD(block, spin, number(1000000));
		ADD(block, load, number(8), number(0));
		bundle->blocks[i] = *block;
		bundle->entries[i].offset = (uint32_t)((char *)&bundle->blocks[i] - (char *)bundle);
		bundle->entries[i].length = sizeof *block;
		free(block);
	}
	CHECK(vc_run_parallel(bundle, sizeof *bundle) == 0);
	for (int i = 0; i < THREADS; i++) {
		CHECK(bundle->entries[i].result == 0);
		ids[i] = bundle->blocks[i].ops[0].result;
		CHECK(ids[i] > 0 && ids[i] != getpid());
		CHECK(bundle->blocks[i].ops[2].result == -EFAULT);
		for (int j = 0; j < i; j++)
			CHECK(ids[i] != ids[j]);
	}
	bundle->entries[1].length = 0xffffffff;
	CHECK(vc_run_parallel(bundle, sizeof *bundle) == -EINVAL);
	bundle->head.count = 0x20000000;
	CHECK(vc_run_parallel(bundle, sizeof *bundle) == -EINVAL);
	free(bundle);
}

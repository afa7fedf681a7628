#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include "../actor.h"
#include "check.h"

void check_actor(const char *path)
{
	struct {
		struct vc_actor_request head;
		uint64_t rlimit[2];
		int32_t fd;
		char path[1000];
	} request = {
		.head = {
			.length = sizeof request,
			.flags = VC_ACTOR_DROP_CAPABILITIES,
			.rlimits = 1,
			.fds = 1,
		},
		.rlimit = { RLIMIT_NOFILE, 123 },
		.fd = eventfd(0, EFD_CLOEXEC),
	};
	struct vc_actor actor;
	struct block *block = new_block();

	snprintf(request.path, sizeof request.path, "%s", path);
	CHECK(vc_actor_spawn(&actor, &request.head) == 0);
	ADD(block, getpid, number(0));
	block->arena[0] = 5;
	ADD(block, write, number((uint64_t)request.fd), arena(0), number(8));
	ADD(block, prlimit64, number(0), number(RLIMIT_NOFILE), number(0), arena(64));
	ADD(block, load, number(8), number(0));
	ADD(block, getppid, number(0));
	actor.block_length = sizeof *block;
	actor.timeout_ns = 10000000000;
	for (int i = 0; i < 2; i++) {
		uint64_t value = 0;

		CHECK(vc_actor_start(&actor, block) == 0);
		CHECK(vc_actor_join(&actor, block) == 0);
		CHECK(block->ops[0].result == actor.pid);
		CHECK(block->ops[1].result == 8);
		CHECK(read(request.fd, &value, sizeof value) == 8 && value == 5);
		CHECK(block->arena[8] == 123 && block->arena[9] == 123);
		CHECK(block->ops[3].result == -EFAULT);
		CHECK(block->ops[4].result == getpid());
	}
	CHECK(vc_actor_close(&actor, 0) == 0);
	CHECK(actor.exited && actor.status == 0);

	request.fd = 9999;
	CHECK(vc_actor_spawn(&actor, &request.head) == -EBADF);
	CHECK(request.head.failed_step == VC_STEP_FDS);
	free(block);
}

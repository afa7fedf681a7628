#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "check.h"

static void repeating(void)
{
	struct block *block = new_block();
	uint32_t load, loop, outer;

	load = ADD(block, load, number(64), arena(0));
	ADD(block, store, number(64), arena(0), reference(load, 1));
	loop = ADD(block, repeat, number(load), number(10), arena(64), number(4));
	outer = ADD(block, repeat, number(load), number(3));
	CHECK(run(block) == 0);
	CHECK(block->arena[0] == 30);
	CHECK(block->ops[loop].result == 0 && block->ops[loop].count == 10);
	CHECK(block->ops[outer].result == 0 && block->ops[outer].count == 3);
	CHECK(block->ops[load].count == 30);
	CHECK(block->ops[outer].start <= block->ops[load].start);
	CHECK(block->arena[8] && block->arena[11] && !block->arena[12]);
	free(block);

	/* An eventfd takes no more than its maximum: the loop ends at the first failure. */
	block = new_block();
	block->arena[0] = 0x4000000000000000;
	ADD(block, eventfd2, number(0), number(EFD_NONBLOCK | EFD_CLOEXEC));
	ADD(block, write, reference(0, 0), arena(0), number(8));
	ADD(block, getpid, number(0));
	ADD(block, repeat, number(1), number(1000));
	ADD(block, close, reference(0, 0));
	CHECK(run(block) == 0);
	CHECK(block->ops[1].result == -EAGAIN && block->ops[1].count == 4);
	CHECK(block->ops[2].count == 3);
	CHECK(block->ops[3].result == -EAGAIN && block->ops[3].count == 3);
	CHECK(block->ops[4].result == 0);
	free(block);
}

/* FIONREAD of a pipe writes an int to its argument; what is no pipe has another errno. */
static void listed_ioctls(void)
{
	struct block *block = new_block();
	struct vc_ioctl *list = (struct vc_ioctl *)block->arena;
	uint32_t good, bad;
	int pipes[2];

	CHECK(pipe(pipes) == 0 && write(pipes[1], "four", 4) == 4);
	list[0] = (struct vc_ioctl){ .request = FIONREAD, .argument = { 1 } };
	list[1] = (struct vc_ioctl){ .request = 0x3b64, .argument = { 7 } };
	good = ADD(block, ioctls, number((uint64_t)pipes[0]), arena(0), number(2), arena(1024),
		   number(8), number(ENOTTY));
	bad = ADD(block, ioctls, number((uint64_t)pipes[0]), arena(0), number(2), arena(1040),
		  number(8), number(ENOTTY - 1));
	ADD(block, ioctls, number((uint64_t)pipes[0]), arena(0), number(1), number(8), number(8),
	    number(ENOTTY));
	ADD(block, ioctls, number(0), arena(0), number(1000), arena(0), number(8), number(0));
	ADD(block, ioctls, number(0), arena(0), number(1), arena(0), number(81), number(0));
	CHECK(run(block) == 0);
	CHECK(block->ops[good].result == 0 && block->ops[good].value == 1);
	CHECK(block->arena[128] == 7);
	CHECK(block->ops[bad].result == -ENOTTY && block->ops[bad].value == 1);
	CHECK(block->ops[2].result == -EFAULT);
	CHECK(block->ops[3].result == -EINVAL && block->ops[4].result == -EINVAL);
	close(pipes[0]);
	close(pipes[1]);
	free(block);
}

static void sampling(void)
{
	struct block *block = new_block();
	uint32_t first, last;

	first = ADD(block, spin, number(1000));
	last = ADD(block, spin, number(2000));
	ADD(block, sample, number(first), number(last), arena(0), number(3));
	ADD(block, repeat, number(first), number(4));
	CHECK(run(block) == 0);
	for (int i = 0; i < 3; i++)
		CHECK(block->arena[2 * i + 1] - block->arena[2 * i] >= 3000);
	CHECK(block->arena[2] > block->arena[1]);
	CHECK(!block->arena[6]);
	free(block);

	/* Between the begin of the first and the end of the last the clock need not be read. */
	block = new_block();
	ADD(block, spin, number(1000));
	ADD(block, spin, number(1000));
	ADD(block, sample, number(0), number(1), arena(0), number(1));
	block->ops[0].flags = VC_FLAG_NO_END;
	block->ops[1].flags = VC_FLAG_NO_START;
	CHECK(run(block) == 0);
	CHECK(block->arena[1] - block->arena[0] >= 2000);
	CHECK(block->ops[0].start && !block->ops[0].end);
	CHECK(!block->ops[1].start && block->ops[1].end);
	free(block);
}

void check_loops(void)
{
	repeating();
	sampling();
	listed_ioctls();
}

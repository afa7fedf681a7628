/* System calls, memory, waiting, children. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../memory.h"
#include "check.h"

static void system_calls_and_references(void)
{
	struct block *block = new_block();
	uint32_t fd, written, got;

	memcpy(block->arena, "name", 5);
	fd = ADD(block, memfd_create, arena(0), number(MFD_CLOEXEC));
	written = ADD(block, pwrite, reference(fd, 0), arena(0), number(5), number(100));
	got = ADD(block, pread, reference(fd, 0), arena(16), number(64), reference(written, 95));
	ADD(block, close, reference(fd, 0));
	ADD(block, close, number(-1ull));
	CHECK(run(block) == 0);
	CHECK(block->ops[fd].result > 2);
	CHECK(block->ops[written].result == 5);
	CHECK(block->ops[got].result == 5);
	CHECK(memcmp(block->arena + 2, "name", 5) == 0);
	CHECK(block->ops[4].result == -EBADF);
	CHECK(block->header.executed == 5);
	for (int i = 0; i < 5; i++) {
		CHECK(block->ops[i].count == 1);
		CHECK(block->ops[i].start && block->ops[i].start <= block->ops[i].end);
	}
	free(block);
}

static void stop_ends_the_program(void)
{
	struct block *block = new_block();

	ADD(block, getpid, number(0));
	ADD(block, close, number(-1ull));
	ADD(block, getpid, number(0));
	CHECK(run(block) == 0);
	CHECK(block->header.executed == 3 && block->ops[2].result == getpid());
	block->ops[1].flags = VC_FLAG_STOP;
	CHECK(run(block) == 0);
	CHECK(block->header.executed == 2);
	CHECK(block->ops[2].result == -ECANCELED && block->ops[2].count == 0);
	free(block);
}

static void loads_and_stores(void)
{
	static const unsigned int widths[] = { 8, 16, 32, 64 };

	for (size_t i = 0; i < 4; i++) {
		struct block *block = new_block();
		uint64_t mask = ~0ull >> (64 - widths[i]);
		uint32_t load;

		block->arena[0] = ~0ull;
		ADD(block, store, number(widths[i]), arena(1), number(0x8877665544332211));
		load = ADD(block, load, number(widths[i]), arena(1));
		ADD(block, store, number(64), arena(64), reference(load, -1));
		CHECK(run(block) == 0);
		CHECK(block->ops[load].result == 0);
		CHECK(block->ops[load].value == (0x8877665544332211 & mask));
		CHECK(block->arena[8] == (0x8877665544332211 & mask) - 1);
		CHECK((block->arena[0] & 0xff) == 0xff);
		free(block);
	}
	CHECK(vc_load(24, 0, &(uint64_t){ 0 }) == -EINVAL);
}

static void copies_and_patterns(void)
{
	struct block *block = new_block();
	uint32_t ok, part, broken;

	ADD(block, fill, arena(0), number(1001), number(7), number(0));
	ADD(block, copy, arena(2003), arena(0), number(1001));
	ok = ADD(block, verify, arena(2003), number(1001), number(7), number(0));
	part = ADD(block, verify, arena(2003 + 100), number(5), number(7), number(100));
	ADD(block, store, number(8), arena(2003 + 900), number(0));
	ADD(block, store, number(8), arena(2003 + 901), number(0));
	broken = ADD(block, verify, arena(2003), number(1001), number(7), number(0));
	CHECK(run(block) == 0);
	CHECK(block->ops[ok].result == 0);
	CHECK(block->ops[part].result == 0);
	CHECK(block->ops[broken].result == 901 || block->ops[broken].result == 902);
	free(block);

	/* Nothing may be written beyond the arena. */
	block = new_block();
	ADD(block, fill, arena(ARENA_SIZE - 8), number(9), number(1));
	ADD(block, copy, arena(1), arena(0), number(ARENA_SIZE));
	ADD(block, copy, arena(0), arena(1), number(-1ull));
	ADD(block, store, number(64), arena(ARENA_SIZE - 7), number(1));
	ADD(block, poll, arena(ARENA_SIZE - 8), number(2), number(0));
	CHECK(run(block) == 0);
	for (uint32_t i = 0; i < block->header.op_count; i++)
		CHECK(block->ops[i].result == -EINVAL);
	free(block);
}

static void waiting(void)
{
	struct block *block = new_block();

	block->arena[0] = 0xff00;
	ADD(block, wait, number(32), arena(0), number(0xf000), number(0xf000), number(0));
	ADD(block, wait, number(32), arena(0), number(0xf), number(1), number(2000000));
	ADD(block, spin, number(100000));
	ADD(block, clock, number(0));
	ADD(block, align, number(4097), number(4096));
	ADD(block, align, number(4096), number(4095));
	ADD(block, align, number(-12ull), number(4096));
	CHECK(run(block) == 0);
	CHECK(block->ops[0].result == 0 && block->ops[0].value == 0xff00);
	CHECK(block->ops[1].result == -ETIMEDOUT);
	CHECK(block->ops[1].end - block->ops[1].start >= 2000000);
	CHECK(block->ops[2].end - block->ops[2].start >= 100000);
	CHECK((uint64_t)block->ops[3].result >= block->ops[3].start);
	CHECK(block->ops[4].result == 8192);
	CHECK(block->ops[5].result == -EINVAL);
	CHECK(block->ops[6].result == -ENOMEM);
	free(block);
}

static void forking(void)
{
	struct block *block = new_block();
	uint32_t child;

	child = ADD(block, fork, number(3));
	ADD(block, getpid, number(0));
	ADD(block, store, number(64), arena(0), number(42));
	ADD(block, close, number(-1ull));
	ADD(block, wait4, reference(child, 0), arena(64), number(0), number(0));
	ADD(block, load, number(64), arena(0));
	CHECK(run(block) == 0);
	CHECK(block->ops[child].result > 0 && block->ops[child].result != getpid());
	CHECK(block->ops[1].result == block->ops[child].result);
	CHECK(block->ops[3].result == -EBADF);
	CHECK(block->ops[4].result == block->ops[child].result);
	CHECK(block->arena[8] == 0);
	CHECK(block->arena[0] == 42 && block->ops[5].value == 42);
	CHECK(block->header.executed == 6);
	block->ops[1].opcode = VC_OP_close;
	block->ops[1].args[0] = -1ull;
	block->ops[1].flags = VC_FLAG_STOP;
	CHECK(run(block) == 0);
	CHECK((block->arena[8] & 0xffff) == 0x100 && block->ops[2].count == 0);
	free(block);
}

void check_operations(void)
{
	system_calls_and_references();
	stop_ends_the_program();
	loads_and_stores();
	copies_and_patterns();
	waiting();
	forking();
}

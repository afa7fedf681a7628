#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>

#include "check.h"

static void malformed_blocks(void)
{
	struct block *block = new_block();

#define REFUSED(change)                                                   \
	do {                                                              \
		struct block copy = *block;                               \
		struct vc_op *op __attribute__((unused)) = &copy.ops[1];  \
		change;                                                   \
		CHECK(vc_run(&copy, sizeof copy) == -EINVAL);             \
		CHECK(copy.ops[0].count == 0);                            \
	} while (0)

	ADD(block, getpid, number(0));
	ADD(block, getpid, number(0));
	ADD(block, getpid, number(0));
	REFUSED(copy.header.magic = 1);
	REFUSED(copy.header.flags = 1);
	REFUSED(copy.header.op_count = MAX_OPS + ARENA_SIZE);
	REFUSED(copy.header.op_count = ~0u);
	REFUSED(copy.header.arena_offset = 0);
	REFUSED(copy.header.arena_offset += 4);
	REFUSED(copy.header.arena_offset = ~7u);
	REFUSED(copy.header.arena_size = ARENA_SIZE + 1);
	REFUSED(op->opcode = VC_OPCODE_COUNT);
	REFUSED(op->flags = 8);
	REFUSED(op->kinds = 3);
	REFUSED(op->kinds = 1u << 24);
	REFUSED((op->kinds = VC_KIND_ARENA, op->args[0] = ARENA_SIZE + 1));
	REFUSED((op->kinds = VC_KIND_REFERENCE, op->args[0] = 1));
	REFUSED((op->opcode = VC_OP_repeat, op->args[0] = 1));
	REFUSED((op->opcode = VC_OP_repeat, op->args[2] = 8));
	REFUSED((op->opcode = VC_OP_repeat, op->kinds = VC_KIND_ARENA << 8, op->args[3] = 513));
	REFUSED((op->opcode = VC_OP_repeat, op->kinds = VC_KIND_ARENA << 8, op->args[2] = 4));
	REFUSED((op->opcode = VC_OP_sample));
	REFUSED((op->opcode = VC_OP_sample, op->kinds = VC_KIND_ARENA << 8, op->args[0] = 1));
	REFUSED((op->opcode = VC_OP_sample, op->kinds = VC_KIND_ARENA << 8, op->args[1] = 1));
	REFUSED((op->opcode = VC_OP_sample, op->kinds = VC_KIND_ARENA << 8, op->args[3] = 257));
	REFUSED((op->opcode = VC_OP_fork, op->args[0] = 2));
	REFUSED((op->opcode = VC_OP_fork, op->args[0] = -1ull));
	REFUSED((op->opcode = VC_OP_fork, op->args[0] = 1, op[1].opcode = VC_OP_repeat));
	REFUSED((op->opcode = VC_OP_fork, op->args[0] = 1, op[1].opcode = VC_OP_fork,
		 op[1].args[0] = 1));
	CHECK(vc_run(block, 63) == -EINVAL);
	CHECK(vc_run((char *)block + 4, sizeof *block - 4) == -EINVAL);
	CHECK(run(block) == 0);
	free(block);
}

/*
 * Random changes to a valid program may give any result, but no access outside of the block: the
 * sanitizers judge.
 */
static void random_blocks(void)
{
	unsigned int seed = 1;

	for (int round = 0; round < 20000; round++) {
		struct block *block = new_block();

		for (int i = 0; i < 8; i++) {
			static const uint16_t opcodes[] = { VC_OP_getpid, VC_OP_load, VC_OP_store,
							    VC_OP_copy, VC_OP_fill, VC_OP_verify };
			struct vc_op *op = &block->ops[block->header.op_count++];

			op->opcode = opcodes[rand_r(&seed) % 6];
			op->kinds = VC_KIND_ARENA | (VC_KIND_ARENA << 4);
			if (op->opcode == VC_OP_load || op->opcode == VC_OP_store)
				op->kinds &= ~15u;
			op->args[0] = (uint64_t)rand_r(&seed) % 5000;
			if (!(op->kinds & 15))
				op->args[0] = 8u << rand_r(&seed) % 4;
			op->args[1] = (uint64_t)rand_r(&seed) % 5000;
			op->args[2] = (uint64_t)rand_r(&seed) % 5000;
			if (op->opcode == VC_OP_fill || op->opcode == VC_OP_verify)
				op->kinds &= ~0xf0u;
			if (rand_r(&seed) % 20 == 0)
				op->kinds = (unsigned int)rand_r(&seed) & 0x333u & ~15u;
		}
		/* Immediate addresses in the first pages fault; they are never mapped. */
		run(block);
		free(block);
	}
}

void check_validation(void)
{
	malformed_blocks();
	random_blocks();
}

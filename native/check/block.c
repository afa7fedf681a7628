#include <stdlib.h>

#include "check.h"

struct argument number(uint64_t value)
{
	return (struct argument){ value, VC_KIND_IMMEDIATE };
}

struct argument arena(uint64_t offset)
{
	return (struct argument){ offset, VC_KIND_ARENA };
}

struct argument reference(uint32_t index, int64_t addend)
{
	return (struct argument){ ((uint64_t)addend << 16) | index, VC_KIND_REFERENCE };
}

struct block *new_block(void)
{
	struct block *block = calloc(1, sizeof *block);

	if (!block)
		abort();
	block->header.magic = VC_MAGIC;
	block->header.arena_offset = offsetof(struct block, arena);
	block->header.arena_size = ARENA_SIZE;
	return block;
}

uint32_t add_with(struct block *block, uint16_t opcode, size_t count,
			 const struct argument arguments[])
{
	uint32_t index = block->header.op_count++;
	struct vc_op *op = &block->ops[index];

	op->opcode = opcode;
	for (size_t i = 0; i < count; i++) {
		op->args[i] = arguments[i].value;
		op->kinds |= arguments[i].kind << (4 * i);
	}
	return index;
}

int run(struct block *block)
{
	return vc_run(block, sizeof *block);
}

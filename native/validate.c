/* What a block must fulfil before anything of it is executed. */
#include <errno.h>
#include <stdbool.h>

#include "program.h"

static unsigned int kind_of(const struct vc_op *op, unsigned int argument)
{
	return (op->kinds >> (4 * argument)) & 15;
}

static bool arguments_valid(const struct vc_header *header, const struct vc_op *op, uint32_t index)
{
	if (op->kinds >> (4 * VC_ARGUMENTS))
		return false;
	/* Every operation of every program comes by here, and most arguments are immediate. */
	for (uint32_t kinds = op->kinds, i = 0; kinds; kinds >>= 4, i++) {
		switch (kinds & 15) {
		case VC_KIND_IMMEDIATE:
			break;
		case VC_KIND_ARENA:
			if (op->args[i] > header->arena_size)
				return false;
			break;
		case VC_KIND_REFERENCE:
			if ((op->args[i] & 0xffff) >= index)
				return false;
			break;
		default:
			return false;
		}
	}
	return true;
}

static bool repeat_valid(const struct vc_header *header, const struct vc_op *op, uint32_t index)
{
	if ((op->kinds & 0xff) != 0 || kind_of(op, 3) != VC_KIND_IMMEDIATE)
		return false;
	if (op->args[0] >= index)
		return false;
	if (kind_of(op, 2) == VC_KIND_ARENA)
		return op->args[2] % sizeof(uint64_t) == 0 &&
		       op->args[3] <= (header->arena_size - op->args[2]) / sizeof(uint64_t);
	return kind_of(op, 2) == VC_KIND_IMMEDIATE && op->args[2] == 0;
}

static bool sample_valid(const struct vc_header *header, const struct vc_op *op, uint32_t index)
{
	if ((op->kinds & 0xff) != 0 || kind_of(op, 2) != VC_KIND_ARENA ||
	    kind_of(op, 3) != VC_KIND_IMMEDIATE)
		return false;
	return op->args[0] <= op->args[1] && op->args[1] < index &&
	       op->args[2] % sizeof(uint64_t) == 0 &&
	       op->args[3] <= (header->arena_size - op->args[2]) / sizeof(struct vc_sample);
}

/* The body of a fork lies within the program, and no loop crosses its border. */
static bool fork_valid(const struct vc_header *header, const struct vc_op *ops, uint32_t index)
{
	const struct vc_op *op = &ops[index];
	uint64_t last;

	if ((op->kinds & 15) != VC_KIND_IMMEDIATE || op->args[0] >= header->op_count - index)
		return false;
	last = index + op->args[0];
	for (uint32_t i = index + 1; i < header->op_count; i++) {
		if (ops[i].opcode == VC_OP_fork && i <= last && i + ops[i].args[0] > last)
			return false;
		if (ops[i].opcode == VC_OP_repeat) {
			uint64_t from = ops[i].args[0];

			if (i <= last ? from <= index : from > index && from <= last)
				return false;
		}
	}
	return true;
}

int vc_validate(const void *block, size_t length)
{
	const struct vc_header *header = block;
	const struct vc_op *ops;

	if (length < sizeof *header || (uintptr_t)block % 8)
		return -EINVAL;
	if (header->magic != VC_MAGIC || header->flags || header->arena_offset % 8)
		return -EINVAL;
	if (header->op_count > (length - sizeof *header) / sizeof *ops)
		return -EINVAL;
	if (header->arena_offset < sizeof *header + header->op_count * sizeof *ops ||
	    header->arena_offset > length || header->arena_size > length - header->arena_offset)
		return -EINVAL;

	ops = (const struct vc_op *)(header + 1);
	for (uint32_t i = 0; i < header->op_count; i++) {
		if (ops[i].opcode >= VC_OPCODE_COUNT || ops[i].flags & ~VC_FLAGS ||
		    !arguments_valid(header, &ops[i], i))
			return -EINVAL;
		if (ops[i].opcode == VC_OP_repeat && !repeat_valid(header, &ops[i], i))
			return -EINVAL;
		if (ops[i].opcode == VC_OP_sample && !sample_valid(header, &ops[i], i))
			return -EINVAL;
		if (ops[i].opcode == VC_OP_fork && !fork_valid(header, ops, i))
			return -EINVAL;
	}
	return 0;
}

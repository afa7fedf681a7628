/*
 * The block: the one representation of "a sequence of operations" shared by the TypeScript side,
 * the executor in this process and the executor in another process (vc-actor).
 *
 *   header (64 bytes) | operation records (96 bytes each) | ... | arena (data)
 *
 * All integers have the machine's byte order. The block knows no absolute addresses of its own:
 * an argument that points into the arena is stored as an offset, so a block may be copied
 * elsewhere (a shared mapping, another process) and run there.
 */
#ifndef VC_PROGRAM_H
#define VC_PROGRAM_H

#include <stddef.h>
#include <stdint.h>

#define VC_MAGIC 0x56434231u /* "VCB1" */
#define VC_ARGUMENTS 6

#define VC_EXPORT __attribute__((visibility("default")))

struct vc_header {
	uint32_t magic;
	uint32_t op_count;
	uint32_t arena_offset; /* from the start of the block, multiple of 8 */
	uint32_t arena_size;
	uint32_t flags;	   /* none defined yet: must be 0 */
	uint32_t executed; /* out: operations passed when the program ended */
	uint32_t reserved[10];
};

struct vc_op {
	uint16_t opcode;
	uint16_t flags;	 /* VC_FLAG_* */
	uint32_t kinds;	 /* 4 bits an argument, the first in the lowest bits: VC_KIND_* */
	uint64_t args[VC_ARGUMENTS];
	int64_t result;	 /* out: >= 0, or -errno; -ECANCELED if the operation was never reached */
	uint64_t value;	 /* out: what a load read */
	uint64_t start;	 /* out: CLOCK_MONOTONIC in ns, of the last execution */
	uint64_t end;
	uint64_t count;	 /* out: how often it was executed; for REPEAT the iterations completed */
};

_Static_assert(sizeof(struct vc_header) == 64, "the header's size is part of the format");
_Static_assert(sizeof(struct vc_op) == 96, "the record's size is part of the format");

enum {
	VC_FLAG_STOP = 1,     /* a negative result ends the program */
	VC_FLAG_NO_START = 2, /* its start is not timed: reading the clock costs time too */
	VC_FLAG_NO_END = 4,   /* nor its end */
	VC_FLAGS = VC_FLAG_STOP | VC_FLAG_NO_START | VC_FLAG_NO_END,
};

enum {
	VC_KIND_IMMEDIATE = 0,
	VC_KIND_ARENA = 1,     /* offset into the arena, becomes an absolute address */
	VC_KIND_REFERENCE = 2, /* low 16 bits: index of an earlier operation; above: signed addend */
};

enum vc_opcode {
#define VC_SYSCALL(name, number) VC_OP_##name,
#define VC_HARNESS(name) VC_OP_##name,
#include "opcodes.def"
#undef VC_SYSCALL
#undef VC_HARNESS
	VC_OPCODE_COUNT
};

/* What one execution of VC_OP_sample writes: CLOCK_MONOTONIC in ns. */
struct vc_sample {
	uint64_t start; /* of the first operation */
	uint64_t end;	/* of the last */
};

/* One of the list that VC_OP_ioctls goes through. */
struct vc_ioctl {
	uint64_t request;
	uint64_t argument[10];
};

static inline struct vc_op *vc_ops(void *block)
{
	return (struct vc_op *)((char *)block + sizeof(struct vc_header));
}

/* Number of opcodes, and the name of each: lets the other side check that both lists agree. */
VC_EXPORT uint32_t vc_opcode_count(void);
VC_EXPORT const char *vc_opcode_name(uint32_t opcode);

/* 0, or -EINVAL if the block of this length breaks the format. */
int vc_validate(const void *block, size_t length);

/* Executes a block in this thread. 0, or -EINVAL for a malformed block (nothing is executed). */
VC_EXPORT int vc_run(void *block, uint32_t length);

/*
 * The same for a block that already lies in a MAP_SHARED mapping (its forks need no copy), whose results
 * are forgotten, and whose copy lies in the black box, or NULL.
 */
int vc_run_shared(void *block, size_t length, struct vc_header *copy);

/* As if nothing of the block had been executed. */
void vc_forget_results(struct vc_header *header);

#endif

/* What the tests of the shim are made of. */
#ifndef VC_CHECK_H
#define VC_CHECK_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "../program.h"

#define MAX_OPS 32
#define ARENA_SIZE 4096

extern int checks, failures;

#define CHECK(condition)                                                                 \
	do {                                                                             \
		checks++;                                                                \
		if (!(condition)) {                                                      \
			failures++;                                                      \
			fprintf(stderr, "%s:%d: %s\n", __func__, __LINE__, #condition);  \
		}                                                                        \
	} while (0)

/* A program with room for its operations and its data. */
struct block {
	struct vc_header header;
	struct vc_op ops[MAX_OPS];
	uint64_t arena[ARENA_SIZE / 8];
};

struct argument {
	uint64_t value;
	unsigned int kind;
};

struct argument number(uint64_t value);
struct argument arena(uint64_t offset);
struct argument reference(uint32_t index, int64_t addend);

struct block *new_block(void);

/* Adds an operation; returns its index. */
uint32_t add_with(struct block *block, uint16_t opcode, size_t count,
		  const struct argument arguments[]);

#define ADD(block, name, ...)                                                        \
	add_with(block, VC_OP_##name,                                                \
		 sizeof((struct argument[]){ __VA_ARGS__ }) / sizeof(struct argument), \
		 (struct argument[]){ __VA_ARGS__ })

int run(struct block *block);

void check_operations(void);
void check_guard(void);
void check_loops(void);
void check_validation(void);
void check_parallel(void);
void check_watcher(void);
void check_actor(const char *path);

#endif

#define _GNU_SOURCE
#include "replay.h"

#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "clock.h"
#include "program.h"
#include "syscall-table.h"

/* A call whose arguments are as far as possible what the kernel gets. */
struct call {
	uint16_t opcode;
	bool refers; /* some arguments are results of earlier calls */
	uint32_t kinds;
	uint64_t args[VC_ARGUMENTS];
	int64_t result;
};

static void *block;
static size_t length;
/* Descriptors from here on are opened by the block. */
static int first_free;

static void die(const char *what)
{
	fprintf(stderr, "replay: %s\n", what);
	exit(1);
}

void vc_replay_read(void)
{
	size_t room = 1 << 19;
	ssize_t part;

	do {
		if (length + 1 >= room || !block)
			block = realloc(block, room *= 2);
		if (!block)
			die("no memory");
		part = read(0, (char *)block + length, room - length);
		length += part > 0 ? (size_t)part : 0;
	} while (part > 0);
	if (vc_validate(block, length) < 0)
		die("this is no block");
	first_free = dup(0);
	close(first_free);
}

static struct call *prepare(struct vc_header *header)
{
	const struct vc_op *ops = vc_ops(header);
	char *arena = (char *)header + header->arena_offset;
	struct call *calls = calloc(header->op_count, sizeof *calls);

	for (uint32_t i = 0; calls && i < header->op_count; i++) {
		calls[i].opcode = ops[i].opcode;
		calls[i].kinds = ops[i].kinds;
		for (unsigned int j = 0; j < VC_ARGUMENTS; j++) {
			unsigned int kind = ops[i].kinds >> (4 * j) & 15;

			calls[i].refers |= kind == VC_KIND_REFERENCE;
			calls[i].args[j] = ops[i].args[j];
			if (kind == VC_KIND_ARENA)
				calls[i].args[j] += (uintptr_t)arena;
		}
	}
	return calls;
}

static void resolve(struct call *call, const struct call *calls)
{
	for (unsigned int j = 0; j < VC_ARGUMENTS; j++) {
		if ((call->kinds >> (4 * j) & 15) == VC_KIND_REFERENCE)
			call->args[j] = (uint64_t)(calls[call->args[j] & 0xffff].result +
						   ((int64_t)call->args[j] >> 16));
	}
}

static void issue(struct call *calls, uint32_t from, uint32_t end);

static uint32_t issue_fork(struct call *calls, uint32_t index)
{
	uint32_t last = index + (uint32_t)calls[index].args[0];

	calls[index].result = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
	if (calls[index].result == 0) {
		issue(calls, index + 1, last + 1);
		_exit(0);
	}
	return last;
}

static void store(const struct call *call)
{
	memcpy((void *)(uintptr_t)call->args[1], &call->args[2], call->args[0] / 8);
}

static void issue_ioctls(const uint64_t args[])
{
	const struct vc_ioctl *list = (const struct vc_ioctl *)(uintptr_t)args[1];
	void *argument = (void *)(uintptr_t)args[3];

	for (uint64_t i = 0; i < args[2]; i++) {
		memcpy(argument, list[i].argument, args[4]);
		syscall(SYS_ioctl, args[0], list[i].request, argument);
	}
}

static void issue(struct call *calls, uint32_t from, uint32_t end)
{
	for (uint32_t i = from; i < end; i++) {
		struct call *call = &calls[i];
		const uint64_t *args = call->args;

		if (call->refers)
			resolve(call, calls);
		if (call->opcode < SYSCALL_COUNT) {
			call->result = syscall(syscall_numbers[call->opcode], args[0], args[1], args[2],
					       args[3], args[4], args[5]);
		} else if (call->opcode == VC_OP_store) {
			store(call);
		} else if (call->opcode == VC_OP_copy) {
			memcpy((void *)(uintptr_t)args[0], (void *)(uintptr_t)args[1], args[2]);
		} else if (call->opcode == VC_OP_ioctls) {
			issue_ioctls(args);
		} else if (call->opcode == VC_OP_fork) {
			i = issue_fork(calls, i);
		} else {
			die("an operation that is not for replaying");
		}
	}
}

uint64_t vc_replay(void)
{
	void *copy = malloc(length);
	struct call *calls;
	uint64_t begin, end;

	if (!copy)
		die("no memory");
	memcpy(copy, block, length);
	calls = prepare(copy);
	if (!calls)
		die("no memory");
	begin = vc_now();
	issue(calls, 0, ((struct vc_header *)copy)->op_count);
	end = vc_now();
	syscall(SYS_close_range, first_free, ~0u, 0);
	free(calls);
	free(copy);
	return end - begin;
}

#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "black-box.h"
#include "clock.h"
#include "guard.h"
#include "kcov.h"
#include "memory.h"
#include "program.h"
#include "syscall-table.h"

/* Loops within loops; more than this is a mistake, and would cost stack. */
#define MAX_DEPTH 16

struct execution {
	struct vc_header *header;
	struct vc_op *ops;
	char *arena;
	struct vc_op *box; /* the records in the black box, or NULL */
	bool stopped; /* an operation with VC_FLAG_STOP failed */
};

static void execute_range(struct execution *run, uint32_t from, uint32_t end, int depth,
			  bool stop_on_failure);

/* The result of an earlier operation, with what is to be added to it. */
static uint64_t refer(const struct execution *run, uint64_t raw)
{
	const struct vc_op *source = &run->ops[raw & 0xffff];
	uint64_t result = source->opcode == VC_OP_load ? source->value : (uint64_t)source->result;

	return result + (uint64_t)((int64_t)raw >> 16);
}

/* Whether an argument that points into the arena leaves room for `length` bytes there. */
static bool fits(const struct execution *run, const struct vc_op *op, unsigned int argument,
		 uint64_t length)
{
	return ((op->kinds >> (4 * argument)) & 15) != VC_KIND_ARENA ||
	       length <= run->header->arena_size - op->args[argument];
}

static int64_t execute_poll(const uint64_t args[])
{
	int milliseconds = (int)args[2];
	struct timespec timeout = {
		.tv_sec = milliseconds / 1000,
		.tv_nsec = milliseconds % 1000 * 1000000L,
	};
	int result = ppoll((struct pollfd *)(uintptr_t)args[0], args[1],
			   milliseconds < 0 ? NULL : &timeout, NULL);

	return result < 0 ? -errno : result;
}

static int64_t execute_spin(uint64_t duration)
{
	const uint64_t begin = vc_now();

	while (vc_now() - begin < duration)
		vc_relax();
	return 0;
}

/* The first failure in a pass over from..end, not counting what belongs to forked children. */
static int64_t first_failure(const struct execution *run, uint32_t from, uint32_t end)
{
	for (uint32_t i = from; i < end; i++) {
		if (run->ops[i].result < 0)
			return run->ops[i].result;
		if (run->ops[i].opcode == VC_OP_fork)
			i += (uint32_t)run->ops[i].args[0];
	}
	return 0;
}

/*
 * The operations before this one have been executed once already: that was the first iteration.
 * The record's start is therefore that of the loop's first operation.
 */
static int64_t execute_repeat(struct execution *run, uint32_t index, int depth)
{
	struct vc_op *op = &run->ops[index];
	const uint32_t from = (uint32_t)op->args[0];
	const uint64_t times = op->args[1];
	uint64_t *samples = ((op->kinds >> 8) & 15) == VC_KIND_ARENA
				    ? (uint64_t *)(run->arena + op->args[2])
				    : NULL;
	const uint64_t sample_count = samples ? op->args[3] : 0;
	uint64_t begin = run->ops[from].start;
	int64_t failure = first_failure(run, from, index);
	uint64_t done = 1;

	if (depth >= MAX_DEPTH)
		return -ELOOP;
	op->start = begin;
	for (;;) {
		uint64_t now = vc_now();

		if (done <= sample_count)
			samples[done - 1] = now - begin;
		begin = now;
		if (failure < 0 || run->stopped || done >= times)
			break;
		execute_range(run, from, index, depth + 1, true);
		failure = first_failure(run, from, index);
		done++;
	}
	op->count = failure < 0 ? done - 1 : done;
	return failure;
}

/* Keeps the times of what was executed last; beyond the room for samples nothing is kept. */
static int64_t execute_sample(const struct execution *run, const struct vc_op *op)
{
	struct vc_sample *samples = (struct vc_sample *)(run->arena + op->args[2]);

	if (op->count <= op->args[3])
		samples[op->count - 1] = (struct vc_sample){
			.start = run->ops[op->args[0]].start,
			.end = run->ops[op->args[1]].end,
		};
	return 0;
}

/*
 * The raw system call: libc's fork() would run handlers of a multi-threaded process which expect
 * to find its other threads. The child makes system calls only, and ends with _exit().
 */
static int64_t execute_fork(struct execution *run, uint32_t index, int depth)
{
	const uint32_t first = index + 1;
	long pid = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);

	if (pid < 0)
		return -errno;
	if (pid == 0) {
		/* A handler of the parent's event loop would write into the parent's pipes. */
		vc_guard_reset_other_signals();
		execute_range(run, first, first + (uint32_t)run->ops[index].args[0], depth + 1,
			      false);
		_exit(run->stopped ? 1 : 0);
	}
	return pid;
}

/*
 * As many calls as a fuzzer makes would each cost more to describe than to execute. The argument is made
 * anew before each, because the kernel writes into it.
 */
static int64_t issue_ioctls(struct vc_op *op, struct vc_op *box, const uint64_t args[])
{
	const struct vc_ioctl *list = (const struct vc_ioctl *)(uintptr_t)args[1];
	void *argument = (void *)(uintptr_t)args[3];

	for (uint64_t i = 0; i < args[2]; i++) {
		op->value = i;
		if (box)
			box->value = i;
		memcpy(argument, list[i].argument, args[4]);
		if (syscall(SYS_ioctl, args[0], list[i].request, argument) < 0 &&
		    (uint64_t)errno > args[5])
			return -errno;
	}
	return 0;
}

static int64_t execute_ioctls(struct vc_op *op, struct vc_op *box, const uint64_t args[])
{
	struct vc_guard guard;
	int64_t result;
	int fault;

	if (args[4] > sizeof((struct vc_ioctl *)NULL)->argument)
		return -EINVAL;
	fault = VC_GUARD(&guard);
	result = fault ? -fault : issue_ioctls(op, box, args);
	vc_guard_leave(&guard);
	return result;
}

static int64_t execute_harness(struct execution *run, uint32_t index, const uint64_t args[],
			       int depth)
{
	struct vc_op *op = &run->ops[index];

	switch (op->opcode) {
	case VC_OP_poll:
		if (!fits(run, op, 0, (uint32_t)args[1] * sizeof(struct pollfd)))
			return -EINVAL;
		return execute_poll(args);
	case VC_OP_load:
		return fits(run, op, 1, args[0] / 8) ? vc_load(args[0], args[1], &op->value)
						     : -EINVAL;
	case VC_OP_store:
		return fits(run, op, 1, args[0] / 8) ? vc_store(args[0], args[1], args[2])
						     : -EINVAL;
	case VC_OP_copy:
		if (!fits(run, op, 0, args[2]) || !fits(run, op, 1, args[2]))
			return -EINVAL;
		return vc_copy(args[0], args[1], args[2]);
	case VC_OP_fill:
		return fits(run, op, 0, args[1]) ? vc_fill(args[0], args[1], args[2], args[3])
						 : -EINVAL;
	case VC_OP_verify:
		return fits(run, op, 0, args[1]) ? vc_verify(args[0], args[1], args[2], args[3])
						 : -EINVAL;
	case VC_OP_wait:
		if (!fits(run, op, 1, args[0] / 8))
			return -EINVAL;
		return vc_wait(args[0], args[1], args[2], args[3], args[4], &op->value);
	case VC_OP_repeat:
		return execute_repeat(run, index, depth);
	case VC_OP_sample:
		return execute_sample(run, op);
	case VC_OP_ioctls:
		if (!fits(run, op, 1, args[2] * sizeof(struct vc_ioctl)) || !fits(run, op, 3, args[4]))
			return -EINVAL;
		return execute_ioctls(op, run->box ? &run->box[index] : NULL, args);
	case VC_OP_fork:
		return execute_fork(run, index, depth);
	case VC_OP_clock:
		op->value = vc_now();
		return (int64_t)op->value;
	case VC_OP_spin:
		return execute_spin(args[0]);
	case VC_OP_yield:
		vc_relax();
		return 0;
	case VC_OP_align:
		if (args[1] == 0 || args[1] & (args[1] - 1))
			return -EINVAL;
		/* A failure that is referred to stays a failure: -ENOMEM is not an address. */
		if ((int64_t)args[0] < 0)
			return (int64_t)args[0];
		return (int64_t)((args[0] + args[1] - 1) & ~(args[1] - 1));
	default:
		return -ENOSYS;
	}
}

static int64_t execute_syscall(uint16_t opcode, const uint64_t args[])
{
	long number = syscall_numbers[opcode];
	long result;

	if (number < 0)
		return -ENOSYS;
	result = syscall(number, args[0], args[1], args[2], args[3], args[4], args[5]);
	return result == -1 ? -errno : result;
}

/* Between two calls that are timed as one, every instruction of this counts. */
static void execute_one(struct execution *run, uint32_t index, int depth)
{
	struct vc_op *op = &run->ops[index];
	uint64_t args[VC_ARGUMENTS];
	uint32_t kinds = op->kinds;

	memcpy(args, op->args, sizeof args);
	for (unsigned int i = 0; kinds; i++, kinds >>= 4) {
		if ((kinds & 15) == VC_KIND_ARENA)
			args[i] += (uintptr_t)run->arena;
		else if (kinds & 15)
			args[i] = refer(run, args[i]);
	}
	op->count++;
	op->end = 0;
	if (!(op->flags & VC_FLAG_NO_START))
		op->start = vc_now();
	if (run->box)
		run->box[index] = *op;
	op->result = op->opcode < SYSCALL_COUNT ? execute_syscall(op->opcode, args)
						: execute_harness(run, index, args, depth);
	if (!(op->flags & VC_FLAG_NO_END))
		op->end = vc_now();
	if (run->box)
		run->box[index] = *op;
	if (op->result < 0 && op->flags & VC_FLAG_STOP)
		run->stopped = true;
}

static void execute_range(struct execution *run, uint32_t from, uint32_t end, int depth,
			  bool stop_on_failure)
{
	for (uint32_t i = from; i < end; i++) {
		execute_one(run, i, depth);
		if (depth == 0)
			run->header->executed = i + 1;
		if (run->ops[i].result < 0 && (stop_on_failure || run->stopped))
			return;
		if (run->ops[i].opcode == VC_OP_fork)
			i += (uint32_t)run->ops[i].args[0];
	}
	if (depth == 0)
		run->header->executed = end;
}

void vc_forget_results(struct vc_header *header)
{
	struct vc_op *ops = vc_ops(header);

	header->executed = 0;
	for (uint32_t i = 0; i < header->op_count; i++) {
		ops[i].result = -ECANCELED;
		ops[i].value = ops[i].start = ops[i].end = ops[i].count = 0;
	}
}

/* `copy`: in the black box, or NULL. */
static void execute(void *block, struct vc_header *copy)
{
	struct execution run = {
		.header = block,
		.ops = vc_ops(block),
		.arena = (char *)block + ((struct vc_header *)block)->arena_offset,
	};
	struct vc_tracer *tracer;

	run.box = copy ? vc_ops(copy) : NULL;
	tracer = vc_kcov_enter();
	execute_range(&run, 0, run.header->op_count, 0, false);
	vc_kcov_leave(tracer);
	if (copy)
		vc_black_box_leave(copy, run.header);
}

static bool has_fork(void *block)
{
	const struct vc_op *ops = vc_ops(block);

	for (uint32_t i = 0; i < ((struct vc_header *)block)->op_count; i++) {
		if (ops[i].opcode == VC_OP_fork)
			return true;
	}
	return false;
}

int vc_run_shared(void *block, size_t length, struct vc_header *copy)
{
	if (vc_validate(block, length) < 0)
		return -EINVAL;
	vc_guard_install();
	execute(block, copy);
	return 0;
}

static void enter_and_execute(void *block)
{
	vc_forget_results(block);
	execute(block, vc_black_box_enter(block, vc_black_box_thread));
}

int vc_run(void *block, uint32_t length)
{
	void *shared;

	if (vc_validate(block, length) < 0)
		return -EINVAL;
	vc_guard_install();
	if (!has_fork(block)) {
		enter_and_execute(block);
		return 0;
	}

	/* A child's results are to be seen here: run the program in memory both share. */
	shared = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		return -errno;
	memcpy(shared, block, length);
	enter_and_execute(shared);
	memcpy(block, shared, length);
	munmap(shared, length);
	return 0;
}

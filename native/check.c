/* Tests of the executor without JavaScript: `make check` runs them under sanitizers. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "actor.h"
#include "clock.h"
#include "guard.h"
#include "memory.h"
#include "parallel.h"
#include "program.h"
#include "watcher.h"

#define MAX_OPS 32
#define ARENA_SIZE 4096

static int checks, failures;

#define CHECK(condition)                                                                 \
	do {                                                                             \
		checks++;                                                                \
		if (!(condition)) {                                                      \
			failures++;                                                      \
			fprintf(stderr, "%s:%d: %s\n", __func__, __LINE__, #condition);  \
		}                                                                        \
	} while (0)

/* --- building blocks ------------------------------------------------------------------------- */

struct block {
	struct vc_header header;
	struct vc_op ops[MAX_OPS];
	uint64_t arena[ARENA_SIZE / 8];
};

struct argument {
	uint64_t value;
	unsigned int kind;
};

static struct argument number(uint64_t value)
{
	return (struct argument){ value, VC_KIND_IMMEDIATE };
}

static struct argument arena(uint64_t offset)
{
	return (struct argument){ offset, VC_KIND_ARENA };
}

static struct argument reference(uint32_t index, int64_t addend)
{
	return (struct argument){ ((uint64_t)addend << 16) | index, VC_KIND_REFERENCE };
}

static struct block *new_block(void)
{
	struct block *block = calloc(1, sizeof *block);

	if (!block)
		abort();
	block->header.magic = VC_MAGIC;
	block->header.arena_offset = offsetof(struct block, arena);
	block->header.arena_size = ARENA_SIZE;
	return block;
}

static uint32_t add_with(struct block *block, uint16_t opcode, size_t count,
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

#define ADD(block, name, ...)                                                        \
	add_with(block, VC_OP_##name,                                                \
		 sizeof((struct argument[]){ __VA_ARGS__ }) / sizeof(struct argument), \
		 (struct argument[]){ __VA_ARGS__ })

static int run(struct block *block)
{
	return vc_run(block, sizeof *block);
}

/* --- tests ------------------------------------------------------------------------------------ */

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

/* A page beyond the end of its file: SIGBUS. */
static char *page_without_file(void)
{
	int fd = memfd_create("truncated", MFD_CLOEXEC);
	char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	close(fd);
	return page;
}

static void *fault_often(void *argument)
{
	char *page = argument;
	void *hole = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	bool right = true;

	for (int i = 0; i < 500; i++) {
		uint64_t value = 0;

		right &= vc_load(32, (uintptr_t)page, &value) == -EIO;
		right &= vc_store(8, (uintptr_t)hole, 1) == -EFAULT;
		right &= vc_load(64, (uintptr_t)&value, &value) == 0;
	}
	munmap(hole, 4096);
	return right ? argument : NULL;
}

static void faults_are_results(void)
{
	char *page = page_without_file();
	struct block *block = new_block();
	pthread_t threads[4];

	ADD(block, load, number(32), number((uintptr_t)page));
	ADD(block, load, number(8), number(0));
	ADD(block, store, number(64), number(0xdead000000000000), number(1));
	ADD(block, copy, arena(0), number((uintptr_t)page), number(64));
	ADD(block, fill, number(4096), number(64), number(1));
	ADD(block, verify, number((uintptr_t)page), number(64), number(1));
	ADD(block, wait, number(8), number(16), number(1), number(1), number(1000));
	CHECK(run(block) == 0);
	CHECK(block->ops[0].result == -EIO);
	CHECK(block->ops[1].result == -EFAULT);
	CHECK(block->ops[2].result == -EFAULT);
	CHECK(block->ops[3].result == -EIO);
	CHECK(block->ops[4].result == -EFAULT);
	CHECK(block->ops[5].result == -EIO);
	CHECK(block->ops[6].result == -EFAULT);
	free(block);

	for (int i = 0; i < 4; i++)
		pthread_create(&threads[i], NULL, fault_often, page);
	for (int i = 0; i < 4; i++) {
		void *right;

		pthread_join(threads[i], &right);
		CHECK(right != NULL);
	}
	munmap(page, 4096);
}

static volatile sig_atomic_t passed_on;

static void earlier_handler(int number)
{
	passed_on = number;
}

/* In a child, where our handlers can be installed after others. */
static void other_faults_are_passed_on(void)
{
	pid_t child = fork();
	int status;

	if (child == 0) {
		vc_guard_install();
		/* Sent, not caused by an access: not ours. */
		raise(SIGBUS);
		_exit(passed_on == SIGBUS ? 0 : 1);
	}
	waitpid(child, &status, 0);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
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

/* Random changes to a valid program may give any result, but no access outside of the block. */
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
	CHECK(true);
}

static void running_in_parallel(void)
{
	enum { THREADS = 4 };
	struct bundle {
		struct vc_bundle head;
		struct vc_bundle_entry entries[THREADS];
		uint64_t padding;
		struct block blocks[THREADS];
	} *bundle = calloc(1, sizeof *bundle);
	int64_t ids[THREADS];

	bundle->head.count = THREADS;
	for (int i = 0; i < THREADS; i++) {
		struct block *block = new_block();

		ADD(block, gettid, number(0));
		ADD(block, spin, number(1000000));
		ADD(block, load, number(8), number(0));
		bundle->blocks[i] = *block;
		bundle->entries[i].offset = (uint32_t)((char *)&bundle->blocks[i] - (char *)bundle);
		bundle->entries[i].length = sizeof *block;
		free(block);
	}
	CHECK(vc_run_parallel(bundle, sizeof *bundle) == 0);
	for (int i = 0; i < THREADS; i++) {
		CHECK(bundle->entries[i].result == 0);
		ids[i] = bundle->blocks[i].ops[0].result;
		CHECK(ids[i] > 0 && ids[i] != getpid());
		CHECK(bundle->blocks[i].ops[2].result == -EFAULT);
		for (int j = 0; j < i; j++)
			CHECK(ids[i] != ids[j]);
	}
	bundle->entries[1].length = 0xffffffff;
	CHECK(vc_run_parallel(bundle, sizeof *bundle) == -EINVAL);
	bundle->head.count = 0x20000000;
	CHECK(vc_run_parallel(bundle, sizeof *bundle) == -EINVAL);
	free(bundle);
}

static void watching_eventfds(void)
{
	struct vc_watch watches[2] = { { .fd = eventfd(0, EFD_CLOEXEC) },
				       { .fd = eventfd(3, EFD_CLOEXEC) } };
	struct vc_watch_wait wait = { .index = 0, .at_least = 100, .timeout_ns = 5000000000 };
	int fds[2] = { watches[0].fd, watches[1].fd };
	int handle = vc_watcher_open(watches, 2);

	CHECK(handle >= 0);
	for (int i = 0; i < 100; i++)
		eventfd_write(fds[0], 1);
	CHECK(vc_watcher_wait(&wait, (uint32_t)handle) == 0);
	wait.at_least = 101;
	wait.timeout_ns = 1000000;
	CHECK(vc_watcher_wait(&wait, (uint32_t)handle) == -ETIMEDOUT);
	wait.index = 2;
	CHECK(vc_watcher_wait(&wait, (uint32_t)handle) == -EINVAL);
	CHECK(vc_watcher_read(watches, (uint32_t)handle) == 0);
	CHECK(watches[0].sum == 100 && watches[0].arrivals <= 100 && watches[0].arrivals > 0);
	CHECK(watches[0].first && watches[0].first <= watches[0].last);
	eventfd_write(fds[1], 4);
	CHECK(vc_watcher_close(watches, (uint32_t)handle) == 0);
	CHECK(watches[1].sum == 7);
	CHECK(vc_watcher_close(watches, (uint32_t)handle) == -EBADF);
	watches[0].fd = -1;
	CHECK(vc_watcher_open(watches, 1) == -EBADF);
	close(fds[0]);
	close(fds[1]);
}

static void acting_elsewhere(const char *path)
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

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_handler = earlier_handler };

	if (argc != 2)
		return 2;
	sigaction(SIGBUS, &action, NULL);
	system_calls_and_references();
	stop_ends_the_program();
	loads_and_stores();
	copies_and_patterns();
	faults_are_results();
	other_faults_are_passed_on();
	waiting();
	repeating();
	sampling();
	forking();
	malformed_blocks();
	random_blocks();
	running_in_parallel();
	watching_eventfds();
	acting_elsewhere(argv[1]);
	printf("%d checks, %d failures\n", checks, failures);
	return failures != 0;
}

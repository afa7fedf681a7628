#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../guard.h"
#include "../memory.h"
#include "check.h"

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

void check_guard(void)
{
	struct sigaction action = { .sa_handler = earlier_handler };

	sigaction(SIGBUS, &action, NULL);
	faults_are_results();
	other_faults_are_passed_on();
}

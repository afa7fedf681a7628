/*
 * vc-actor: executes blocks in a process of its own, until its command pipe is closed.
 * Usage (by vc_actor_spawn() only): vc-actor MEMFD COMMAND REPLY BOX SIZE
 */
#define _GNU_SOURCE
#include "actor.h"
#include "black-box.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

/* The mapping grows with the longest block so far. */
static void *map_block(int memfd, void *block, size_t *mapped, size_t length)
{
	if (length <= *mapped)
		return block;
	if (block)
		munmap(block, *mapped);
	block = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);
	*mapped = block == MAP_FAILED ? 0 : length;
	return block == MAP_FAILED ? NULL : block;
}

int main(int argc, char **argv)
{
	struct vc_actor_command command;
	sigset_t none;
	void *block = NULL;
	size_t mapped = 0;
	int memfd;

	if (argc != 6)
		return 2;
	memfd = atoi(argv[1]);
	if (atoi(argv[4]) >= 0)
		vc_black_box_share(atoi(argv[4]), (uint32_t)strtoul(argv[5], NULL, 10));

	/* Whatever happens to the process that started us, its devices must not stay open here. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_IGN);

	for (;;) {
		struct vc_actor_reply reply = { 0 };
		ssize_t got = read(atoi(argv[2]), &command, sizeof command);

		if (got < 0 && errno == EINTR)
			continue;
		if (got != sizeof command)
			return 0;
		block = map_block(memfd, block, &mapped, command.length);
		reply.result = block ? vc_run_shared(block, command.length,
							 vc_black_box_at(command.copy)) :
						 -ENOMEM;
		if (write(atoi(argv[3]), &reply, sizeof reply) != sizeof reply)
			return 1;
	}
}

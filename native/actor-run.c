/* Hands blocks to an actor, waits for it, ends it. */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "actor.h"
#include "black-box.h"
#include "clock.h"
#include "syscalls.h"

static int transfer(ssize_t (*move)(int, void *, size_t, off_t), int fd, char *bytes, size_t length)
{
	size_t done = 0;

	while (done < length) {
		ssize_t moved = move(fd, bytes + done, length - done, (off_t)done);

		if (moved < 0 && errno == EINTR)
			continue;
		if (moved <= 0)
			return moved < 0 ? -errno : -EIO;
		done += (size_t)moved;
	}
	return 0;
}

static ssize_t put(int fd, void *bytes, size_t length, off_t offset)
{
	return pwrite(fd, bytes, length, offset);
}

/*
 * Waits until fds[0] is ready, until the deadline. Signals do not shorten it.
 * 1 if any is ready, 0 after the timeout.
 */
static int wait_ready(struct pollfd *fds, nfds_t count, uint64_t timeout_ns)
{
	const uint64_t begin = vc_now();

	for (;;) {
		uint64_t waited = vc_now() - begin;
		uint64_t left = waited < timeout_ns ? timeout_ns - waited : 0;
		struct timespec timeout = {
			.tv_sec = (time_t)(left / 1000000000u),
			.tv_nsec = (long)(left % 1000000000u),
		};
		int ready = ppoll(fds, count, &timeout, NULL);

		if (ready >= 0)
			return ready;
		if (errno != EINTR)
			return -errno;
	}
}

/* Only here is known what lies in the box already: the actor finds its copy there. */
static uint64_t enter(const struct vc_actor *actor, struct vc_header *header)
{
	vc_forget_results(header);
	return vc_black_box_offset(vc_black_box_enter(header, -actor->pid));
}

int vc_actor_start(struct vc_actor *actor, void *block)
{
	struct vc_actor_command command = { .length = actor->block_length };
	int error;

	if (actor->memfd_size < command.length) {
		if (ftruncate(actor->memfd, (off_t)command.length) < 0)
			return -errno;
		actor->memfd_size = command.length;
	}
	command.copy = enter(actor, block);
	error = transfer(put, actor->memfd, block, command.length);
	if (error < 0)
		return error;
	/* SIGPIPE cannot come: Node ignores it. */
	return write(actor->command, &command, sizeof command) == sizeof command ? 0 : -errno;
}

int vc_actor_join(struct vc_actor *actor, void *block)
{
	struct pollfd fds[] = {
		{ .fd = actor->reply, .events = POLLIN },
		/* Its own descendants may hold the pipe open, so the pipe's end tells nothing. */
		{ .fd = actor->pidfd, .events = POLLIN },
	};
	struct vc_actor_reply reply = { .result = -EPIPE };
	int ready = wait_ready(fds, 2, actor->timeout_ns);
	int error;

	if (ready <= 0)
		return ready < 0 ? ready : -ETIMEDOUT;
	if (fds[0].revents & POLLIN &&
	    read(actor->reply, &reply, sizeof reply) != sizeof reply)
		reply.result = -EPIPE;
	error = transfer(pread, actor->memfd, block, actor->block_length);
	return error < 0 ? error : reply.result;
}

int vc_actor_kill(struct vc_actor *actor, uint32_t number)
{
	return syscall(SYS_pidfd_send_signal, actor->pidfd, number, NULL, 0) < 0 ? -errno : 0;
}

int vc_actor_wait(struct vc_actor *actor, uint32_t unused)
{
	struct pollfd ended = { .fd = actor->pidfd, .events = POLLIN };
	int ready;

	(void)unused;
	if (actor->exited)
		return 0;
	ready = wait_ready(&ended, 1, actor->timeout_ns);
	if (ready <= 0)
		return ready < 0 ? ready : -ETIMEDOUT;
	while (syscall(SYS_wait4, actor->pid, &actor->status, 0, NULL) < 0) {
		if (errno != EINTR)
			return -errno;
	}
	actor->exited = 1;
	return 0;
}

int vc_actor_close(struct vc_actor *actor, uint32_t unused)
{
	int error;

	if (actor->command >= 0)
		close(actor->command);
	actor->command = -1;
	error = vc_actor_wait(actor, unused);
	if (error == -ETIMEDOUT) {
		vc_actor_kill(actor, SIGKILL);
		error = vc_actor_wait(actor, unused);
	}
	close(actor->pidfd);
	close(actor->memfd);
	close(actor->reply);
	actor->pidfd = actor->memfd = actor->reply = -1;
	return error;
}

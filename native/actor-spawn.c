/*
 * Starts an actor. The child is made with vfork(): a plain fork would copy every page that is
 * pinned for a device, and change what the tests measure. Between vfork() and execve() the child
 * shares our memory, so it makes raw system calls only (libc's setuid would change all threads).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "actor.h"
#include "black-box.h"
#include "syscalls.h"

#ifndef CLOSE_RANGE_CLOEXEC
#define CLOSE_RANGE_CLOEXEC 4
#endif

/* Kernels since 6.3 note in their log if neither this nor its opposite is given. */
#ifndef MFD_EXEC
#define MFD_EXEC 0x10
#endif

#define INITIAL_SIZE 65536

struct plan {
	const struct vc_actor_request *request;
	const uint64_t *rlimits;
	const int32_t *fds;
	const char *path;
	int executable;
	int memfd;
	int command[2];
	int reply[2];
	int box; /* -1 if there is none */
	char memfd_text[12], command_text[12], reply_text[12], box_text[12], box_size_text[12];
	/* Written by the child into our memory. */
	volatile int error;
	volatile uint32_t step;
};

static int read_request(struct plan *plan, const struct vc_actor_request *request)
{
	size_t size = sizeof *request + 16ul * request->rlimits + 4ul * request->fds;
	const char *bytes = (const char *)request;

	if (request->length <= size || bytes[request->length - 1] != '\0')
		return -EINVAL;
	plan->request = request;
	plan->rlimits = (const uint64_t *)(request + 1);
	plan->fds = (const int32_t *)(plan->rlimits + 2ul * request->rlimits);
	plan->path = (const char *)(plan->fds + request->fds);
	return 0;
}

static int make_memfd(const char *name)
{
	int fd = memfd_create(name, MFD_CLOEXEC | MFD_EXEC);

	return fd >= 0 || errno != EINVAL ? fd : memfd_create(name, MFD_CLOEXEC);
}

/*
 * A copy of the executable in memory: the child may have become a user who cannot reach the file
 * (a home directory, a file system that is shared with a guest).
 */
static int copy_executable(const char *path)
{
	int source = open(path, O_RDONLY | O_CLOEXEC);
	int copy = -1;
	struct stat about;
	int error = 0;

	if (source < 0)
		return -errno;
	if (fstat(source, &about) < 0)
		error = -errno;
	if (!error) {
		copy = make_memfd("vc-actor");
		if (copy < 0)
			error = -errno;
	}
	while (!error && about.st_size > 0) {
		ssize_t copied = sendfile(copy, source, NULL, (size_t)about.st_size);

		if (copied <= 0)
			error = copied < 0 ? -errno : -EIO;
		else
			about.st_size -= copied;
	}
	if (!error && fchmod(copy, 0755) < 0)
		error = -errno;
	close(source);
	if (error && copy >= 0)
		close(copy);
	return error ? error : copy;
}

static int child_fds(const struct plan *plan)
{
	if (syscall(SYS_close_range, 3, ~0u, CLOSE_RANGE_CLOEXEC) < 0) {
		struct rlimit limit;

		if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
			return -errno;
		for (rlim_t fd = 3; fd < limit.rlim_cur; fd++)
			fcntl((int)fd, F_SETFD, FD_CLOEXEC);
	}
	for (uint32_t i = 0; i < plan->request->fds; i++) {
		if (fcntl(plan->fds[i], F_SETFD, 0) < 0)
			return -errno;
	}
	/* Node marks its standard streams too; a process without them breaks in odd ways. */
	for (int fd = 0; fd < 3; fd++)
		fcntl(fd, F_SETFD, 0);
	if (fcntl(plan->memfd, F_SETFD, 0) < 0 || fcntl(plan->command[0], F_SETFD, 0) < 0 ||
	    fcntl(plan->reply[1], F_SETFD, 0) < 0 ||
	    (plan->box >= 0 && fcntl(plan->box, F_SETFD, 0) < 0))
		return -errno;
	return 0;
}

static int child_rlimits(const struct plan *plan)
{
	for (uint32_t i = 0; i < plan->request->rlimits; i++) {
		uint64_t limit[2] = { plan->rlimits[2 * i + 1], plan->rlimits[2 * i + 1] };

		if (syscall(SYS_prlimit64, 0, (unsigned int)plan->rlimits[2 * i], limit, NULL) < 0)
			return -errno;
	}
	return 0;
}

static int child_gid(const struct plan *plan)
{
	gid_t gid = plan->request->gid;

	if (!(plan->request->flags & VC_ACTOR_SET_GID))
		return 0;
	if (syscall(SYS_setgroups, 0, NULL) < 0 || syscall(SYS_setresgid, gid, gid, gid) < 0)
		return -errno;
	return 0;
}

static int child_uid(const struct plan *plan)
{
	uid_t uid = plan->request->uid;

	if (!(plan->request->flags & VC_ACTOR_SET_UID))
		return 0;
	return syscall(SYS_setresuid, uid, uid, uid) < 0 ? -errno : 0;
}

/* For a root without capabilities: execve() must not give them back. */
static int child_lock_root(const struct plan *plan)
{
	if (!(plan->request->flags & VC_ACTOR_DROP_CAPABILITIES))
		return 0;
	if (syscall(SYS_prctl, PR_SET_SECUREBITS, SECBIT_NOROOT | SECBIT_NOROOT_LOCKED, 0, 0, 0) < 0)
		return -errno;
	syscall(SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	return 0;
}

static int child_capabilities(const struct plan *plan)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[2] = { { 0 }, { 0 } };

	if (!(plan->request->flags & VC_ACTOR_DROP_CAPABILITIES))
		return 0;
	return syscall(SYS_capset, &header, none) < 0 ? -errno : 0;
}

static int child_exec(const struct plan *plan)
{
	const char *const arguments[] = { "vc-actor", plan->memfd_text, plan->command_text,
					  plan->reply_text, plan->box_text,
					  plan->box_size_text, NULL };
	const char *const environment[] = { NULL };

	syscall(SYS_execveat, plan->executable, "", arguments, environment, AT_EMPTY_PATH);
	return -errno;
}

/* Never returns if all goes well. */
static void become_actor(struct plan *plan)
{
	static const struct {
		enum vc_actor_step step;
		int (*run)(const struct plan *plan);
	} steps[] = {
		{ VC_STEP_FDS, child_fds },
		{ VC_STEP_RLIMITS, child_rlimits },
		{ VC_STEP_CAPABILITIES, child_lock_root },
		{ VC_STEP_GID, child_gid },
		{ VC_STEP_UID, child_uid },
		{ VC_STEP_CAPABILITIES, child_capabilities },
		{ VC_STEP_EXEC, child_exec },
	};

	for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
		plan->error = steps[i].run(plan);
		if (plan->error < 0) {
			plan->step = steps[i].step;
			return;
		}
	}
}

/* Before we open fds of our own, one of which might take the number of one that is closed. */
static int check_fds(const struct plan *plan)
{
	for (uint32_t i = 0; i < plan->request->fds; i++) {
		if (fcntl(plan->fds[i], F_GETFD) < 0)
			return -errno;
	}
	return 0;
}

static pid_t start_child(struct plan *plan)
{
	sigset_t all, before;
	pid_t pid;

	/* No handler of ours may run in the child while it shares our memory. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	pid = vfork();
	if (pid == 0) {
		become_actor(plan);
		_exit(127);
	}
	if (pid < 0)
		plan->error = -errno;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return pid;
}

static int prepare(struct plan *plan)
{
	uint32_t box_size;

	plan->executable = copy_executable(plan->path);
	if (plan->executable < 0)
		return plan->executable;
	plan->memfd = make_memfd("vc-actor-block");
	if (plan->memfd < 0 || ftruncate(plan->memfd, INITIAL_SIZE) < 0 ||
	    pipe2(plan->command, O_CLOEXEC) < 0 || pipe2(plan->reply, O_CLOEXEC) < 0)
		return -errno;
	plan->box = vc_black_box_channel(&box_size);
	snprintf(plan->box_text, sizeof plan->box_text, "%d", plan->box);
	snprintf(plan->box_size_text, sizeof plan->box_size_text, "%u", box_size);
	snprintf(plan->memfd_text, sizeof plan->memfd_text, "%d", plan->memfd);
	snprintf(plan->command_text, sizeof plan->command_text, "%d", plan->command[0]);
	snprintf(plan->reply_text, sizeof plan->reply_text, "%d", plan->reply[1]);
	return 0;
}

static void close_if_open(int fd)
{
	if (fd >= 0)
		close(fd);
}

int vc_actor_spawn(struct vc_actor *actor, struct vc_actor_request *request)
{
	struct plan plan = { .executable = -1, .memfd = -1, .command = { -1, -1 }, .reply = { -1, -1 } };
	pid_t pid = -1;
	int pidfd = -1;
	int error;

	request->failed_step = VC_STEP_PREPARE;
	error = read_request(&plan, request);
	if (error == 0) {
		error = check_fds(&plan);
		if (error < 0)
			request->failed_step = VC_STEP_FDS;
	}
	if (error == 0)
		error = prepare(&plan);
	if (error == 0) {
		pid = start_child(&plan);
		error = plan.error;
		if (plan.step)
			request->failed_step = plan.step;
	}
	if (error == 0) {
		pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
		if (pidfd < 0) {
			error = -errno;
			kill(pid, SIGKILL);
		}
	}
	if (error < 0 && pid > 0)
		syscall(SYS_wait4, pid, NULL, 0, NULL);

	close_if_open(plan.executable);
	close_if_open(plan.command[0]);
	close_if_open(plan.reply[1]);
	if (error < 0) {
		close_if_open(plan.memfd);
		close_if_open(plan.command[1]);
		close_if_open(plan.reply[0]);
		return error;
	}
	*actor = (struct vc_actor){
		.pid = pid,
		.pidfd = pidfd,
		.memfd = plan.memfd,
		.command = plan.command[1],
		.reply = plan.reply[0],
		.memfd_size = INITIAL_SIZE,
	};
	return 0;
}

/*
 * An actor: another process that executes blocks. It shares one memfd with us, which holds the
 * block; a command pipe says how long it is, a reply pipe how the run ended.
 */
#ifndef VC_ACTOR_H
#define VC_ACTOR_H

#include "program.h"

/* What travels over the two pipes. */
struct vc_actor_command {
	uint64_t length; /* of the block in the memfd */
	uint64_t copy;	 /* of it in the black box, see vc_black_box_offset() */
};

struct vc_actor_reply {
	int32_t result; /* as vc_run() */
	int32_t reserved;
};

/* The supervising process's handle; all fds are close-on-exec. */
struct vc_actor {
	int32_t pid;
	int32_t pidfd;
	int32_t memfd;
	int32_t command; /* write end */
	int32_t reply;	 /* read end */
	int32_t exited;	 /* the process was waited for */
	int32_t status;	 /* then: as of wait4() */
	int32_t reserved;
	uint64_t memfd_size;
	uint64_t timeout_ns;   /* in, of join and wait */
	uint64_t block_length; /* in, of start and join */
};

enum {
	VC_ACTOR_SET_UID = 1,
	VC_ACTOR_SET_GID = 2,
	VC_ACTOR_DROP_CAPABILITIES = 4,
};

/*
 * The request is followed by `rlimits` pairs of u64 (resource, value for soft and hard limit),
 * `fds` i32 (kept open under their number) and the NUL-terminated path of vc-actor.
 */
struct vc_actor_request {
	uint32_t length; /* of the whole request */
	uint32_t flags;
	uint32_t uid;
	uint32_t gid;
	uint32_t rlimits;
	uint32_t fds;
	uint32_t failed_step; /* out: VC_STEP_* if spawning failed */
	uint32_t reserved;
};

enum vc_actor_step {
	VC_STEP_PREPARE = 1,
	VC_STEP_FDS,
	VC_STEP_RLIMITS,
	VC_STEP_GID,
	VC_STEP_UID,
	VC_STEP_CAPABILITIES,
	VC_STEP_EXEC,
};

/* 0 or -errno. */
VC_EXPORT int vc_actor_spawn(struct vc_actor *actor, struct vc_actor_request *request);

/* Hands over a block and returns while it is executed. 0, -EPIPE if the actor has died. */
VC_EXPORT int vc_actor_start(struct vc_actor *actor, void *block);

/*
 * Waits for the end of the run and copies the block back. The result of vc_run(), -ETIMEDOUT, or
 * -EPIPE if the actor died meanwhile (the block then shows how far it came).
 */
VC_EXPORT int vc_actor_join(struct vc_actor *actor, void *block);

/* Sends a signal, 0 only tests. 0 or -errno. */
VC_EXPORT int vc_actor_kill(struct vc_actor *actor, uint32_t signal);

/* Waits until the process has ended and reaps it. 0, or -ETIMEDOUT. */
VC_EXPORT int vc_actor_wait(struct vc_actor *actor, uint32_t unused);

/* Ends the actor by closing its command pipe (or kills it after the timeout); closes all fds. */
VC_EXPORT int vc_actor_close(struct vc_actor *actor, uint32_t unused);

#endif

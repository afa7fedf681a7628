/*
 * Guarded memory access: a fault between VC_GUARD() and vc_guard_leave() comes back as an errno
 * instead of killing the process (a disabled BAR gives SIGBUS, an unmapped address SIGSEGV).
 *
 *	struct vc_guard guard;
 *	int fault = VC_GUARD(&guard);
 *
 *	if (fault == 0)
 *		... access ...
 *	vc_guard_leave(&guard);
 */
#ifndef VC_GUARD_H
#define VC_GUARD_H

#include <setjmp.h>

struct vc_guard {
	sigjmp_buf jump;
	struct vc_guard *outer;
};

/* Installs the signal handlers (once; they chain to those that were there). */
void vc_guard_install(void);

/* Forgets whoever had a handler for another signal: for the child of a fork. */
void vc_guard_reset_other_signals(void);

void vc_guard_enter(struct vc_guard *guard);
void vc_guard_leave(struct vc_guard *guard);

/* 0 on entry; EFAULT (SIGSEGV) or EIO (SIGBUS) when it returns a second time. */
#define VC_GUARD(guard) (vc_guard_enter(guard), sigsetjmp((guard)->jump, 0))

#endif

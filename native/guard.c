#define _GNU_SOURCE
#include "guard.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>

/*
 * initial-exec: a lazily allocated thread-local variable would call malloc inside the signal
 * handler. volatile: it must be stored before the access that may fault.
 */
static __thread struct vc_guard *volatile current __attribute__((tls_model("initial-exec")));

static struct sigaction previous_segv, previous_bus;
static pthread_once_t installed = PTHREAD_ONCE_INIT;

static void pass_on(int number, siginfo_t *info, void *context)
{
	struct sigaction *previous = number == SIGBUS ? &previous_bus : &previous_segv;

	if (previous->sa_flags & SA_SIGINFO) {
		previous->sa_sigaction(number, info, context);
	} else if (previous->sa_handler != SIG_DFL && previous->sa_handler != SIG_IGN) {
		previous->sa_handler(number);
	} else {
		/* Back to the default action. A fault repeats itself on return, a kill() does not. */
		signal(number, SIG_DFL);
		if (info->si_code <= 0)
			raise(number);
	}
}

static void on_fault(int number, siginfo_t *info, void *context)
{
	struct vc_guard *guard = current;

	/* si_code <= 0: sent by a process, not caused by our access */
	if (guard && info->si_code > 0)
		siglongjmp(guard->jump, number == SIGBUS ? EIO : EFAULT);
	pass_on(number, info, context);
}

static void install(void)
{
	struct sigaction action;

	memset(&action, 0, sizeof action);
	action.sa_sigaction = on_fault;
	/* SA_NODEFER: we leave by siglongjmp and so never restore the signal mask */
	action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
	sigemptyset(&action.sa_mask);
	sigaction(SIGSEGV, &action, &previous_segv);
	sigaction(SIGBUS, &action, &previous_bus);
}

void vc_guard_install(void)
{
	pthread_once(&installed, install);
}

void vc_guard_reset_other_signals(void)
{
	for (int number = 1; number < NSIG; number++) {
		if (number != SIGSEGV && number != SIGBUS && number != SIGPIPE)
			signal(number, SIG_DFL);
	}
}

void vc_guard_enter(struct vc_guard *guard)
{
	guard->outer = current;
	current = guard;
}

void vc_guard_leave(struct vc_guard *guard)
{
	current = guard->outer;
}

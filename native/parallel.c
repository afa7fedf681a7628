#define _GNU_SOURCE
#include "parallel.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>

#include "black-box.h"

#define STACK_SIZE (256 * 1024)

/* A barrier which can also be called off: when the last thread cannot be created. */
struct gate {
	pthread_mutex_t lock;
	pthread_cond_t change;
	uint32_t waiting;
	enum { CLOSED, OPEN, CALLED_OFF } state;
};

struct thread {
	pthread_t id;
	struct gate *gate;
	void *block;
	struct vc_bundle_entry *entry;
	int32_t number;
};

static void *run_thread(void *argument)
{
	struct thread *thread = argument;
	struct gate *gate = thread->gate;
	bool go;

	vc_black_box_thread = thread->number;
	pthread_mutex_lock(&gate->lock);
	gate->waiting++;
	pthread_cond_broadcast(&gate->change);
	while (gate->state == CLOSED)
		pthread_cond_wait(&gate->change, &gate->lock);
	go = gate->state == OPEN;
	pthread_mutex_unlock(&gate->lock);

	if (go)
		thread->entry->result = vc_run(thread->block, thread->entry->length);
	return NULL;
}

static bool bundle_valid(const struct vc_bundle *bundle, uint32_t length)
{
	const struct vc_bundle_entry *entries = (const struct vc_bundle_entry *)(bundle + 1);

	if (length < sizeof *bundle ||
	    bundle->count > (length - sizeof *bundle) / sizeof *entries)
		return false;
	for (uint32_t i = 0; i < bundle->count; i++) {
		if (entries[i].offset > length || entries[i].length > length - entries[i].offset)
			return false;
	}
	return true;
}

static int create(struct thread *thread)
{
	sigset_t all, before;
	pthread_attr_t attributes;
	int error;

	/* Signals meant for the process go to its own threads; faults are never blocked. */
	sigfillset(&all);
	sigdelset(&all, SIGSEGV);
	sigdelset(&all, SIGBUS);
	sigdelset(&all, SIGFPE);
	sigdelset(&all, SIGILL);
	sigdelset(&all, SIGTRAP);
	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, STACK_SIZE);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	error = pthread_create(&thread->id, &attributes, run_thread, thread);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attributes);
	return error;
}

int vc_run_parallel(void *memory, uint32_t length)
{
	struct vc_bundle *bundle = memory;
	struct vc_bundle_entry *entries = (struct vc_bundle_entry *)(bundle + 1);
	struct gate gate = { .lock = PTHREAD_MUTEX_INITIALIZER, .change = PTHREAD_COND_INITIALIZER };
	struct thread *threads;
	uint32_t created;
	int error = 0;

	if (!bundle_valid(bundle, length))
		return -EINVAL;
	threads = calloc(bundle->count ? bundle->count : 1, sizeof *threads);
	if (!threads)
		return -ENOMEM;

	for (created = 0; created < bundle->count; created++) {
		struct thread *thread = &threads[created];

		thread->gate = &gate;
		thread->entry = &entries[created];
		thread->number = (int32_t)created;
		thread->block = (char *)memory + thread->entry->offset;
		error = create(thread);
		if (error)
			break;
	}

	pthread_mutex_lock(&gate.lock);
	while (gate.waiting < created)
		pthread_cond_wait(&gate.change, &gate.lock);
	gate.state = error ? CALLED_OFF : OPEN;
	pthread_cond_broadcast(&gate.change);
	pthread_mutex_unlock(&gate.lock);

	for (uint32_t i = 0; i < created; i++)
		pthread_join(threads[i].id, NULL);
	free(threads);
	return -error;
}

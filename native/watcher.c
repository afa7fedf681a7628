#define _GNU_SOURCE
#include "watcher.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"

#define MAX_WATCHERS 64
#define MAX_EVENTS 16
#define NO_INDEX UINT32_MAX

struct watcher {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t change;
	int epoll;
	int stop; /* eventfd: written once, to end the thread */
	uint32_t count;
	struct vc_watch watches[]; /* fd: our duplicate */
};

/* Handles are indices here. Opened and closed by the main thread alone. */
static struct watcher *watchers[MAX_WATCHERS];

/* Not blocking even if somebody else has emptied the eventfd meanwhile. */
static bool read_counter(int fd, uint64_t *value)
{
	struct iovec area = { .iov_base = value, .iov_len = sizeof *value };
	ssize_t got = preadv2(fd, &area, 1, -1, RWF_NOWAIT);

	if (got < 0 && errno == EOPNOTSUPP)
		got = read(fd, value, sizeof *value);
	return got == sizeof *value;
}

static void count_arrival(struct watcher *watcher, uint32_t index)
{
	struct vc_watch *watch = &watcher->watches[index];
	uint64_t value, now;

	if (!read_counter(watch->fd, &value))
		return;
	now = vc_now();
	pthread_mutex_lock(&watcher->lock);
	watch->sum += value;
	watch->arrivals++;
	if (!watch->first)
		watch->first = now;
	watch->last = now;
	pthread_cond_broadcast(&watcher->change);
	pthread_mutex_unlock(&watcher->lock);
}

static void *run_watcher(void *argument)
{
	struct watcher *watcher = argument;
	struct epoll_event events[MAX_EVENTS];
	bool stopping = false;

	while (!stopping) {
		int ready = epoll_wait(watcher->epoll, events, MAX_EVENTS, -1);

		for (int i = 0; i < ready; i++) {
			if (events[i].data.u32 == NO_INDEX)
				stopping = true;
			else
				count_arrival(watcher, events[i].data.u32);
		}
	}
	/* What arrived before the end was asked for still counts. */
	for (uint32_t i = 0; i < watcher->count; i++)
		count_arrival(watcher, i);
	return NULL;
}

static void release(struct watcher *watcher)
{
	for (uint32_t i = 0; i < watcher->count; i++)
		close(watcher->watches[i].fd);
	if (watcher->stop >= 0)
		close(watcher->stop);
	if (watcher->epoll >= 0)
		close(watcher->epoll);
	pthread_cond_destroy(&watcher->change);
	pthread_mutex_destroy(&watcher->lock);
	free(watcher);
}

static int add(struct watcher *watcher, int fd, uint32_t index)
{
	struct epoll_event event = { .events = EPOLLIN, .data.u32 = index };

	return epoll_ctl(watcher->epoll, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

static int add_all(struct watcher *watcher, const struct vc_watch *watches, uint32_t count)
{
	int error;

	watcher->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (watcher->epoll < 0)
		return -errno;
	watcher->stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (watcher->stop < 0)
		return -errno;
	error = add(watcher, watcher->stop, NO_INDEX);
	for (uint32_t i = 0; error == 0 && i < count; i++) {
		/* A duplicate: the number stays ours whatever the test does with its own. */
		int fd = fcntl(watches[i].fd, F_DUPFD_CLOEXEC, 0);

		if (fd < 0)
			return -errno;
		watcher->watches[i].fd = fd;
		watcher->count = i + 1;
		error = add(watcher, fd, i);
	}
	return error;
}

static int start(struct watcher *watcher)
{
	sigset_t all, before;
	int error;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	error = pthread_create(&watcher->thread, NULL, run_watcher, watcher);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -error;
}

int vc_watcher_open(struct vc_watch *watches, uint32_t count)
{
	pthread_condattr_t attributes;
	struct watcher *watcher;
	uint32_t handle = 0;
	int error;

	while (handle < MAX_WATCHERS && watchers[handle])
		handle++;
	if (handle == MAX_WATCHERS)
		return -EMFILE;
	watcher = calloc(1, sizeof *watcher + count * sizeof *watches);
	if (!watcher)
		return -ENOMEM;
	watcher->epoll = watcher->stop = -1;
	pthread_mutex_init(&watcher->lock, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&watcher->change, &attributes);
	pthread_condattr_destroy(&attributes);

	error = add_all(watcher, watches, count);
	if (error == 0)
		error = start(watcher);
	if (error < 0) {
		release(watcher);
		return error;
	}
	watchers[handle] = watcher;
	return (int)handle;
}

static struct watcher *find(uint32_t handle)
{
	return handle < MAX_WATCHERS ? watchers[handle] : NULL;
}

int vc_watcher_read(struct vc_watch *watches, uint32_t handle)
{
	struct watcher *watcher = find(handle);

	if (!watcher)
		return -EBADF;
	pthread_mutex_lock(&watcher->lock);
	memcpy(watches, watcher->watches, watcher->count * sizeof *watches);
	pthread_mutex_unlock(&watcher->lock);
	return 0;
}

int vc_watcher_wait(struct vc_watch_wait *wait, uint32_t handle)
{
	struct watcher *watcher = find(handle);
	uint64_t deadline = vc_now() + wait->timeout_ns;
	struct timespec until = {
		.tv_sec = (time_t)(deadline / 1000000000u),
		.tv_nsec = (long)(deadline % 1000000000u),
	};
	int error = 0;

	if (!watcher)
		return -EBADF;
	if (wait->index >= watcher->count)
		return -EINVAL;
	pthread_mutex_lock(&watcher->lock);
	while (error == 0 && watcher->watches[wait->index].sum < wait->at_least)
		error = pthread_cond_timedwait(&watcher->change, &watcher->lock, &until);
	if (watcher->watches[wait->index].sum >= wait->at_least)
		error = 0;
	pthread_mutex_unlock(&watcher->lock);
	return -error;
}

int vc_watcher_close(struct vc_watch *watches, uint32_t handle)
{
	struct watcher *watcher = find(handle);

	if (!watcher)
		return -EBADF;
	watchers[handle] = NULL;
	eventfd_write(watcher->stop, 1);
	pthread_join(watcher->thread, NULL);
	memcpy(watches, watcher->watches, watcher->count * sizeof *watches);
	release(watcher);
	return 0;
}

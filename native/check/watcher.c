#define _GNU_SOURCE
#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "../watcher.h"
#include "check.h"

void check_watcher(void)
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

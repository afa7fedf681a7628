#define _GNU_SOURCE
#include "kcov.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kcov.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

/* Threads that are traced at once; what more there are is not traced. */
#define TRACERS 4
/* Addresses of one program: what comes behind them is not kept, and has mostly been reached before. */
#define ENTRIES (1u << 19)
/* Places for addresses that were reached, a power of two: VFIO has some ten thousand branches. */
#define KNOWN (1u << 17)

struct vc_tracer {
	int fd;
	bool is_busy;
	uint64_t *area; /* the number of addresses, then the addresses */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct vc_tracer tracers[TRACERS];
static uint32_t tracer_count;
static struct vc_range *ranges;
static uint32_t range_count;
/* A hash table, and its entries in the order in which they came. */
static uint64_t known[KNOWN];
static uint64_t order[KNOWN / 2];
static uint32_t known_count, told_count;

static int open_tracer(struct vc_tracer *tracer)
{
	const size_t size = ENTRIES * sizeof(uint64_t);
	int fd = open("/sys/kernel/debug/kcov", O_RDWR | O_CLOEXEC);
	int error;

	if (fd < 0)
		return -errno;
	if (ioctl(fd, KCOV_INIT_TRACE, (unsigned long)ENTRIES) == 0) {
		void *area = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

		if (area != MAP_FAILED) {
			*tracer = (struct vc_tracer){ .fd = fd, .area = area };
			return 0;
		}
	}
	error = -errno;
	close(fd);
	return error;
}

int vc_kcov_open(const void *wanted, uint32_t count)
{
	int error = 0;

	vc_kcov_close(NULL, 0);
	ranges = malloc(count * sizeof *ranges);
	if (!ranges)
		return -ENOMEM;
	memcpy(ranges, wanted, count * sizeof *ranges);
	range_count = count;
	/* All at once: what a fuzzer finds open when it begins is not its own to close. */
	while (!error && tracer_count < TRACERS) {
		error = open_tracer(&tracers[tracer_count]);
		tracer_count += !error;
	}
	if (error)
		vc_kcov_close(NULL, 0);
	return error;
}

int vc_kcov_close(const void *unused, uint32_t unused_too)
{
	(void)unused;
	(void)unused_too;
	for (uint32_t i = 0; i < tracer_count; i++) {
		munmap(tracers[i].area, ENTRIES * sizeof(uint64_t));
		close(tracers[i].fd);
	}
	free(ranges);
	ranges = NULL;
	tracer_count = range_count = known_count = told_count = 0;
	memset(known, 0, sizeof known);
	return 0;
}

int vc_kcov_fresh(void *addresses, uint32_t count)
{
	uint32_t fresh;

	pthread_mutex_lock(&lock);
	fresh = known_count - told_count < count ? known_count - told_count : count;
	memcpy(addresses, order + told_count, fresh * sizeof *order);
	told_count += fresh;
	pthread_mutex_unlock(&lock);
	return (int)fresh;
}

struct vc_tracer *vc_kcov_enter(void)
{
	struct vc_tracer *tracer = NULL;

	if (tracer_count == 0)
		return NULL;
	pthread_mutex_lock(&lock);
	for (uint32_t i = 0; i < tracer_count && !tracer; i++) {
		if (!tracers[i].is_busy && ioctl(tracers[i].fd, KCOV_ENABLE, KCOV_TRACE_PC) == 0)
			tracer = &tracers[i];
	}
	if (tracer) {
		tracer->is_busy = true;
		__atomic_store_n(&tracer->area[0], 0, __ATOMIC_RELAXED);
	}
	pthread_mutex_unlock(&lock);
	return tracer;
}

static bool counts(uint64_t address)
{
	uint32_t low = 0, high = range_count;

	while (low < high) {
		uint32_t middle = (low + high) / 2;

		if (address >= ranges[middle].end)
			low = middle + 1;
		else if (address < ranges[middle].start)
			high = middle;
		else
			return true;
	}
	return false;
}

static void remember(uint64_t address)
{
	uint32_t place = (uint32_t)(address * 0x9e3779b97f4a7c15u >> 40) & (KNOWN - 1);

	while (known[place] && known[place] != address)
		place = (place + 1) & (KNOWN - 1);
	if (known[place] || known_count == KNOWN / 2 || !counts(address))
		return;
	known[place] = address;
	order[known_count++] = address;
}

void vc_kcov_leave(struct vc_tracer *tracer)
{
	uint64_t end;

	if (!tracer)
		return;
	pthread_mutex_lock(&lock);
	end = __atomic_load_n(&tracer->area[0], __ATOMIC_RELAXED);
	ioctl(tracer->fd, KCOV_DISABLE, 0);
	for (uint64_t i = 1; i <= end; i++)
		remember(tracer->area[i]);
	tracer->is_busy = false;
	pthread_mutex_unlock(&lock);
}

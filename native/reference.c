/*
 * The benchmarks' reference: measures operations of VFIO as a plain C program does, without the
 * executor, and prints each latency in ns. `vfio-conformance bench` runs it between its own rounds.
 *
 *	vc-reference COUNT get-info			fd 3: container
 *	vc-reference COUNT map-dma SIZE 4k|thp|fd	fd 3: container, fd 4: the memory, if it is fd's
 *	vc-reference COUNT msi-loopback			fd 3: device, fd 4: eventfd
 *	vc-reference COUNT replay OPERATIONS		fd 0: a block, which knows its descriptors
 *
 * The latency of a replay is that of the whole block, divided by the number of operations.
 */
#define _GNU_SOURCE
#include <linux/vfio.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "clock.h"
#include "replay.h"

#define IOVA 0x40000000
#define ALIGNMENT (2u << 20)
#define WARM_UP 20
#define MAPPINGS 500

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void *sleep_for_ever(void *argument)
{
	for (;;)
		pause();
	return argument;
}

/*
 * VFIO's users have several threads and hundreds of mappings: each makes the kernel's way to a
 * descriptor, or to a page, a little longer.
 */
static void become_large(void)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, sleep_for_ever, NULL))
		die("pthread_create");
	for (int i = 0; i < MAPPINGS; i++) {
		/* Neighbours of one kind would become one mapping. */
		int protection = i % 2 ? PROT_READ : PROT_NONE;

		if (mmap(NULL, 4096, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED)
			die("mmap");
	}
}

static uint64_t get_info(void)
{
	struct vfio_iommu_type1_info info = { .argsz = sizeof info };
	uint64_t start = vc_now();
	int result = ioctl(3, VFIO_IOMMU_GET_INFO, &info);
	uint64_t end = vc_now();

	if (result)
		die("VFIO_IOMMU_GET_INFO");
	return end - start;
}

static char *allocate(size_t size, const char *kind)
{
	int shared = !strcmp(kind, "fd");
	char *area = mmap(NULL, size + ALIGNMENT, PROT_READ | PROT_WRITE,
			  shared ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS, shared ? 4 : -1, 0);

	if (area == MAP_FAILED)
		die("mmap");
	if (!shared) {
		area += -(uintptr_t)area % ALIGNMENT;
		madvise(area, size, strcmp(kind, "thp") ? MADV_NOHUGEPAGE : MADV_HUGEPAGE);
	}
	memset(area, 1, size);
	return area;
}

static uint64_t map_dma(const char *memory, size_t size)
{
	struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof map,
		.flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
		.vaddr = (uintptr_t)memory,
		.iova = IOVA,
		.size = size,
	};
	struct vfio_iommu_type1_dma_unmap unmap = {
		.argsz = sizeof unmap,
		.iova = IOVA,
		.size = size,
	};
	uint64_t start = vc_now();
	int result = ioctl(3, VFIO_IOMMU_MAP_DMA, &map);
	uint64_t end = vc_now();

	if (result)
		die("VFIO_IOMMU_MAP_DMA");
	if (ioctl(3, VFIO_IOMMU_UNMAP_DMA, &unmap))
		die("VFIO_IOMMU_UNMAP_DMA");
	return end - start;
}

static uint64_t msi_loopback(void)
{
	struct vfio_irq_set set = {
		.argsz = sizeof set,
		.flags = VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER,
		.index = VFIO_PCI_MSI_IRQ_INDEX,
		.count = 1,
	};
	uint64_t counter;
	uint64_t start = vc_now();
	int result = ioctl(3, VFIO_DEVICE_SET_IRQS, &set);
	ssize_t length = read(4, &counter, sizeof counter);
	uint64_t end = vc_now();

	if (result)
		die("VFIO_DEVICE_SET_IRQS");
	if (length != sizeof counter)
		die("read of the eventfd");
	return end - start;
}

int main(int argc, char **argv)
{
	long count = argc > 2 ? atol(argv[1]) : 0;
	const char *what = argc > 2 ? argv[2] : "";
	size_t size = argc > 3 ? strtoul(argv[3], NULL, 0) : 0;
	bool replays = !strcmp(what, "replay");
	char *memory = NULL;
	uint64_t *samples;

	if (count < 1 || (!strcmp(what, "map-dma") && argc < 5) || (replays && !size)) {
		fprintf(stderr, "usage: vc-reference COUNT get-info|map-dma SIZE 4k|thp|fd|"
				"msi-loopback|replay OPERATIONS\n");
		return 2;
	}
	samples = calloc((size_t)count, sizeof *samples);
	if (!samples)
		die("calloc");
	become_large();
	if (!strcmp(what, "map-dma"))
		memory = allocate(size, argv[4]);
	if (replays)
		vc_replay_read();
	for (long i = -(count < WARM_UP ? count : WARM_UP); i < count; i++) {
		uint64_t sample = replays			    ? vc_replay() / size
				  : memory			    ? map_dma(memory, size)
				  : !strcmp(what, "msi-loopback") ? msi_loopback()
								    : get_info();

		if (i >= 0)
			samples[i] = sample;
	}
	for (long i = 0; i < count; i++)
		printf("%llu\n", (unsigned long long)samples[i]);
	return 0;
}

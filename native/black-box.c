#define _GNU_SOURCE
#include "black-box.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

_Thread_local int32_t vc_black_box_thread = -1;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct vc_black_box *box;
static uint32_t capacity;
static int channel = -1;

static uint32_t rounded(uint32_t size)
{
	return (size + 7) & ~7u;
}

/* The arena directly behind the records, wherever it lies in the original. */
static void *write_entry(struct vc_box_entry *entry, const struct vc_header *header)
{
	const char *arena = (const char *)header + header->arena_offset;
	char *before = (char *)(entry + 1);
	struct vc_header *copy = (struct vc_header *)(before + entry->arena_size);
	const uint32_t records = header->op_count * (uint32_t)sizeof(struct vc_op);

	memcpy(before, arena, header->arena_size);
	memcpy(copy, header, sizeof *header + records);
	copy->arena_offset = (uint32_t)sizeof *header + records;
	memcpy((char *)copy + copy->arena_offset, arena, header->arena_size);
	return copy;
}

int vc_black_box_begin(const void *unused, uint32_t unused_too)
{
	(void)unused;
	(void)unused_too;
	if (box)
		*box = (struct vc_black_box){ .magic = VC_BOX_MAGIC, .used = sizeof *box };
	return 0;
}

static int map_box(int fd, uint32_t size)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (memory == MAP_FAILED)
		return -errno;
	box = memory;
	capacity = size;
	channel = fd;
	return 0;
}

int vc_black_box_open(const char *path, uint32_t size)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	int error;

	if (fd < 0)
		return -errno;
	error = map_box(fd, size);
	if (error < 0) {
		close(fd);
		return error;
	}
	return vc_black_box_begin(NULL, 0);
}

void vc_black_box_share(int fd, uint32_t size)
{
	/* An actor whose address space is limited goes on without. */
	map_box(fd, size);
}

int vc_black_box_channel(uint32_t *size)
{
	*size = capacity;
	return channel;
}

uint64_t vc_black_box_offset(const struct vc_header *copy)
{
	return copy ? (uint64_t)((const char *)copy - (const char *)box) : 0;
}

struct vc_header *vc_black_box_at(uint64_t offset)
{
	return box && offset ? (struct vc_header *)((char *)box + offset) : NULL;
}

struct vc_header *vc_black_box_enter(const struct vc_header *header, int32_t thread)
{
	const struct vc_box_entry entry = {
		.thread = thread,
		.arena_size = rounded(header->arena_size),
		.block_size = rounded((uint32_t)(sizeof *header + header->arena_size +
						 header->op_count * sizeof(struct vc_op))),
	};
	const uint64_t size = sizeof entry + entry.arena_size + entry.block_size;
	struct vc_header *copy = NULL;

	if (!box)
		return NULL;
	pthread_mutex_lock(&lock);
	if (!box->keep && box->used + size > capacity / 2)
		box->keep = box->used;
	if (box->used + size > capacity && box->keep + size <= capacity)
		box->used = box->keep;
	if (box->used + size <= capacity) {
		struct vc_box_entry *place = (struct vc_box_entry *)((char *)box + box->used);

		*place = entry;
		place->number = box->entries;
		copy = write_entry(place, header);
		box->used += size;
	}
	box->entries++;
	pthread_mutex_unlock(&lock);
	return copy;
}

void vc_black_box_leave(struct vc_header *copy, const struct vc_header *header)
{
	memcpy((char *)copy + copy->arena_offset, (const char *)header + header->arena_offset,
	       header->arena_size);
}

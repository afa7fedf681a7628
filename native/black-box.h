/*
 * The black box: memory that outlives this process, in which every block that is executed lies as
 * far as it came. It is a file, or memory of an emulated device that the emulator keeps in a file;
 * who finds it after a death reads which call did not return.
 *
 *   struct vc_black_box | entries, one behind the other: struct vc_box_entry | arena before | block
 *
 * When it is full, the entries behind the middle are overwritten: what a test began with stays.
 */
#ifndef VC_BLACK_BOX_H
#define VC_BLACK_BOX_H

#include "program.h"

#define VC_BOX_MAGIC 0x31584256u /* "VBX1" */

struct vc_black_box {
	uint32_t magic;
	uint32_t entries; /* numbers given so far: gaps in the numbers are entries overwritten */
	uint64_t used;	  /* bytes, this header included */
	uint64_t keep;	  /* what is to stay when the box is full; 0: the middle is not reached */
	uint64_t reserved;
};

struct vc_box_entry {
	uint32_t number;
	int32_t thread; /* of vc_run_parallel(), -1 outside, -PID in an actor */
	uint32_t arena_size; /* a multiple of 8 */
	uint32_t block_size; /* a multiple of 8 */
};

_Static_assert(sizeof(struct vc_black_box) == 32, "the box's size is part of the format");
_Static_assert(sizeof(struct vc_box_entry) == 16, "the entry's size is part of the format");

/* `path`: NUL-terminated, of a file of at least `size` bytes. 0 or -errno. */
VC_EXPORT int vc_black_box_open(const char *path, uint32_t size);

/* Empties the box: a new test begins. 0. */
VC_EXPORT int vc_black_box_begin(const void *unused, uint32_t unused_too);

/* The box that another process has opened: `fd` and `size` as of its vc_black_box_channel(). */
void vc_black_box_share(int fd, uint32_t size);

/* The file of the box and its size; -1 if there is none. */
int vc_black_box_channel(uint32_t *size);

/*
 * Puts a copy of the block into the box, `thread` as in struct vc_box_entry. NULL if there is no box,
 * or if it is too small.
 */
struct vc_header *vc_black_box_enter(const struct vc_header *header, int32_t thread);

/* Where in the box a copy lies, for who shares it, and back; 0 and NULL for none. */
uint64_t vc_black_box_offset(const struct vc_header *copy);
struct vc_header *vc_black_box_at(uint64_t offset);

/* The block has come to its end: what its data are now. */
void vc_black_box_leave(struct vc_header *copy, const struct vc_header *header);

/* Whose blocks the caller enters next, as in struct vc_box_entry. */
extern _Thread_local int32_t vc_black_box_thread;

#endif

/* Guarded memory operations. All return >= 0, or -errno: -EFAULT for SIGSEGV, -EIO for SIGBUS. */
#ifndef VC_MEMORY_H
#define VC_MEMORY_H

#include <stdint.h>

/* width: 8, 16, 32 or 64 bits, exactly one access of that width (-EINVAL for another width). */
int64_t vc_load(uint64_t width, uint64_t address, uint64_t *value);
int64_t vc_store(uint64_t width, uint64_t address, uint64_t value);

int64_t vc_copy(uint64_t destination, uint64_t source, uint64_t length);

/*
 * A deterministic pattern: byte i of the area is byte (phase + i) of the endless sequence that
 * belongs to the seed. vc_verify returns 0, or 1 + the offset of the first byte that differs.
 */
int64_t vc_fill(uint64_t address, uint64_t length, uint64_t seed, uint64_t phase);
int64_t vc_verify(uint64_t address, uint64_t length, uint64_t seed, uint64_t phase);

/* Until (load & mask) == value: 0, or -ETIMEDOUT. *last is what was read last. */
int64_t vc_wait(uint64_t width, uint64_t address, uint64_t mask, uint64_t value,
		uint64_t timeout_ns, uint64_t *last);

#endif

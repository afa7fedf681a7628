#define _GNU_SOURCE
#include "memory.h"

#include <errno.h>

#include "clock.h"
#include "guard.h"

/*
 * These functions access whatever address the program names, aligned or not: that is their
 * purpose, so the sanitizers of `make check` must not judge it.
 */
#define ANY_ADDRESS __attribute__((no_sanitize("address", "alignment", "null")))

ANY_ADDRESS static int64_t access_load(uint64_t width, uint64_t address, uint64_t *value)
{
	switch (width) {
	case 8:
		*value = *(volatile uint8_t *)(uintptr_t)address;
		return 0;
	case 16:
		*value = *(volatile uint16_t *)(uintptr_t)address;
		return 0;
	case 32:
		*value = *(volatile uint32_t *)(uintptr_t)address;
		return 0;
	case 64:
		*value = *(volatile uint64_t *)(uintptr_t)address;
		return 0;
	default:
		return -EINVAL;
	}
}

ANY_ADDRESS static int64_t access_store(uint64_t width, uint64_t address, uint64_t value)
{
	switch (width) {
	case 8:
		*(volatile uint8_t *)(uintptr_t)address = (uint8_t)value;
		return 0;
	case 16:
		*(volatile uint16_t *)(uintptr_t)address = (uint16_t)value;
		return 0;
	case 32:
		*(volatile uint32_t *)(uintptr_t)address = (uint32_t)value;
		return 0;
	case 64:
		*(volatile uint64_t *)(uintptr_t)address = value;
		return 0;
	default:
		return -EINVAL;
	}
}

ANY_ADDRESS static void access_copy(uint64_t destination, uint64_t source, uint64_t length)
{
	uint64_t done = 0;

	/* Not memcpy: device memory wants plain accesses, never vector instructions. */
	if (((destination | source) & 7) == 0) {
		for (; done + 8 <= length; done += 8)
			*(volatile uint64_t *)(uintptr_t)(destination + done) =
				*(volatile uint64_t *)(uintptr_t)(source + done);
	}
	for (; done < length; done++)
		*(volatile uint8_t *)(uintptr_t)(destination + done) =
			*(volatile uint8_t *)(uintptr_t)(source + done);
}

/* Word `index` of the pattern: SplitMix64, which is random access by nature. */
static inline uint64_t pattern_word(uint64_t seed, uint64_t index)
{
	uint64_t word = seed + (index + 1) * 0x9e3779b97f4a7c15u;

	word = (word ^ (word >> 30)) * 0xbf58476d1ce4e5b9u;
	word = (word ^ (word >> 27)) * 0x94d049bb133111ebu;
	return word ^ (word >> 31);
}

static inline uint8_t pattern_byte(uint64_t seed, uint64_t position)
{
	return (uint8_t)(pattern_word(seed, position >> 3) >> (8 * (position & 7)));
}

ANY_ADDRESS static void access_fill(uint64_t address, uint64_t length, uint64_t seed,
				    uint64_t phase)
{
	uint64_t done = 0;

	if (((address | phase) & 7) == 0) {
		for (; done + 8 <= length; done += 8)
			*(volatile uint64_t *)(uintptr_t)(address + done) =
				pattern_word(seed, (phase + done) >> 3);
	}
	for (; done < length; done++)
		*(volatile uint8_t *)(uintptr_t)(address + done) = pattern_byte(seed, phase + done);
}

ANY_ADDRESS static int64_t access_verify(uint64_t address, uint64_t length, uint64_t seed,
					 uint64_t phase)
{
	uint64_t done = 0;

	if (((address | phase) & 7) == 0) {
		for (; done + 8 <= length; done += 8) {
			if (*(volatile uint64_t *)(uintptr_t)(address + done) !=
			    pattern_word(seed, (phase + done) >> 3))
				break; /* the loop over bytes finds which */
		}
	}
	for (; done < length; done++) {
		if (*(volatile uint8_t *)(uintptr_t)(address + done) !=
		    pattern_byte(seed, phase + done))
			return (int64_t)(done + 1);
	}
	return 0;
}

int64_t vc_load(uint64_t width, uint64_t address, uint64_t *value)
{
	struct vc_guard guard;
	int64_t result;
	int fault = VC_GUARD(&guard);

	result = fault ? -fault : access_load(width, address, value);
	vc_guard_leave(&guard);
	return result;
}

int64_t vc_store(uint64_t width, uint64_t address, uint64_t value)
{
	struct vc_guard guard;
	int64_t result;
	int fault = VC_GUARD(&guard);

	result = fault ? -fault : access_store(width, address, value);
	vc_guard_leave(&guard);
	return result;
}

int64_t vc_copy(uint64_t destination, uint64_t source, uint64_t length)
{
	struct vc_guard guard;
	int fault = VC_GUARD(&guard);

	if (!fault)
		access_copy(destination, source, length);
	vc_guard_leave(&guard);
	return -fault;
}

int64_t vc_fill(uint64_t address, uint64_t length, uint64_t seed, uint64_t phase)
{
	struct vc_guard guard;
	int fault = VC_GUARD(&guard);

	if (!fault)
		access_fill(address, length, seed, phase);
	vc_guard_leave(&guard);
	return -fault;
}

int64_t vc_verify(uint64_t address, uint64_t length, uint64_t seed, uint64_t phase)
{
	struct vc_guard guard;
	int64_t result;
	int fault = VC_GUARD(&guard);

	result = fault ? -fault : access_verify(address, length, seed, phase);
	vc_guard_leave(&guard);
	return result;
}

int64_t vc_wait(uint64_t width, uint64_t address, uint64_t mask, uint64_t value,
		uint64_t timeout_ns, uint64_t *last)
{
	const uint64_t begin = vc_now();
	const struct timespec nap = { .tv_nsec = 20000 };

	for (;;) {
		int64_t result = vc_load(width, address, last);
		uint64_t waited;

		if (result < 0)
			return result;
		if ((*last & mask) == value)
			return 0;
		waited = vc_now() - begin;
		if (waited >= timeout_ns)
			return -ETIMEDOUT;
		/* A device answers within microseconds, or else needs the processor we hold. */
		if (waited < 50000)
			vc_relax();
		else
			nanosleep(&nap, NULL);
	}
}

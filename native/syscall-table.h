/* The numbers of the system calls among the opcodes, for whoever executes them; one copy for each. */
#ifndef VC_SYSCALL_TABLE_H
#define VC_SYSCALL_TABLE_H

#include "syscalls.h"

static const long syscall_numbers[] = {
#define VC_SYSCALL(name, number) number,
#define VC_HARNESS(name)
#include "opcodes.def"
#undef VC_SYSCALL
#undef VC_HARNESS
};

#define SYSCALL_COUNT (sizeof syscall_numbers / sizeof syscall_numbers[0])

#endif

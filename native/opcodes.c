#include "program.h"

static const char *const names[VC_OPCODE_COUNT] = {
#define VC_SYSCALL(name, number) #name,
#define VC_HARNESS(name) #name,
#include "opcodes.def"
#undef VC_SYSCALL
#undef VC_HARNESS
};

uint32_t vc_opcode_count(void)
{
	return VC_OPCODE_COUNT;
}

const char *vc_opcode_name(uint32_t opcode)
{
	return opcode < VC_OPCODE_COUNT ? names[opcode] : "";
}

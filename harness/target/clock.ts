/** What a target's description says of its clock if an instruction is a nanosecond. */
export const COUNTED_CLOCK = 'counts instructions, one a nanosecond';

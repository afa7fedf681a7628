import { kernelAtLeast } from '../../harness/testing/index.ts';

/** What a range that passes 2^64 is refused with: an errno of its own since 6.18. */
export const WRAP_ERRNO = kernelAtLeast('6.18') ? 'EOVERFLOW' : 'EINVAL';

import { KVM_GUEST } from '../../../harness/testing/index.ts';

/** Of a test with a guest: an emulator that emulates virtualisation is slow, and the first test loads KVM. */
export const IN_GUEST = { needs: [KVM_GUEST], timeoutMs: 180_000 };

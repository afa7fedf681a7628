import { expect, it } from 'vitest';
import { byHand, PACKAGES } from './debian-packages.mjs';

it('lists what is missing where Debian packages do not exist', () => {
  const { message } = byHand(PACKAGES, 'Example Linux 1');
  expect(message).toMatch(/^this system is Example Linux 1, not Debian/);
  expect(message).toContain('\n  - QEMU, version 10 or newer (qemu-system-x86_64)\n');
  expect(message).toContain('\n  - busybox, statically linked\n');
  expect(message).toContain('--kernel PATH');
});

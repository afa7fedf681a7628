import { afterEach, expect, it } from 'vitest';
import { setUpVm } from './steps.mjs';

const own = Object.getOwnPropertyDescriptor(process, 'arch');

afterEach(() => {
  if (own) Object.defineProperty(process, 'arch', own);
});

it('refuses virtual machines on other processors before it fetches anything', async () => {
  Object.defineProperty(process, 'arch', { ...own, value: 'arm64' });
  await expect(setUpVm()).rejects.toThrow(/x86-64 ones, and this machine is arm64[^]*--device/);
});

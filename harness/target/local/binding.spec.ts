import { execFileSync } from 'node:child_process';
import { expect, it, vi } from 'vitest';
import { commandPath } from '../../../setup/shell.mjs';
import { roots, useFakeMachine } from '../../../tests/fake-machine.ts';
import { loadVfioPci } from './binding.ts';

vi.mock('node:child_process', () => ({ execFileSync: vi.fn() }));
useFakeMachine();

it('vfio-pci is loaded for a root whose PATH leads to no administrative commands', () => {
  vi.stubEnv('PATH', '');
  loadVfioPci(roots.sys);
  const modprobe = commandPath('modprobe') ?? 'modprobe';
  expect(execFileSync).toHaveBeenCalledWith(modprobe, ['vfio-pci'], expect.anything());
});

import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { expect, it, vi } from 'vitest';
import { file, roots, useFakeMachine } from '../../../tests/fake-machine.ts';
import { absentModules, unloadModules } from './test-modules.ts';

vi.mock('node:child_process', () => ({ execFileSync: vi.fn() }));
useFakeMachine();

it('modules that tests load go with the run, unless they were there before', () => {
  expect(absentModules(roots.sys)).toEqual(['aer_inject']);
  expect(unloadModules(['aer_inject'], roots.sys)).toEqual([]);
  expect(execFileSync).not.toHaveBeenCalled();

  file(join(roots.sys, 'module/aer_inject/refcnt'), '0');
  expect(absentModules(roots.sys)).toEqual([]);
  expect(unloadModules(['aer_inject'], roots.sys)).toEqual([]);
  expect(execFileSync).toHaveBeenCalledWith(
    expect.stringContaining('modprobe'),
    ['-r', 'aer_inject'],
    expect.anything(),
  );
});

it('a module that the kernel does not let go of is named', () => {
  file(join(roots.sys, 'module/aer_inject/refcnt'), '1');
  vi.mocked(execFileSync).mockImplementation(() => {
    throw new Error('it is in use');
  });
  expect(unloadModules(['aer_inject'], roots.sys)).toEqual([
    'the module aer_inject stays loaded: it is in use',
  ]);
});

import { expect, it } from 'vitest';
import { recordedOptions } from './recorded-options.ts';

it('reads the options of a run back, values that look like options included', () => {
  const options = recordedOptions([
    'vfio-conformance',
    'run',
    'container.*',
    '--kernel',
    '/a kernel',
    '--append',
    'a=1 b',
    '--append',
    '--c',
    '--qemu-arg',
    '-d',
    '--before',
    '-x',
  ]);
  expect(options).toMatchObject({
    kernel: '/a kernel',
    append: ['a=1 b', '--c'],
    'qemu-arg': ['-d'],
    before: '-x',
    'timeout-scale': 1,
  });
  expect(options.machine).toBeUndefined();
  expect(options.device).toBeUndefined();
});

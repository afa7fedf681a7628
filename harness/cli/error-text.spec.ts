import { expect, it } from 'vitest';
import { SetupError, UsageError } from '../target/errors.ts';
import { errorText } from './error-text.ts';

it('errors that a person can mend are told without a stack', () => {
  expect(errorText(new UsageError('no such test', 'see `list`'))).toBe(
    'no such test\n  next: see `list`',
  );
  expect(errorText(new SetupError('no QEMU', 'install it'))).toBe('no QEMU\n  next: install it');
});

it('a full disk is no defect, whoever wanted to write', () => {
  const full = Object.assign(new Error("ENOSPC: no space left on device, write '/mnt/page.html'"), {
    code: 'ENOSPC',
  });
  expect(errorText(full)).toBe(
    "ENOSPC: no space left on device, write '/mnt/page.html'\n" +
      '  next: make room on a disk that can be written to, then start again',
  );
});

it('anything else is a defect of ours, and shows where', () => {
  expect(errorText(new TypeError('undefined is not a function'))).toMatch(
    /undefined is not a function\n {4}at .*please report it/s,
  );
  expect(errorText('odd')).toMatch(/^odd\n.*please report it/);
});

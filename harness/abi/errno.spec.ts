import { getSystemErrorMap } from 'node:util';
import { expect, test } from 'vitest';
import { errnoMessage, errnoName, ERRNO } from './errno.ts';
import type { ErrnoName } from './errno.ts';

test('agrees with what Node knows', () => {
  for (const [negative, [name]] of getSystemErrorMap()) {
    // libuv has errors of its own (EAI_*, EOF, UNKNOWN, ECHARSET), which lie beyond
    if (name in ERRNO) expect(ERRNO[name as ErrnoName]).toBe(-negative);
  }
  expect(ERRNO.EBUSY).toBe(16);
  expect(ERRNO.EHWPOISON).toBe(133);
  expect(ERRNO.EWOULDBLOCK).toBe(ERRNO.EAGAIN);
});

test('names and explains numbers of either sign, known or not', () => {
  expect(errnoName(-16)).toBe('EBUSY');
  expect(errnoName(524)).toBe('ENOTSUPP');
  expect(errnoName(9999)).toBe('9999');
  expect(errnoMessage(-2)).toBe('No such file or directory');
  expect(errnoMessage(9999)).toBe('Unknown error 9999');
});

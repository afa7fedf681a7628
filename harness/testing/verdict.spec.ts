import { expect, it } from 'vitest';
import { judge } from './verdict.ts';

const UNCHANGED = { kernelLog: [], complaints: [], taints: [], leftovers: [] };

it.each<[string, () => void, string, string]>([
  ['bigints', () => expect(5n).toBeGreaterThan(90n), '90n', '5n'],
  ['numbers', () => expect(5).toBe(6), '6', '5'],
  ['strings', () => expect('EINVAL').toBe('EBUSY'), 'EBUSY', 'EINVAL'],
])('tells both sides of a comparison of %s', (_, compare, expected, observed) => {
  let thrown: unknown;
  try {
    compare();
  } catch (error) {
    thrown = error;
  }
  expect(judge(thrown, [], UNCHANGED)).toMatchObject({ kind: 'assertion', expected, observed });
});

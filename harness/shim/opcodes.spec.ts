import { expect, test } from 'vitest';
import { nativeOpcodeNames } from './library.ts';
import { OPCODES } from './opcodes.ts';

test('both sides number the operations alike', () => {
  expect(nativeOpcodeNames()).toEqual([...OPCODES]);
});

import { readFileSync } from 'node:fs';

const ELF64 = Buffer.from([0x7f, 0x45, 0x4c, 0x46, 2, 1]);
const PT_INTERP = 3;

/**
 * Whether a file is a 64-bit program that needs no dynamic linker, of whatever libc (elf(5)).
 * @param {string} path
 */
export function isStaticProgram(path) {
  const file = readFileSync(path);
  if (!file.subarray(0, ELF64.length).equals(ELF64)) return false;
  const offset = Number(file.readBigUInt64LE(0x20));
  const size = file.readUInt16LE(0x36);
  const count = file.readUInt16LE(0x38);
  const types = Array.from({ length: count }, (_, i) => file.readUInt32LE(offset + i * size));
  return !types.includes(PT_INTERP);
}

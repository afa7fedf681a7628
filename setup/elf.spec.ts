import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { isStaticProgram } from './elf.mjs';

const folder = mkdtempSync(join(tmpdir(), 'elf-'));
afterAll(() => rmSync(folder, { recursive: true }));

const PT_LOAD = 1;
const PT_INTERP = 3;

/** A program of two segments, one of which may name a dynamic linker. */
function program(second: number, linker = ''): string {
  const header = Buffer.alloc(64);
  header.set([0x7f, 0x45, 0x4c, 0x46, 2, 1]);
  header.writeBigUInt64LE(64n, 0x20);
  header.writeUInt16LE(56, 0x36);
  header.writeUInt16LE(2, 0x38);
  const segments = [PT_LOAD, second].map((type) => {
    const segment = Buffer.alloc(56);
    segment.writeUInt32LE(type);
    return segment;
  });
  return file(Buffer.concat([header, ...segments, Buffer.from(linker)]));
}

function file(content: Buffer): string {
  const path = join(folder, 'program');
  writeFileSync(path, content);
  return path;
}

it.each(['/lib64/ld-linux-x86-64.so.2', '/lib/ld-musl-x86_64.so.1'])(
  'takes a program that names %s for a dynamic one',
  (linker) => expect(isStaticProgram(program(PT_INTERP, linker))).toBe(false),
);

it('takes one that names none for a static one, whatever words are in it', () => {
  expect(isStaticProgram(program(PT_LOAD, '/lib64/ld-linux-x86-64.so.2'))).toBe(true);
});

it('knows the program that runs this as a dynamic one, and a script as none', () => {
  expect(isStaticProgram(process.execPath)).toBe(false);
  expect(isStaticProgram(file(Buffer.from('#!/bin/sh\n')))).toBe(false);
});

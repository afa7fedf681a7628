import { readdirSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import * as libc from '../abi/libc.ts';
import { ERRNO } from '../abi/errno.ts';
import { DmaMemory } from './dma-memory.ts';
import type { MemoryKind } from './dma-memory.ts';
import { KernelError } from './kernel-error.ts';
import { recorder } from './recorder.ts';
import { sys } from './sys.ts';

const SIZE_2M = 2 * 1024 * 1024;

/** The line `field` of the mapping that begins at `address`, in KiB. */
function smaps(address: bigint, field: string): number {
  const text = readFileSync('/proc/self/smaps', 'utf8');
  const mapping = text.slice(text.indexOf(`\n${address.toString(16)}-`) + 1);
  return Number(new RegExp(`^${field}: *([0-9]+) kB`, 'm').exec(mapping)?.[1]);
}

test.each([
  ['4k', 4096],
  ['thp', SIZE_2M],
  ['memfd', 4096],
  ['file', 4096],
  ['zero', 4096],
] as [MemoryKind, number][])('%s: aligned, holds what is written', (kind, pageSize) => {
  const memory = DmaMemory.allocate({ size: 10_000, kind });
  expect(memory.address % BigInt(pageSize)).toBe(0n);
  expect(memory.size).toBe(Math.ceil(10_000 / pageSize) * pageSize);
  expect(memory.read(0, 100).every((byte) => byte === 0)).toBe(true);
  memory.write(4090, Buffer.from('over the edge'));
  expect(memory.read(4090, 13).toString()).toBe('over the edge');
  memory.fill(2n ** 63n + 1n);
  expect(memory.verify(2n ** 63n + 1n)).toBe(-1);
  expect(memory.verify(3)).toBeGreaterThanOrEqual(0);
  memory.fill(3, 4096, 100);
  expect(memory.verify(3, 4096, 100)).toBe(-1);
  expect(memory.verify(2n ** 63n + 1n)).toBeGreaterThanOrEqual(4096);
  expect(memory.verify(2n ** 63n + 1n, 8192, 1000, 8192)).toBe(-1);
  expect(memory.fd >= 0).toBe(kind === 'memfd' || kind === 'file');
  memory.free();
  memory.free();
  expect(sys.load(8, memory.address).result).toBe(-ERRNO.EFAULT);
  expect(() => memory.read(0, 1)).toThrow('freed');
});

test('populated when allocated, or not', () => {
  const now = DmaMemory.allocate({ size: 65536 });
  const later = DmaMemory.allocate({ size: 65536, populate: false, align: 1 << 20 });
  const zero = DmaMemory.allocate({ size: 65536, kind: 'zero', align: 1 << 20 });
  expect(now.address % 4096n).toBe(0n);
  expect(later.address % (1n << 20n)).toBe(0n);
  expect(smaps(later.address, 'Rss')).toBe(0);
  later.read(0, later.size);
  // Memory that was only read is the zero page in most kernels, but there are some that give a page of its own.
  expect(smaps(zero.address, 'Anonymous')).toBe(smaps(later.address, 'Anonymous'));
  for (const memory of [now, later, zero]) memory.free();
});

test('transparent huge pages are got where the machine gives them', () => {
  const memory = DmaMemory.allocate({ size: SIZE_2M, kind: 'thp' });
  const enabled = readFileSync('/sys/kernel/mm/transparent_hugepage/enabled', 'utf8');
  if (!enabled.includes('[never]')) expect(smaps(memory.address, 'AnonHugePages')).toBe(2048);
  memory.free();
});

test.each([
  ['hugetlb-2m', 2048],
  ['hugetlb-1g', 1048576],
] as [MemoryKind, number][])('%s: from the pool, or ENOMEM', (kind, kilobytes) => {
  let free = 0;
  try {
    const pool = `/sys/kernel/mm/hugepages/hugepages-${kilobytes}kB/free_hugepages`;
    free = Number(readFileSync(pool, 'utf8'));
  } catch {
    // this size is not known here
  }
  if (free > 0) {
    const memory = DmaMemory.allocate({ size: 1, kind });
    expect(memory.address % BigInt(kilobytes * 1024)).toBe(0n);
    expect(memory.size).toBe(kilobytes * 1024);
    memory.free();
  } else {
    expect(() => DmaMemory.allocate({ size: 1, kind })).toThrow(KernelError);
  }
});

test('failures throw with the call that failed, and leave nothing behind', () => {
  const mappings = (): number => readFileSync('/proc/self/maps', 'utf8').split('\n').length;
  const before = { mappings: mappings(), fds: readdirSync('/proc/self/fd').length };
  for (let i = 0; i < 50; i++) {
    expect(() => DmaMemory.allocate({ size: 2 ** 52, kind: 'memfd' })).toThrow(/mmap: ENOMEM/);
    // address space is there, but the pool of huge pages is smaller than this
    const options = { size: 2 ** 44, kind: 'hugetlb-2m', align: 1 << 30 } as const;
    expect(() => DmaMemory.allocate(options)).toThrow(/mmap: E/);
  }
  expect(mappings() - before.mappings).toBeLessThan(25);
  expect(readdirSync('/proc/self/fd').length).toBe(before.fds);
  expect(() => DmaMemory.allocate({ size: 4096, kind: 'file', directory: '/proc' })).toThrow(
    KernelError,
  );
  expect(() => DmaMemory.allocate({ size: 0 })).toThrow(RangeError);
});

test('read-only memory cannot be written, nor a hole in the file read', () => {
  const memory = DmaMemory.allocate({ size: 4096, prot: libc.PROT_READ });
  expect(memory.read(0, 4).equals(Buffer.alloc(4))).toBe(true);
  expect(() => memory.write(0, Buffer.alloc(1))).toThrow(/EFAULT/);
  memory.free();

  const file = DmaMemory.allocate({ size: 8192, kind: 'memfd' });
  expect(sys.call('ftruncate', file.fd, 4096)).toBe(0);
  expect(() => file.read(4096, 1)).toThrow(/EIO/);
  expect(() => file.read(8192, 1)).toThrow(RangeError);
  file.free();
});

test('the allocation is part of the record', () => {
  recorder.begin();
  DmaMemory.allocate({ size: 4096 }).free();
  expect(recorder.take()).toHaveLength(2);
});

import { tmpdir } from 'node:os';
import type { Ref } from './arguments.ts';
import { KernelError } from './kernel-error.ts';
import * as libc from '../abi/libc.ts';
import { Program } from './program.ts';
import { sys } from './sys.ts';

const PAGE_SIZE = 4096;
/** <fcntl.h>: contains O_DIRECTORY, which differs between architectures. */
const O_TMPFILE = 0o20000000 | libc.O_DIRECTORY;
const SIZE_2M = 2 * 1024 * 1024;
const SIZE_1G = 1024 * 1024 * 1024;

export type MemoryKind =
  /** Anonymous pages of the smallest size. */
  | '4k'
  /** Anonymous, aligned to 2 MiB, transparent huge pages asked for. */
  | 'thp'
  /** From the pool of huge pages; ENOMEM if the pool is empty. */
  | 'hugetlb-2m'
  | 'hugetlb-1g'
  /** A shared mapping of a memfd. */
  | 'memfd'
  /** A shared mapping of an unlinked file on disk (or whatever the directory lies on). */
  | 'file'
  /** Anonymous memory that was only read yet: every page is the kernel's zero page. */
  | 'zero';

export interface DmaMemoryOptions {
  /** Bytes; rounded up to the kind's page size. */
  size: number;
  kind?: MemoryKind;
  /** PROT_READ | PROT_WRITE by default. */
  prot?: number;
  /** Populate at once, not on first access. Default: true. */
  populate?: boolean;
  /** Power of two; at least the kind's page size. */
  align?: number;
  /** Where the file of kind 'file' is created; the system's temporary directory by default. */
  directory?: string;
}

const PAGE_SIZES: Record<MemoryKind, number> = {
  '4k': PAGE_SIZE,
  thp: SIZE_2M,
  'hugetlb-2m': SIZE_2M,
  'hugetlb-1g': SIZE_1G,
  memfd: PAGE_SIZE,
  file: PAGE_SIZE,
  zero: PAGE_SIZE,
};

function roundUp(value: number, multiple: number): number {
  return Math.ceil(value / multiple) * multiple;
}

/** The backing file, if the kind has one. */
function addFile(program: Program, kind: MemoryKind, size: number, directory: string): Ref | null {
  if (kind !== 'memfd' && kind !== 'file') return null;
  const fd =
    kind === 'memfd'
      ? program.syscall(
          'memfd_create',
          program.data('dma-memory'),
          libc.MFD_CLOEXEC | libc.MFD_ALLOW_SEALING,
        )
      : program.syscall(
          'openat',
          libc.AT_FDCWD,
          program.data(directory),
          O_TMPFILE | libc.O_RDWR | libc.O_CLOEXEC,
          0o600,
        );
  program.syscall('ftruncate', fd, size);
  return fd;
}

function mapFlags(kind: MemoryKind): number {
  switch (kind) {
    case 'memfd':
    case 'file':
      return libc.MAP_SHARED;
    case 'hugetlb-2m':
      return libc.MAP_PRIVATE | libc.MAP_ANONYMOUS | libc.MAP_HUGETLB | libc.MAP_HUGE_2MB;
    case 'hugetlb-1g':
      return libc.MAP_PRIVATE | libc.MAP_ANONYMOUS | libc.MAP_HUGETLB | libc.MAP_HUGE_1GB;
    default:
      return libc.MAP_PRIVATE | libc.MAP_ANONYMOUS;
  }
}

/** THP: asked for or refused, before the first page appears. */
function addAdvice(program: Program, kind: MemoryKind, address: Ref, size: number): void {
  if (kind === 'thp') program.syscall('madvise', address, size, libc.MADV_HUGEPAGE);
  if (kind === '4k' || kind === 'zero') {
    // A kernel without transparent huge pages answers EINVAL, and gives small pages anyway.
    program.continueOnError();
    program.syscall('madvise', address, size, libc.MADV_NOHUGEPAGE);
    program.stopOnError();
  }
}

/** Where memory is mapped, and in what area of addresses that was taken for it. */
interface Placed {
  address: Ref;
  outer: Ref;
  outerSize: number;
}

/** Adds the mapping of the memory at an aligned address. */
function addMapping(
  program: Program,
  {
    kind,
    size,
    align,
    prot,
    fd,
  }: { kind: MemoryKind; size: number; align: number; prot: number; fd: Ref | null },
): Placed {
  const map = (at: number | Ref, flags: number): Ref =>
    program.syscall('mmap', at, size, prot, flags, fd ?? -1, 0);
  const flags = mapFlags(kind);
  // mmap aligns to a page, and hugetlb pages to theirs. For more than that, address space is
  // reserved first; the memory is then mapped over its aligned part.
  if (align <= (kind.startsWith('hugetlb') ? PAGE_SIZES[kind] : PAGE_SIZE)) {
    const address = map(0, flags);
    return { address, outer: address, outerSize: size };
  }
  const outerSize = size + align;
  const reservation = libc.MAP_PRIVATE | libc.MAP_ANONYMOUS | libc.MAP_NORESERVE;
  const outer = program.syscall('mmap', 0, outerSize, libc.PROT_NONE, reservation, -1, 0);
  const address = map(program.align(outer, align), flags | libc.MAP_FIXED);
  return { address, outer, outerSize };
}

/** How pages with this protection can be populated; undefined if nothing may be done with them. */
function populationAdvice(kind: MemoryKind, prot: number): number | undefined {
  if (kind === 'zero') return libc.MADV_POPULATE_READ;
  if (prot === libc.PROT_NONE) return undefined;
  return prot & libc.PROT_WRITE ? libc.MADV_POPULATE_WRITE : libc.MADV_POPULATE_READ;
}

/**
 * Memory of this process for a device to read and write: a mapping with a known kind of page
 * behind it. JavaScript never touches it directly: all access goes through guarded copies.
 */
export class DmaMemory {
  readonly address: bigint;
  /** Bytes: a multiple of pageSize. */
  readonly size: number;
  readonly kind: MemoryKind;
  /** Bytes: the size of page asked for (of 'thp' it is a wish). */
  readonly pageSize: number;
  /** Of the kinds 'memfd' and 'file', the file behind the mapping; otherwise -1. */
  readonly fd: number;
  /** The whole mapping: the memory itself and what was needed to align it. */
  readonly #mapping: { address: bigint; size: number };
  #freed = false;

  private constructor(
    kind: MemoryKind,
    address: bigint,
    size: number,
    fd: number,
    mapping: { address: bigint; size: number },
  ) {
    this.kind = kind;
    this.pageSize = PAGE_SIZES[kind];
    this.address = address;
    this.size = size;
    this.fd = fd;
    this.#mapping = mapping;
  }

  /** Throws KernelError: ENOMEM when there are no huge pages, for instance. */
  static allocate(options: DmaMemoryOptions): DmaMemory {
    const { kind = '4k', populate = true, directory = tmpdir() } = options;
    const pageSize = PAGE_SIZES[kind];
    const prot = options.prot ?? libc.PROT_READ | libc.PROT_WRITE;
    const size = roundUp(options.size, pageSize);
    const align = Math.max(options.align ?? pageSize, pageSize);
    if (!(size > 0)) throw new RangeError(`size of memory: ${options.size}`);

    const program = new Program().stopOnError();
    const fd = addFile(program, kind, size, directory);
    const { address, outer, outerSize } = addMapping(program, { kind, size, align, prot, fd });
    addAdvice(program, kind, address, size);
    const advice = populationAdvice(kind, prot);
    if (advice !== undefined && (populate || kind === 'zero')) {
      program.syscall('madvise', address, size, advice);
    }
    program.run();

    const mapping = { address: program.address(outer), size: outerSize };
    const { name, result, stop } = program.op(program.executed - 1);
    if (stop && result < 0n) {
      if (program.result(outer) > 0) sys.munmap(mapping.address, mapping.size);
      if (fd !== null && program.result(fd) >= 0) sys.close(program.result(fd));
      throw new KernelError(Number(result), `${size} bytes of ${kind} memory: ${name}`);
    }
    return new DmaMemory(
      kind,
      program.address(address),
      size,
      fd === null ? -1 : program.result(fd),
      mapping,
    );
  }

  #check(offset: number, length: number): void {
    if (this.#freed) throw new Error('memory was freed');
    if (!(offset >= 0 && length >= 0 && offset + length <= this.size)) {
      throw new RangeError(`${length} bytes at ${offset} of memory of ${this.size} bytes`);
    }
  }

  /** A copy of the content. Throws KernelError EFAULT or EIO if it cannot be read. */
  read(offset: number, length: number): Buffer {
    this.#check(offset, length);
    const program = new Program({ ops: 1, arena: length });
    const data = program.data(length);
    const copy = program.copy(data, this.address + BigInt(offset), length);
    const result = program.run().result(copy);
    if (result < 0) throw new KernelError(result, `read of ${this.kind} memory`);
    return data.bytes;
  }

  /** Throws KernelError EFAULT or EIO if it cannot be written. */
  write(offset: number, bytes: Uint8Array): void {
    const length = bytes.byteLength;
    this.#check(offset, length);
    const program = new Program({ ops: 1, arena: length });
    const copy = program.copy(this.address + BigInt(offset), program.data(bytes), length);
    const result = program.run().result(copy);
    if (result < 0) throw new KernelError(result, `write of ${this.kind} memory`);
  }

  /**
   * Writes the pattern of `seed`. The area's first byte gets byte `phase` of the pattern
   * (0 by default): equal seeds and lengths give equal content wherever it lies.
   */
  fill(seed: number | bigint, offset = 0, length = this.size - offset, phase = 0): void {
    this.#check(offset, length);
    const program = new Program({ ops: 1, arena: 0 });
    const ref = program.fill(this.address + BigInt(offset), length, seed, phase);
    const result = program.run().result(ref);
    if (result < 0) throw new KernelError(result, `fill of ${this.kind} memory`);
  }

  /**
   * Compares with what fill() writes: -1 if equal, otherwise the first byte that differs, counted
   * from `offset`. To check a part of a larger filled area, `phase` says where in it the part began.
   */
  verify(seed: number | bigint, offset = 0, length = this.size - offset, phase = 0): number {
    this.#check(offset, length);
    const program = new Program({ ops: 1, arena: 0 });
    const ref = program.verify(this.address + BigInt(offset), length, seed, phase);
    const result = program.run().result(ref);
    if (result < 0) throw new KernelError(result, `verify of ${this.kind} memory`);
    return result - 1;
  }

  /** Unmaps, and closes the file if there is one. A second call does nothing. */
  free(): void {
    if (this.#freed) return;
    this.#freed = true;
    sys.munmap(this.#mapping.address, this.#mapping.size);
    if (this.fd >= 0) sys.close(this.fd);
  }
}

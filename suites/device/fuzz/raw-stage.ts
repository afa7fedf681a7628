import { readdirSync } from 'node:fs';
import {
  LAST_ERRNO,
  MAP_ANONYMOUS,
  MAP_FIXED,
  MAP_POPULATE,
  MAP_PRIVATE,
  MAP_SHARED,
  PROT_READ,
  PROT_WRITE,
  Program,
  reserveAddresses,
  runParallel,
  strangeResult,
  sys,
  type Batch,
  type DmaMemory,
  type Ref,
  type Stage,
  type TestContext,
} from '../../../harness/testing/index.ts';
import { CHOICES, ENCODINGS, FLAGS, LISTED, SIZES, listedCall, type RawCall } from './raw-calls.ts';
import { RawDevice } from './raw-device.ts';

const PAGE = 4096;
/** ';' of VFIO's ioctls, whose numbers begin at 100. */
const TYPE = 0x3b00;
const BASE = 100;
/** native/program.h: struct vc_ioctl. */
const LIST_ITEM = { argument: 8, size: 88 };
/** Structures consist of this many u64. */
const WORDS = 10;
const SIZE = 8 * WORDS;
/** Files that are tried: a container, a group, a device. */
export const FDS = 3;
/**
 * Words of a structure that another thread may change: neither the page size nor the address that a bitmap
 * is written to, which must not become something in between.
 */
const CHANGED_WORDS = [0, 1, 2, 4];
/** Words that another thread changes, to choose from. */
export const CHANGES = CHANGED_WORDS.length;
/** How often what the other thread does is done: for about as long as the program takes. */
const ROUNDS = 100;
/** Pauses between two changes, in ns. */
const PAUSE_NS = 500;
/** How much of a structure fits in front of a page that can only be read. */
const AT_THE_EDGE = 16;
/** Places that an argument may be at. */
export const PLACES = 7;
/**
 * VFIO_IOMMU_UNMAP_DMA and VFIO_IOMMU_DIRTY_PAGES of a container shift by a page size of zero
 * (docs/findings.md): these numbers are not given one.
 */
const SHIFTS_BY_PGSIZE: readonly number[] = [14, 17];
/** Offset of the page size in both structures. */
const PGSIZE = 24;
/** No process has so many files. */
const CLOSED_FD = 0x7fff_fff0;

/** What operations of the raw fuzzer work on. */
export interface RawRun {
  batch: Batch;
  /** What another thread does meanwhile, from the first change on again and again. */
  meanwhile: Program;
  firstChange: Ref | null;
  stage: RawStage;
}

/** A place for an argument, and how much of it can be written there. */
interface Place {
  address: number;
  room: number;
}

/**
 * A container, a group and a device, and memory to point to: a page that can be written, one that can
 * be read, one with nothing. No pointer that a program hands out leads anywhere else in this process.
 */
export class RawStage implements Stage<RawRun> {
  readonly #fds: readonly number[];
  readonly #device: RawDevice;
  readonly #area: number;
  readonly #places: readonly Place[];
  /** Structures by their first word and the distance of the next. */
  readonly #contents: readonly Buffer[];
  readonly #values: readonly bigint[];
  /** Calls that are described already. */
  readonly #list: DmaMemory;
  readonly #meanwhile = new Program();
  readonly #before: ReadonlySet<string>;

  constructor(context: TestContext) {
    const { container, group, device, defer } = context;
    this.#fds = [container.fd, group.fd, device.fd];
    const eventfd = context.eventfd();
    this.#device = new RawDevice(context);
    const area = reserveAddresses(BigInt(3 * PAGE), BigInt(PAGE));
    defer(() => area.release());
    const start = Number(area.address);
    this.#area = start;
    const writable = { address: start, room: SIZE };
    const readable = { address: start + PAGE, room: 0 };
    const atTheEdge = { address: start + PAGE - AT_THE_EDGE, room: AT_THE_EDGE };
    const nothing = { address: start + 2 * PAGE, room: 0 };
    const none = { address: 0, room: 0 };
    this.#places = [writable, writable, writable, atTheEdge, readable, nothing, none];
    this.#values = interesting(area.address, eventfd.fd);
    this.#contents = structures(this.#values);
    this.#list = context.memory({ size: LISTED * LIST_ITEM.size, kind: 'memfd' });
    this.#list.write(0, this.#listed());
    const flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
    sys.mmap(area.address, PAGE, PROT_READ | PROT_WRITE, flags, -1, 0);
    this.#before = openFiles();
  }

  begin(batch: Batch): RawRun {
    const { program } = batch;
    const flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
    program.syscall('mmap', this.#area, 2 * PAGE, PROT_READ | PROT_WRITE, flags, -1, 0);
    // Another process that executes the program has to see the list too.
    const { address, size, fd } = this.#list;
    const shared = MAP_SHARED | MAP_FIXED | MAP_POPULATE;
    program.syscall('mmap', address, size, PROT_READ | PROT_WRITE, shared, fd, 0);
    // What begins at the edge has its page size in the page behind.
    program.store(64, this.#area + PAGE - AT_THE_EDGE + PGSIZE, 1);
    program.syscall('mprotect', this.#area + PAGE, PAGE, PROT_READ);
    this.#device.addQuiet(batch);
    return { batch, meanwhile: this.#meanwhile.reset(), firstChange: null, stage: this };
  }

  /** Adds a change of the structure, which another thread makes again and again. */
  addChange(run: RawRun, word: number, value: number, pause: number): void {
    const { meanwhile } = run;
    const at = this.#area + 8 * CHANGED_WORDS[word]!;
    const change = meanwhile.store(64, at, this.#values[value]!);
    run.firstChange ??= change;
    meanwhile.spin(pause * PAUSE_NS);
  }

  execute({ batch, meanwhile, firstChange }: RawRun): void {
    if (!firstChange) {
      batch.run();
      return;
    }
    meanwhile.repeat(firstChange, ROUNDS);
    runParallel([batch.program, meanwhile]);
  }

  addIoctl({ program }: Batch, fd: number, place: number, call: RawCall): void {
    const { address, room } = this.#places[place]!;
    if (room > 0) program.copy(address, program.data(this.#structure(call)), room);
    program.syscall('ioctl', this.#fds[fd]!, requestOf(call), address);
  }

  /** Adds `count` calls of the list, from number `from` on. */
  addIoctls(batch: Batch, fd: number, place: number, from: number, count: number): void {
    const { address, room } = this.#places[place]!;
    const list = Number(this.#list.address) + LIST_ITEM.size * from;
    const ref = batch.program.ioctls(this.#fds[fd]!, list, count, address, room, LAST_ERRNO);
    batch.expectResult(ref, 0);
  }

  #listed(): Buffer {
    const list = Buffer.alloc(LISTED * LIST_ITEM.size);
    for (let index = 0; index < LISTED; index++) {
      const call = listedCall(index);
      const at = index * LIST_ITEM.size;
      list.writeBigUInt64LE(BigInt(requestOf(call)), at);
      this.#structure(call).copy(list, at + LIST_ITEM.argument);
    }
    return list;
  }

  #structure({ number, argsz, flags, first, step }: RawCall): Buffer {
    const structure = Buffer.from(this.#contents[CHOICES * first + step]!);
    structure.writeUInt32LE(SIZES[argsz]!, 0);
    structure.writeUInt32LE(FLAGS[flags]!, 4);
    if (SHIFTS_BY_PGSIZE.includes(number) && structure.readBigUInt64LE(PGSIZE) === 0n) {
      structure.writeUInt32LE(1, PGSIZE);
    }
    return structure;
  }

  close({ batch }: RawRun): void {
    this.#device.addQuiet(batch);
    this.#device.addWork(batch);
  }

  end({ batch: { program } }: RawRun): ReturnType<NonNullable<Stage<RawRun>['end']>> {
    return strangeResult(program);
  }

  tidy(): void {
    for (const fd of openFiles()) if (!this.#before.has(fd)) sys.close(Number(fd));
  }
}

/**
 * What structures are filled with. Numbers of files are the eventfd's or nobody's. IOVAs lie close
 * together or nowhere: a dirty bitmap is written at a distance that follows from them.
 */
function interesting(area: bigint, eventfd: number): bigint[] {
  const both = (value: number) => BigInt(value >>> 0) * 0x1_0000_0001n;
  return [
    0n,
    1n,
    2n,
    BigInt(PAGE),
    0x10_0000n,
    both(1),
    both(PAGE),
    both(eventfd),
    both(CLOSED_FD),
    both(-1),
    1n << 63n,
    (1n << 64n) - BigInt(PAGE),
    (1n << 64n) - 1n,
    area,
    area + BigInt(PAGE),
    area + BigInt(2 * PAGE),
  ];
}

function structures(values: readonly bigint[]): Buffer[] {
  return Array.from({ length: CHOICES * CHOICES }, (_, which) => {
    const first = Math.floor(which / CHOICES);
    const step = which % CHOICES;
    const content = Buffer.alloc(SIZE);
    for (let word = 1; word < WORDS; word++) {
      content.writeBigUInt64LE(values[(first + word * step) % CHOICES]!, 8 * word);
    }
    return content;
  });
}

function requestOf({ number, encoding }: RawCall): number {
  return (TYPE | (BASE + number) | ENCODINGS[encoding]!) >>> 0;
}

function openFiles(): Set<string> {
  return new Set(readdirSync('/proc/self/fd'));
}

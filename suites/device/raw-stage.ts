import { readdirSync } from 'node:fs';
import {
  ERRNO,
  MAP_ANONYMOUS,
  MAP_FIXED,
  MAP_PRIVATE,
  PROT_READ,
  PROT_WRITE,
  Program,
  reserveAddresses,
  runParallel,
  sys,
  type Batch,
  type Ref,
  type Stage,
  type TestContext,
} from '../../harness/testing/index.ts';
import { RawDevice } from './raw-device.ts';

const PAGE = 4096;
/** ';' of VFIO's ioctls, whose numbers begin at 100. */
const TYPE = 0x3b00;
const BASE = 100;
/** Numbers of ioctls that are tried, from the first on. */
export const NUMBERS = 24;
/** Direction and size as other subsystems put them into a number: VFIO has neither. */
export const ENCODINGS = [0, 0, 0, 0x8000_0000, 0x4018_0000, 0xc020_0000];
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
const ROUNDS = 20;
/** Pauses between two changes, in ns. */
const PAUSE_NS = 500;
/** How much of a structure fits in front of a page that can only be read. */
const AT_THE_EDGE = 16;
/** Places that an argument may be at. */
export const PLACES = 7;
/** How many different words there are to begin with, and how far the next one is. */
export const CHOICES = 16;
/** The greatest errno that user space may see; larger ones are the kernel's own business. */
const LAST_ERRNO = ERRNO.EHWPOISON;
/**
 * VFIO_IOMMU_UNMAP_DMA and VFIO_IOMMU_DIRTY_PAGES of a container shift by a page size of zero
 * (docs/findings.md): they are not given one here.
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
    const flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
    sys.mmap(area.address, PAGE, PROT_READ | PROT_WRITE, flags, -1, 0);
    this.#before = openFiles();
  }

  begin(batch: Batch): RawRun {
    const { program } = batch;
    const flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
    program.syscall('mmap', this.#area, 2 * PAGE, PROT_READ | PROT_WRITE, flags, -1, 0);
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

  /** Adds an ioctl; what is no size or flag is a number that chooses. */
  addIoctl(
    { program }: Batch,
    fd: number,
    number: number,
    encoding: number,
    place: number,
    argsz: number,
    flags: number,
    first: number,
    step: number,
  ): void {
    const { address, room } = this.#places[place]!;
    if (room > 0) {
      const content = program.data(this.#contents[CHOICES * first + step]!);
      content.setU32(0, argsz);
      content.setU32(4, flags);
      if (fd === 0 && SHIFTS_BY_PGSIZE.includes(number) && isZero(first, step, PGSIZE)) {
        content.setU64(PGSIZE, 1);
      }
      program.copy(address, content, room);
    }
    const request = (TYPE | (BASE + number) | ENCODINGS[encoding]!) >>> 0;
    program.syscall('ioctl', this.#fds[fd]!, request, address);
  }

  close({ batch }: RawRun): void {
    this.#device.addQuiet(batch);
    this.#device.addWork(batch);
  }

  end({ batch: { program } }: RawRun): ReturnType<NonNullable<Stage<RawRun>['end']>> {
    for (let index = 0; index < program.length; index++) {
      const result = program.resultAt(index);
      if (result >= 0 || result >= -LAST_ERRNO) continue;
      const what = `result of call ${index + 1}`;
      return { what, expected: 'an errno of user space', observed: String(result) };
    }
    return null;
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

/** Which of the values is word `word`. */
const valueAt = (first: number, step: number, word: number) => (first + word * step) % CHOICES;

const isZero = (first: number, step: number, offset: number) =>
  valueAt(first, step, offset / 8) === 0;

function structures(values: readonly bigint[]): Buffer[] {
  return Array.from({ length: CHOICES * CHOICES }, (_, which) => {
    const content = Buffer.alloc(SIZE);
    for (let word = 1; word < WORDS; word++) {
      const value = values[valueAt(Math.floor(which / CHOICES), which % CHOICES, word)]!;
      content.writeBigUInt64LE(value, 8 * word);
    }
    return content;
  });
}

function openFiles(): Set<string> {
  return new Set(readdirSync('/proc/self/fd'));
}

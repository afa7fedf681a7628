import {
  DmaProbe,
  MAP_PRIVATE,
  PROT_READ,
  PROT_WRITE,
  Program,
  VFIO_DMA_MAP_FLAG_READ,
  VFIO_IOMMU_MAP_DMA,
  dmaProbe,
  expect,
  mappingState,
  sys,
  test,
  type DmaMemory,
  type TestContext,
} from '../../../harness/testing/index.ts';
import { BASE, P, PAGE, PAGES, PLACES, SIZE } from './places.ts';

const FLAGS = VFIO_DMA_MAP_FLAG_READ;
const PIN = 'drivers/vfio/vfio_iommu_type1.c vaddr_get_pfns()';
const UNSHARE = 'mm/gup.c gup_must_unshare()';
const covers = [VFIO_IOMMU_MAP_DMA];
const device = 'nvme';

/** A file with the pattern of seed 1, and the address of a private mapping of it. */
function privateFile({ memory, defer }: TestContext): { file: DmaMemory; vaddr: bigint } {
  const file = memory({ size: PAGES * PAGE, kind: 'memfd' });
  file.fill(1);
  const vaddr = sys.mmap(0n, file.size, PROT_READ | PROT_WRITE, MAP_PRIVATE, file.fd, 0);
  expect(vaddr).toBeGreaterThan(0n);
  defer(() => void sys.munmap(vaddr, file.size));
  return { file, vaddr };
}

/** Whether memory of this process holds the pattern of `seed`. */
function holds(vaddr: bigint, length: number, seed: number): boolean {
  const program = new Program();
  const verify = program.verify(vaddr, length, seed);
  return program.run().result(verify) === 0;
}

/** Writes the pattern of `seed` to memory of this process. */
function fill(vaddr: bigint, length: number, seed: number): void {
  const program = new Program();
  const ref = program.fill(vaddr, length, seed);
  expect(program.run().result(ref)).toBe(0);
}

test(
  'container.page-copies.private-file',
  'what a device writes through a private mapping of a file the process sees, and the file does not get',
  { covers, source: PIN, device },
  (context) => {
    const { container } = context;
    const { file, vaddr } = privateFile(context);
    const probe = dmaProbe(context);
    const before = mappingState(container);
    container.mapDma({ iova: BASE, vaddr, size: SIZE });
    expect(probe.misses(1, PLACES)).toEqual([]);
    probe.write(2, BASE + P);
    expect(holds(vaddr + P, DmaProbe.SIZE, 2)).toBe(true);
    fill(vaddr + 2n * P, PAGE, 3);
    expect(probe.finds(3, BASE + 2n * P)).toBe(true);
    expect(file.verify(1)).toBe(-1);
    expect(container.unmapDma({ iova: BASE, size: SIZE })).toBe(SIZE);
    expect(mappingState(container)).toEqual(before);
  },
);

test(
  'container.page-copies.private-file-read-only',
  'what the process writes to a private mapping of a file after a read-only mapping, the device reads',
  { covers, source: [PIN, UNSHARE], since: '6.2', fixes: ['84209e87c696'], device },
  (context) => {
    const { container } = context;
    const { file, vaddr } = privateFile(context);
    const probe = dmaProbe(context);
    container.mapDma({ iova: BASE, vaddr, size: SIZE, flags: FLAGS });
    expect(probe.misses(1, PLACES)).toEqual([]);
    fill(vaddr, PAGES * PAGE, 2);
    expect(probe.misses(2, PLACES)).toEqual([]);
    expect(file.verify(1)).toBe(-1);
    expect(container.unmapDma({ iova: BASE, size: SIZE })).toBe(SIZE);
  },
);

/** A child that shares the memory `ram` until it is let go, then tells whether it still has seed 1. */
function forkedHolder({ defer, memory }: TestContext, ram: DmaMemory) {
  const shared = memory({ size: PAGE, kind: 'memfd' });
  const program = new Program();
  const child = program.fork(() => {
    program.stopOnError();
    program.wait(32, shared.address, 1, 1, 60_000_000_000n);
    program.store(32, shared.address + 4n, program.verify(ram.address, ram.size, 1));
    program.continueOnError();
  });
  program.run();
  const pid = program.result(child);
  expect(pid).toBeGreaterThan(0);
  // The child must not outlive a failed test: it holds the container open.
  defer(() => void sys.store(32, shared.address, 1));
  /** Lets the child end; whether its memory was as at the fork. */
  return (): boolean => {
    expect(sys.store(32, shared.address, 1)).toBe(0);
    const ending = new Program();
    const status = ending.data(4);
    const waited = ending.syscall('wait4', pid, status, 0, 0);
    ending.run();
    expect(ending.result(waited)).toBe(pid);
    expect(status.bytes.readUInt32LE()).toBe(0);
    return sys.load(32, shared.address + 4n).value === 0n;
  };
}

test(
  'container.page-copies.forked-before',
  'memory that is shared with a child when it is mapped becomes the own memory of the process and its device',
  { covers, source: PIN, device },
  (context) => {
    const { container, memory } = context;
    const ram = memory({ size: PAGES * PAGE, kind: '4k' });
    ram.fill(1);
    const probe = dmaProbe(context);
    const childKept = forkedHolder(context, ram);
    const before = mappingState(container);
    container.mapDma({ iova: BASE, vaddr: ram.address, size: SIZE });
    expect(probe.misses(1, PLACES)).toEqual([]);
    probe.write(2, ...PLACES.map(({ iova }) => iova));
    for (const { phase } of PLACES) expect(ram.verify(2, phase, DmaProbe.SIZE)).toBe(-1);
    expect(childKept()).toBe(true);
    ram.fill(3);
    expect(probe.misses(3, PLACES)).toEqual([]);
    expect(container.unmapDma({ iova: BASE, size: SIZE })).toBe(SIZE);
    expect(mappingState(container)).toEqual(before);
  },
);

test(
  'container.page-copies.forked-before-read-only',
  'what the process writes to memory that a child shared when it was mapped read-only, the device reads',
  { covers, source: [PIN, UNSHARE], since: '6.2', fixes: ['84209e87c696'], device },
  (context) => {
    const { container, memory } = context;
    const ram = memory({ size: PAGES * PAGE, kind: '4k' });
    ram.fill(1);
    const probe = dmaProbe(context);
    const childKept = forkedHolder(context, ram);
    container.mapDma({ iova: BASE, vaddr: ram.address, size: SIZE, flags: FLAGS });
    ram.fill(2);
    expect(probe.misses(2, PLACES)).toEqual([]);
    expect(childKept()).toBe(true);
    expect(probe.misses(2, PLACES)).toEqual([]);
    expect(container.unmapDma({ iova: BASE, size: SIZE })).toBe(SIZE);
  },
);

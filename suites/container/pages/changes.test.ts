import {
  FALLOC_FL_KEEP_SIZE,
  FALLOC_FL_PUNCH_HOLE,
  MADV_DONTNEED,
  MAP_ANONYMOUS,
  MAP_FIXED,
  MAP_POPULATE,
  MAP_PRIVATE,
  MREMAP_FIXED,
  MREMAP_MAYMOVE,
  PROT_NONE,
  PROT_READ,
  PROT_WRITE,
  Program,
  SIGKILL,
  VFIO_IOMMU_MAP_DMA,
  addMapDma,
  dmaProbe,
  expect,
  mappingState,
  reserveAddresses,
  sys,
  test,
  type DmaMemory,
  type TestContext,
} from '../../../harness/testing/index.ts';
import { BASE, P, PAGE, PAGES, PLACES, SIZE } from './places.ts';

const PIN = 'drivers/vfio/vfio_iommu_type1.c vaddr_get_pfns()';
const covers = [VFIO_IOMMU_MAP_DMA];

/** Memory with the pattern of seed 1, mapped at {@link BASE}, and the device's eyes. */
function mapped(context: TestContext, kind: '4k' | 'memfd' = '4k') {
  const ram = context.memory({ size: PAGES * PAGE, kind });
  const probe = dmaProbe(context);
  const { container } = context;
  const before = mappingState(container);
  container.mapDma({ iova: BASE, vaddr: ram.address, size: SIZE });
  ram.fill(1);
  /** The unmap finds the pages that were pinned, whatever became of the memory, and nothing stays counted. */
  const release = () => {
    expect(container.unmapDma({ iova: BASE, size: SIZE })).toBe(SIZE);
    expect(mappingState(container)).toEqual(before);
  };
  return { ram, probe, release };
}

/** Puts other memory where `ram` was. */
function replace(ram: DmaMemory): void {
  const flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_POPULATE;
  const address = sys.mmap(ram.address, ram.size, PROT_READ | PROT_WRITE, flags, -1, 0);
  expect(address).toBe(ram.address);
}

test(
  'container.page-changes.munmap',
  'a mapping keeps its pages when the process unmaps the memory',
  { covers, source: PIN, device: 'nvme' },
  (context) => {
    const { ram, probe, release } = mapped(context);
    expect(sys.munmap(ram.address, ram.size)).toBe(0);
    expect(probe.misses(1, PLACES)).toEqual([]);
    probe.write(2, BASE + P);
    expect(probe.finds(2, BASE + P)).toBe(true);
    release();
  },
);

test(
  'container.page-changes.replaced',
  'a mapping keeps its pages when other memory takes their address, which the device never sees',
  { covers, source: PIN, device: 'nvme' },
  (context) => {
    const { ram, probe, release } = mapped(context);
    replace(ram);
    ram.fill(2);
    expect(probe.misses(1, PLACES)).toEqual([]);
    probe.write(3, BASE, BASE + 3n * P);
    expect(ram.verify(2)).toBe(-1);
    expect(probe.finds(3, BASE + 3n * P)).toBe(true);
    release();
  },
);

test(
  'container.page-changes.replaced-and-mapped-again',
  'after unmap and map the device sees the memory that is at the address now',
  { covers, source: PIN, device: 'nvme' },
  (context) => {
    const { ram, probe } = mapped(context);
    replace(ram);
    ram.fill(2);
    const { container } = context;
    container.mapDma({ iova: 2n * BASE, vaddr: ram.address, size: SIZE });
    expect(probe.finds(2, 2n * BASE)).toBe(true);
    expect(probe.finds(1, BASE)).toBe(true);
    expect(container.unmapDma({ iova: BASE, size: SIZE })).toBe(SIZE);
    container.mapDma({ iova: BASE, vaddr: ram.address, size: SIZE });
    expect(probe.misses(2, PLACES)).toEqual([]);
  },
);

for (const { name, prot } of [
  { name: 'none', prot: PROT_NONE },
  { name: 'read', prot: PROT_READ },
]) {
  test(
    `container.page-changes.mprotect-${name}`,
    `what the process may do with its memory later (${name}) changes nothing for the device`,
    { covers, source: PIN, device: 'nvme' },
    (context) => {
      const { ram, probe, release } = mapped(context);
      expect(sys.mprotect(ram.address, ram.size, prot)).toBe(0);
      expect(probe.misses(1, PLACES)).toEqual([]);
      probe.write(2, BASE + 2n * P);
      expect(sys.mprotect(ram.address, ram.size, PROT_READ | PROT_WRITE)).toBe(0);
      expect(ram.verify(2, 2 * PAGE, 512)).toBe(-1);
      expect(ram.verify(1, 0, 2 * PAGE)).toBe(-1);
      release();
    },
  );
}

test(
  'container.page-changes.dontneed',
  'memory that the process gives back is zero for the process, and as before for the device',
  { covers, source: PIN, device: 'nvme' },
  (context) => {
    const { ram, probe, release } = mapped(context);
    expect(sys.madvise(ram.address, ram.size, MADV_DONTNEED)).toBe(0);
    expect(ram.read(0, 64).equals(Buffer.alloc(64))).toBe(true);
    expect(probe.misses(1, PLACES)).toEqual([]);
    probe.write(2, BASE);
    expect(ram.read(0, 512).equals(Buffer.alloc(512))).toBe(true);
    release();
  },
);

test(
  'container.page-changes.moved',
  'memory that the process moves to another address stays the memory of the device',
  { covers, source: PIN, device: 'nvme' },
  (context) => {
    const { ram, probe, release } = mapped(context);
    const area = reserveAddresses(SIZE, P);
    context.defer(() => area.release());
    const flags = MREMAP_MAYMOVE | MREMAP_FIXED;
    const moved = new Program();
    moved.syscall('mremap', ram.address, ram.size, ram.size, flags, area.address);
    probe.write(2, BASE + P);
    const page = moved.verify(area.address + P, 512, 2);
    moved.fill(area.address, PAGE, 3);
    moved.run();
    expect(moved.result(page)).toBe(0);
    expect(probe.finds(3, BASE)).toBe(true);
    expect(probe.finds(2, BASE + P)).toBe(true);
    release();
  },
);

test(
  'container.page-changes.punched-file',
  'pages that are taken out of their file stay the pages of the mapping',
  { covers, source: PIN, device: 'nvme' },
  (context) => {
    const { ram, probe, release } = mapped(context, 'memfd');
    const mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    expect(sys.call('fallocate', ram.fd, mode, 0, ram.size)).toBe(0);
    expect(ram.read(0, 64).equals(Buffer.alloc(64))).toBe(true);
    expect(probe.misses(1, PLACES)).toEqual([]);
    probe.write(2, BASE);
    expect(ram.read(0, 512).equals(Buffer.alloc(512))).toBe(true);
    release();
  },
);

test(
  'container.page-changes.truncated-file',
  'pages of a file that was cut to nothing stay the pages of the mapping, and are released by the unmap',
  { covers, source: PIN, device: 'nvme' },
  (context) => {
    const { ram, probe, release } = mapped(context, 'memfd');
    expect(sys.call('ftruncate', ram.fd, 0)).toBe(0);
    expect(probe.misses(1, PLACES)).toEqual([]);
    release();
    expect(sys.call('ftruncate', ram.fd, ram.size)).toBe(0);
    expect(ram.read(0, 64).equals(Buffer.alloc(64))).toBe(true);
  },
);

test(
  'container.page-changes.fork-parent-writes',
  'after a fork the device goes on with the pages of the parent, whoever writes first',
  { covers, source: [PIN, 'mm/memory.c copy_present_page()'], device: 'nvme' },
  (context) => {
    const { ram, probe, release } = mapped(context);
    const shared = context.memory({ size: PAGE, kind: 'memfd' });
    const program = new Program();
    const child = program.fork(() => {
      program.stopOnError();
      program.wait(32, shared.address, 1, 1, 30_000_000_000n);
      // Nothing of what the parent or the device wrote after the fork.
      const same = program.verify(ram.address, ram.size, 1);
      program.store(32, shared.address + 8n, same);
      program.fill(ram.address, ram.size, 5);
      program.store(32, shared.address + 4n, 1);
      program.continueOnError();
    });
    program.run();
    expect(program.result(child)).toBeGreaterThan(0);
    ram.fill(2);
    expect(probe.misses(2, PLACES)).toEqual([]);
    probe.write(3, BASE + P);
    expect(ram.verify(3, PAGE, 512)).toBe(-1);
    expect(sys.store(32, shared.address, 1)).toBe(0);
    const status = new Program();
    const done = status.wait(32, shared.address + 4n, 1, 1, 30_000_000_000n);
    const waited = status.syscall('wait4', program.result(child), 0, 0, 0);
    status.run();
    expect(status.result(done)).toBe(0);
    expect(status.result(waited)).toBe(program.result(child));
    expect(sys.load(32, shared.address + 8n).value).toBe(0n);
    // And nothing of what the child wrote.
    expect(probe.misses(2, [PLACES[0]!, PLACES[2]!, PLACES[3]!])).toEqual([]);
    expect(probe.finds(3, BASE + P)).toBe(true);
    release();
  },
);

test(
  'container.page-changes.fork-child-writes',
  'what a child writes to its copy of mapped memory, the device does not see',
  { covers, source: [PIN, 'mm/memory.c copy_present_page()'], device: 'nvme' },
  (context) => {
    const { ram, probe, release } = mapped(context);
    const program = new Program();
    const child = program.fork(() => void program.fill(ram.address, ram.size, 2));
    const waited = program.syscall('wait4', child, 0, 0, 0);
    program.run();
    expect(program.result(waited)).toBe(program.result(child));
    expect(probe.misses(1, PLACES)).toEqual([]);
    probe.write(3, BASE);
    expect(ram.verify(3, 0, 512)).toBe(-1);
    expect(ram.verify(1, PAGE, 3 * PAGE, PAGE)).toBe(-1);
    release();
  },
);

test(
  'container.page-changes.owner-is-gone',
  'the memory of a process that was killed stays mapped, until it is unmapped',
  { covers, source: PIN, device: 'nvme' },
  (context) => {
    const { container, actor } = context;
    const probe = dmaProbe(context);
    const owner = actor({ inheritFds: [container.fd] });
    const program = new Program();
    const flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE;
    const vaddr = program.syscall('mmap', 0, SIZE, PROT_READ | PROT_WRITE, flags, -1, 0);
    program.fill(vaddr, SIZE, 1);
    const map = addMapDma(program, container.fd, { iova: BASE, vaddr, size: SIZE });
    owner.run(program);
    expect(program.result(map)).toBe(0);
    owner.kill(SIGKILL);
    expect(probe.misses(1, PLACES)).toEqual([]);
    probe.write(2, BASE + P);
    expect(probe.finds(2, BASE + P)).toBe(true);
    expect(container.unmapDma({ iova: BASE, size: SIZE })).toBe(SIZE);
  },
);

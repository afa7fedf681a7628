import {
  DMA_ROLES,
  INTEL_IOMMU,
  IOMMU_FAULT,
  MADV_NOHUGEPAGE,
  PROT_READ,
  VFIO_DMA_MAP_FLAG_READ,
  VFIO_DMA_MAP_FLAG_WRITE,
  VFIO_IOMMU_MAP_DMA,
  dmaDevice,
  dmaProbe,
  expect,
  startEdu,
  sys,
  test,
} from '../../../harness/testing/index.ts';

const PAGE = 4096;
const P = 4096n;
const BASE = 0x100000n;
/** Not 0: a network card takes that for no buffer. */
const OTHER = 0x400000n;
const READ = VFIO_DMA_MAP_FLAG_READ;
const WRITE = VFIO_DMA_MAP_FLAG_WRITE;
const DO_MAP = 'drivers/vfio/vfio_iommu_type1.c vfio_dma_do_map()';
const PIN = 'drivers/vfio/vfio_iommu_type1.c vaddr_get_pfns()';
const READ_FLAG = VFIO_IOMMU_MAP_DMA.flag('VFIO_DMA_MAP_FLAG_READ');
const WRITE_FLAG = VFIO_IOMMU_MAP_DMA.flag('VFIO_DMA_MAP_FLAG_WRITE');
const provokes = [IOMMU_FAULT];

test(
  'container.dma-permissions.read-only',
  'through a read-only mapping the device reads, and writes nothing',
  { covers: [READ_FLAG], source: DO_MAP, devices: DMA_ROLES, provokes },
  (context) => {
    const { container, memory } = context;
    const ram = memory({ size: PAGE, kind: '4k' });
    const target = memory({ size: PAGE, kind: '4k' });
    container.mapDma({ iova: BASE, vaddr: ram.address, size: P, flags: READ });
    container.mapDma({ iova: OTHER, vaddr: target.address, size: P });
    const dma = dmaDevice(context);
    const count = dma.maxTransfer;
    ram.fill(1);
    dma.readMemory(BASE, count);
    dma.writeMemory(OTHER, count);
    expect(target.verify(1, 0, count)).toBe(-1);
    ram.fill(2);
    dma.writeMemory(BASE, count);
    expect(ram.verify(2)).toBe(-1);
  },
);

test(
  'container.dma-permissions.write-only',
  'through a write-only mapping the device writes',
  { covers: [WRITE_FLAG], source: DO_MAP, devices: DMA_ROLES, provokes },
  (context) => {
    const { container, memory } = context;
    const ram = memory({ size: PAGE, kind: '4k' });
    const other = memory({ size: PAGE, kind: '4k' });
    container.mapDma({ iova: BASE, vaddr: ram.address, size: P, flags: WRITE });
    container.mapDma({ iova: OTHER, vaddr: other.address, size: P });
    const dma = dmaDevice(context);
    const count = dma.maxTransfer;
    other.fill(1);
    dma.readMemory(OTHER, count);
    ram.fill(2);
    dma.writeMemory(BASE, count);
    expect(ram.verify(1, 0, count)).toBe(-1);
    expect(ram.verify(2, count, PAGE - count, count)).toBe(-1);
  },
);

test(
  'container.dma-permissions.of-each-mapping',
  'the same page may be read-only at one IOVA and writable at another',
  { covers: [READ_FLAG, WRITE_FLAG], source: DO_MAP, device: 'nvme', provokes },
  (context) => {
    const { container, memory } = context;
    const ram = memory({ size: PAGE, kind: '4k' });
    const probe = dmaProbe(context);
    container.mapDma({ iova: BASE, vaddr: ram.address, size: P, flags: READ });
    container.mapDma({ iova: BASE + P, vaddr: ram.address, size: P });
    container.mapDma({ iova: BASE + 2n * P, vaddr: ram.address, size: P, flags: READ });
    ram.fill(1);
    probe.write(2, BASE, BASE + 2n * P);
    expect(ram.verify(1)).toBe(-1);
    for (const page of [0n, 1n, 2n]) expect(probe.finds(1, BASE + page * P)).toBe(true);
    probe.write(3, BASE + P + 2048n);
    expect(ram.verify(3, 2048, 512)).toBe(-1);
    expect(ram.verify(1, 0, 2048)).toBe(-1);
  },
);

test(
  'container.dma-permissions.changed-by-remap',
  'permissions are those of the last mapping of an IOVA, in both directions',
  { covers: [READ_FLAG, WRITE_FLAG], source: DO_MAP, device: 'nvme', provokes },
  (context) => {
    const { container, memory } = context;
    const ram = memory({ size: PAGE, kind: '4k' });
    const probe = dmaProbe(context);
    ram.fill(0);
    for (const [round, flags] of [READ | WRITE, READ, READ | WRITE, READ].entries()) {
      container.mapDma({ iova: BASE, vaddr: ram.address, size: P, flags });
      ram.fill(round);
      expect(probe.finds(round, BASE)).toBe(true);
      probe.write(100 + round, BASE);
      expect(ram.verify(flags & WRITE ? 100 + round : round, 0, 512)).toBe(-1);
      expect(container.unmapDma({ iova: BASE, size: P })).toBe(P);
    }
  },
);

test(
  'container.dma-permissions.read-only-memory',
  'memory that the process itself may only read can be mapped read-only, and is read',
  { covers: [READ_FLAG], source: PIN, device: 'nvme', provokes },
  (context) => {
    const { container, memory } = context;
    const ram = memory({ size: 2 * PAGE, kind: 'memfd' });
    ram.fill(1);
    expect(sys.mprotect(ram.address, ram.size, PROT_READ)).toBe(0);
    const probe = dmaProbe(context);
    container.mapDma({ iova: BASE, vaddr: ram.address, size: 2n * P, flags: READ });
    const places = [0, PAGE].map((phase) => ({ iova: BASE + BigInt(phase), phase }));
    expect(probe.misses(1, places)).toEqual([]);
    probe.write(2, BASE, BASE + P);
    expect(ram.verify(1)).toBe(-1);
  },
);

test(
  'container.dma-permissions.private-read-only',
  'what a process writes to private memory after a read-only mapping of it is what the device reads',
  {
    covers: [READ_FLAG],
    source: [PIN, 'mm/gup.c gup_must_unshare()'],
    since: '6.2',
    fixes: ['84209e87c696'],
    device: 'nvme',
  },
  (context) => {
    const { container, memory } = context;
    // Only read so far: there is nothing but the zero page.
    const ram = memory({ size: 4 * PAGE, kind: 'zero' });
    expect(sys.madvise(ram.address, ram.size, MADV_NOHUGEPAGE)).toBe(0);
    const probe = dmaProbe(context);
    container.mapDma({ iova: BASE, vaddr: ram.address, size: 4n * P, flags: READ });
    ram.fill(1);
    const places = [0, 1, 2, 3].map((page) => ({
      iova: BASE + BigInt(page) * P,
      phase: page * PAGE,
    }));
    expect(probe.misses(1, places)).toEqual([]);
  },
);

test(
  'container.dma-permissions.write-only.read',
  'since Linux 7.3 the IOMMU tables of a write-only mapping give the device nothing to read',
  {
    covers: [WRITE_FLAG],
    source: DO_MAP,
    device: 'edu',
    since: '7.3',
    needs: [INTEL_IOMMU],
    provokes,
  },
  (context) => {
    const { container, device, memory } = context;
    const ram = memory({ size: PAGE, kind: '4k' });
    const other = memory({ size: PAGE, kind: '4k' });
    container.mapDma({ iova: BASE, vaddr: ram.address, size: P, flags: WRITE });
    container.mapDma({ iova: 0n, vaddr: other.address, size: P });
    const edu = startEdu(context, device);
    ram.fill(1);
    edu.readMemory(BASE, PAGE);
    edu.writeMemory(0n, PAGE);
    expect(other.verify(1)).not.toBe(-1);
    expect(ram.verify(1)).toBe(-1);
  },
);

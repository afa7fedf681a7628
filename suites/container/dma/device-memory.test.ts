import {
  DmaProbe,
  IOMMU_FAULT,
  MAP_FIXED,
  MAP_SHARED,
  PROT_READ,
  PROT_WRITE,
  Program,
  VFIO_DMA_MAP_FLAG_READ,
  VFIO_IOMMU_MAP_DMA,
  VFIO_IOMMU_UNMAP_DMA,
  addMapDma,
  dmaProbe,
  enableDevice,
  expect,
  mappingState,
  reserveAddresses,
  setMemoryEnabled,
  sys,
  test,
  type Device,
  type Mapping,
  type TestContext,
} from '../../../harness/testing/index.ts';

const PAGE = 4096;
const P = 4096n;
const BASE = 0x1_0000_0000n;
const BAR = 2;
const PIN = 'drivers/vfio/vfio_iommu_type1.c follow_fault_pfn()';
const RESERVED = 'drivers/vfio/vfio_iommu_type1.c is_invalid_reserved_pfn()';
const PUT = 'drivers/vfio/vfio_iommu_type1.c put_pfn()';
const MIB = 1n << 20n;
const GIB = 1n << 30n;
const covers = [VFIO_IOMMU_MAP_DMA];
const uses = ['ivshmem'];

/** A device with the mapping of its memory. */
interface OpenMemory {
  device: Device;
  bar: Mapping;
}

/** The shared memory of ivshmem, 8 MiB behind its BAR 2. */
function deviceMemory(context: TestContext) {
  const { device } = context.openRole('ivshmem');
  enableDevice(device);
  return { device, region: device.region(BAR) };
}

test(
  'container.device-memory.whole',
  'a whole BAR can be mapped for DMA, and another device reads and writes device memory in it',
  { covers, source: PIN, device: 'nvme', uses, peer: ['S19'] },
  (context) => {
    const { container } = context;
    const probe = dmaProbe(context);
    const bar = context.map(deviceMemory(context).region);
    container.mapDma({ iova: BASE, vaddr: bar.address, size: bar.size });
    const last = bar.size - P;
    for (const [index, offset] of [0n, P, bar.size / 2n, last].entries()) {
      probe.write(10 + index, BASE + offset);
      expect(probe.finds(10 + index, BASE + offset)).toBe(true);
      const word = bar.load(64, offset);
      bar.store(64, offset, word ^ 1n);
      expect(probe.finds(10 + index, BASE + offset)).toBe(false);
    }
    expect(container.unmapDma({ iova: BASE, size: bar.size })).toBe(bar.size);
  },
);

test(
  'container.device-memory.part',
  'a single page of a BAR can be mapped for DMA, the pages beside it are not reachable',
  { covers, source: PIN, device: 'nvme', uses, peer: ['S20'], provokes: [IOMMU_FAULT] },
  (context) => {
    const { container } = context;
    const probe = dmaProbe(context);
    const bar = context.map(deviceMemory(context).region);
    for (const page of [2n, 3n, 4n]) bar.store(64, page * P, 0n);
    container.mapDma({ iova: BASE + 3n * P, vaddr: bar.address + 3n * P, size: P });
    probe.write(1, BASE + 2n * P, BASE + 3n * P, BASE + 4n * P);
    expect(probe.finds(1, BASE + 3n * P)).toBe(true);
    expect(bar.load(64, 2n * P)).toBe(0n);
    expect(bar.load(64, 4n * P)).toBe(0n);
    expect(bar.load(64, 3n * P)).not.toBe(0n);
  },
);

test(
  'container.device-memory.misaligned',
  'a BAR at an address of the process that is aligned to pages only is mapped page for page',
  { covers, source: PIN, device: 'nvme', uses, peer: ['S21'] },
  (context) => {
    const { container, defer } = context;
    const probe = dmaProbe(context);
    const { device, region } = deviceMemory(context);
    const size = region.info.size;
    const area = reserveAddresses(size + 0x40_0000n, 0x20_0000n);
    defer(() => area.release());
    const vaddr = area.address + P;
    const flags = MAP_SHARED | MAP_FIXED;
    const prot = PROT_READ | PROT_WRITE;
    expect(sys.mmap(vaddr, size, prot, flags, device.fd, region.info.offset)).toBe(vaddr);
    container.mapDma({ iova: BASE + 7n * P, vaddr, size });
    for (const [index, offset] of [0n, 511n * P, 512n * P, size - P].entries()) {
      expect(sys.store(64, vaddr + offset, 0n)).toBe(0);
      probe.write(20 + index, BASE + 7n * P + offset);
      expect(probe.finds(20 + index, BASE + 7n * P + offset)).toBe(true);
      expect(sys.load(64, vaddr + offset).value).not.toBe(0n);
    }
    expect(container.unmapDma({ iova: BASE + 7n * P, size })).toBe(size);
  },
);

test(
  'container.device-memory.not-counted',
  'device memory is no locked memory of the process; the mapping counts as one',
  { covers, source: RESERVED, device: 'edu', uses },
  (context) => {
    const { container } = context;
    const bar = context.map(deviceMemory(context).region);
    const before = mappingState(container);
    container.mapDma({ iova: BASE, vaddr: bar.address, size: bar.size });
    expect(mappingState(container)).toEqual({ ...before, dmaAvail: before.dmaAvail! - 1 });
    expect(container.unmapDma({ iova: BASE, size: bar.size })).toBe(bar.size);
    expect(mappingState(container)).toEqual(before);
  },
);

for (const { id, title, ram, bar } of [
  {
    id: 'container.device-memory.beside-memory',
    title: 'one mapping may run from memory into a BAR: the memory is counted, the BAR is not',
    ram: 0n,
    bar: 2n,
  },
  {
    id: 'container.device-memory.before-memory',
    title: 'one mapping may run from a BAR into memory: the memory is counted, the BAR is not',
    ram: 2n,
    bar: 0n,
  },
]) {
  test(id, title, { covers, source: [PIN, RESERVED], device: 'nvme', uses }, (context) => {
    const { container, defer, memory } = context;
    const probe = dmaProbe(context);
    const { device, region } = deviceMemory(context);
    const area = reserveAddresses(4n * P, P);
    defer(() => area.release());
    const file = memory({ size: 2 * PAGE, kind: 'memfd' });
    const prot = PROT_READ | PROT_WRITE;
    const flags = MAP_SHARED | MAP_FIXED;
    const at = (page: bigint) => area.address + page * P;
    expect(sys.mmap(at(ram), 2 * PAGE, prot, flags, file.fd, 0)).toBe(at(ram));
    expect(sys.mmap(at(bar), 2 * PAGE, prot, flags, device.fd, region.info.offset)).toBe(at(bar));
    const before = mappingState(container);
    container.mapDma({ iova: BASE, vaddr: area.address, size: 4n * P });
    const after = mappingState(container);
    expect(after.VmLck + after.VmPin - before.VmLck - before.VmPin).toBe(8);
    for (const page of [0n, 1n, 2n, 3n]) {
      expect(sys.store(64, at(page), 0n)).toBe(0);
      probe.write(30 + Number(page), BASE + page * P);
    }
    expect(file.verify(30 + Number(ram), 0, DmaProbe.SIZE)).toBe(-1);
    expect(file.verify(31 + Number(ram), PAGE, DmaProbe.SIZE)).toBe(-1);
    for (const page of [bar, bar + 1n]) {
      expect(sys.load(64, at(page)).value).not.toBe(0n);
      expect(probe.finds(30 + Number(page), BASE + page * P)).toBe(true);
    }
    expect(container.unmapDma({ iova: BASE, size: 4n * P })).toBe(4n * P);
    expect(mappingState(container)).toEqual(before);
  });
}

test(
  'container.device-memory.read-only',
  'a BAR that the process mapped for reading can be mapped for a device to read, not to write',
  { covers: [VFIO_IOMMU_MAP_DMA.fails('EFAULT')], source: PIN, device: 'nvme', uses },
  (context) => {
    const { container } = context;
    const probe = dmaProbe(context);
    const { region } = deviceMemory(context);
    const writable = context.map(region, { size: P });
    const bar = context.map(region, { size: P, prot: PROT_READ });
    const before = mappingState(container);
    expect(container.tryMapDma({ iova: BASE, vaddr: bar.address, size: P })).toFailWith('EFAULT');
    expect(mappingState(container)).toEqual(before);
    const flags = VFIO_DMA_MAP_FLAG_READ;
    container.mapDma({ iova: BASE, vaddr: bar.address, size: P, flags });
    container.mapDma({ iova: 2n * BASE, vaddr: writable.address, size: P });
    probe.write(1, 2n * BASE);
    expect(probe.finds(1, BASE)).toBe(true);
  },
);

test(
  'container.device-memory.switched-off',
  'while the memory of the device is switched off, its BAR cannot be mapped for DMA',
  { covers: [VFIO_IOMMU_MAP_DMA.fails('EFAULT')], source: PIN, device: 'edu', uses },
  (context) => {
    const { container } = context;
    const { device, region } = deviceMemory(context);
    const bar = context.map(region);
    setMemoryEnabled(device, false);
    const before = mappingState(container);
    const map = { iova: BASE, vaddr: bar.address, size: bar.size };
    expect(container.tryMapDma(map)).toFailWith('EFAULT');
    expect(mappingState(container)).toEqual(before);
    setMemoryEnabled(device, true);
    expect(container.tryMapDma(map)).toSucceed(0);
    expect(container.unmapDma({ iova: BASE, size: bar.size })).toBe(bar.size);
  },
);

test(
  'container.device-memory.inside-huge-page',
  'a mapping that begins inside a huge page of a BAR ends with it: what lies behind is memory',
  { covers, source: PIN, device: 'nvme', uses, since: '7.3' },
  (context) => {
    const HUGE = 0x20_0000n;
    const { container, defer, memory } = context;
    const probe = dmaProbe(context);
    const { device, region } = deviceMemory(context);
    const area = reserveAddresses(HUGE + P, HUGE);
    defer(() => area.release());
    const file = memory({ size: PAGE, kind: 'memfd' });
    const prot = PROT_READ | PROT_WRITE;
    const flags = MAP_SHARED | MAP_FIXED;
    const { offset } = region.info;
    const behind = area.address + HUGE;
    expect(sys.mmap(area.address, HUGE, prot, flags, device.fd, offset)).toBe(area.address);
    expect(sys.mmap(behind, PAGE, prot, flags, file.fd, 0)).toBe(behind);
    const before = mappingState(container);
    const size = HUGE / 2n + P;
    container.mapDma({ iova: BASE, vaddr: area.address + HUGE / 2n, size });
    const { VmLck, VmPin } = mappingState(container);
    expect(VmLck + VmPin - before.VmLck - before.VmPin).toBe(4);
    file.fill(1);
    expect(probe.finds(1, BASE + HUGE / 2n)).toBe(true);
    expect(sys.store(64, behind - P, 0n)).toBe(0);
    probe.write(2, BASE + HUGE / 2n - P, BASE + HUGE / 2n);
    expect(file.verify(2, 0, DmaProbe.SIZE)).toBe(-1);
    expect(sys.load(64, behind - P).value).not.toBe(0n);
    expect(container.unmapDma({ iova: BASE, size })).toBe(size);
    expect(mappingState(container)).toEqual(before);
  },
);

test(
  'container.device-memory.munmap',
  'a DMA mapping of a BAR lasts when the process unmaps the BAR, and is undone by its unmap alone',
  { covers: [VFIO_IOMMU_UNMAP_DMA], source: [PIN, PUT], device: 'nvme', uses },
  (context) => {
    const { container } = context;
    const probe = dmaProbe(context);
    const { region } = deviceMemory(context);
    const bar = context.map(region);
    const before = mappingState(container);
    container.mapDma({ iova: BASE, vaddr: bar.address, size: bar.size });
    bar.unmap();
    const last = bar.size - P;
    region.write(last, Buffer.alloc(DmaProbe.SIZE));
    probe.write(1, BASE + last);
    expect(probe.finds(1, BASE + last)).toBe(true);
    expect(region.read(last, 64)).not.toEqual(Buffer.alloc(64));
    expect(container.unmapDma({ iova: BASE, size: bar.size })).toBe(bar.size);
    expect(mappingState(container)).toEqual(before);
  },
);

for (const { name, words, change } of [
  {
    name: 'switched-off-later',
    words: 'when the memory of the device is switched off',
    change: ({ device }) => setMemoryEnabled(device, false),
  },
  {
    name: 'closed',
    words: 'when its device is closed',
    change: ({ device, bar }) => {
      bar.unmap();
      device.close();
    },
  },
] satisfies { name: string; words: string; change: (it: OpenMemory) => void }[]) {
  test(
    `container.device-memory.${name}`,
    `a DMA mapping of a BAR is undone as it was made, also ${words}`,
    { covers: [VFIO_IOMMU_UNMAP_DMA], source: PUT, device: 'edu', uses },
    (context) => {
      const { container } = context;
      const { device, region } = deviceMemory(context);
      const bar = context.map(region);
      const before = mappingState(container);
      container.mapDma({ iova: BASE, vaddr: bar.address, size: bar.size });
      change({ device, bar });
      expect(mappingState(container)).toEqual({ ...before, dmaAvail: before.dmaAvail! - 1 });
      expect(container.unmapDma({ iova: BASE, size: bar.size })).toBe(bar.size);
      expect(mappingState(container)).toEqual(before);
    },
  );
}

for (const { name, words, chunk } of [
  { name: 'whole', words: 'as a whole', chunk: 8n * GIB },
  { name: 'by-1g', words: 'in parts of 1 GiB', chunk: GIB },
  { name: 'by-2m', words: 'in parts of 2 MiB', chunk: 2n * MIB },
]) {
  test(
    `container.device-memory.8g.${name}`,
    `a BAR of 8 GiB can be mapped for DMA ${words}, and an unmap tells all of its size`,
    {
      covers: [VFIO_IOMMU_MAP_DMA, VFIO_IOMMU_UNMAP_DMA],
      source: [PIN, 'drivers/vfio/vfio_iommu_type1.c vfio_dma_do_unmap()'],
      device: 'pci-testdev',
      // Before, BARs are pinned page by page: two millions of them.
      since: '6.15',
      peer: ['A6', 'A10'],
      timeoutMs: 180_000,
    },
    ({ container, device, defer }) => {
      enableDevice(device);
      const { size, offset } = device.region(BAR).info;
      expect(size).toBe(8n * GIB);
      const area = reserveAddresses(size, GIB);
      defer(() => area.release());
      const prot = PROT_READ | PROT_WRITE;
      const at = sys.mmap(area.address, size, prot, MAP_SHARED | MAP_FIXED, device.fd, offset);
      expect(at).toBe(area.address);
      const before = mappingState(container);
      const program = new Program();
      const maps = Array.from({ length: Number(size / chunk) }, (_, index) => {
        const part = BigInt(index) * chunk;
        const map = { iova: BASE + part, vaddr: area.address + part, size: chunk };
        return addMapDma(program, container.fd, map);
      });
      program.run();
      expect(maps.filter((map) => program.result(map) !== 0)).toEqual([]);
      const dmaAvail = before.dmaAvail! - maps.length;
      expect(mappingState(container)).toEqual({ ...before, dmaAvail });
      expect(container.unmapDma({ iova: BASE, size })).toBe(size);
      expect(mappingState(container)).toEqual(before);
    },
  );
}

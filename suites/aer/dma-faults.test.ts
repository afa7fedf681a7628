import {
  DMA_FAULT_LOG,
  DMA_FAULT_REPORTS,
  DmaFaults,
  E1000e,
  Edu,
  Igb,
  PCI_COMMAND_MASTER,
  TRANSMIT_RING_SIZE,
  VFIO_DMA_MAP_FLAG_READ,
  VFIO_IOMMU_MAP_DMA,
  VFIO_IOMMU_UNMAP_DMA,
  enableDevice,
  eventually,
  expect,
  isTransmitted,
  require,
  setCommand,
  test,
  transmitFrom,
  transmitRing,
  type Requirement,
  type TestContext,
} from '../../harness/testing/index.ts';

const NEEDS = {
  covers: [VFIO_IOMMU_MAP_DMA, VFIO_IOMMU_UNMAP_DMA],
  source: ['Documentation/driver-api/vfio.rst', 'drivers/vfio/vfio_iommu_type1.c vfio_iommu_map()'],
  device: 'edu',
  needs: [DMA_FAULT_LOG],
  provokes: DMA_FAULT_REPORTS,
};
const EDUS = {
  ...NEEDS,
  device: undefined,
  devices: ['edu', 'edu-rp', 'switch-edu-a', 'edu-pair-b'],
};
const PAGE = 4096n;
const SECRET = 11;
const KNOWN = 23;

/** Three pages of memory, `SECRET` in all of them, the first mapped at IOVA 0 with `KNOWN` in it. */
function prepare(context: TestContext) {
  const { container, device, memory } = context;
  const pages = memory({ size: 12288, kind: '4k' });
  for (const page of [0, 1, 2]) pages.fill(SECRET, page * 4096, 4096);
  pages.fill(KNOWN, 0, 4096);
  container.mapDma({ iova: 0n, vaddr: pages.address, size: PAGE });
  const edu = new Edu(device);
  context.defer(() => edu.unmap());
  return { container, pages, edu, faults: new DmaFaults(context) };
}

/** An address of which the IOMMU knows the lower bits only. */
function addressBeyond(end: bigint): Requirement {
  return {
    name: 'an IOMMU of less than 64 bits',
    missing: () => (end < 1n << 64n ? null : 'the IOMMU takes all addresses of 64 bits'),
  };
}

/** The device still copies within its own mapping. */
function expectWorking({ pages, edu }: Pick<ReturnType<typeof prepare>, 'pages' | 'edu'>): void {
  pages.fill(KNOWN, 0, 4096);
  edu.readMemory(0n, 4096);
  pages.fill(0, 0, 4096);
  edu.writeMemory(0n, 4096);
  expect(pages.verify(KNOWN, 0, 4096)).toBe(-1);
}

test(
  'aer.dma-fault.write-unmapped',
  'a write of a device to an IOVA that is not mapped is blocked and reported with device and address',
  EDUS,
  (context) => {
    const prepared = prepare(context);
    const { edu, faults } = prepared;
    const fault = faults.provoke(context.pci, () => edu.writeMemory(0x7000_0000n, 4096));
    expect(fault?.address).toBe(0x7000_0000n);
    expect(fault?.write).toBe(true);
    expectWorking(prepared);
  },
);

test(
  'aer.dma-fault.read-unmapped',
  'a read of a device from an IOVA that is not mapped is blocked and reported with device and address',
  EDUS,
  (context) => {
    const prepared = prepare(context);
    const { edu, faults } = prepared;
    const fault = faults.provoke(context.pci, () => edu.readMemory(0x6000_0000n, 4096));
    expect(fault?.address).toBe(0x6000_0000n);
    expect(fault?.write).toBe(false);
    expectWorking(prepared);
  },
);

test(
  'aer.dma-fault.unmapped-again',
  'after UNMAP_DMA the device reaches the memory no more, neither to write nor to read it',
  NEEDS,
  (context) => {
    const { container, pages, edu, faults } = prepare(context);
    container.mapDma({ iova: 0x10000n, vaddr: pages.address + PAGE, size: PAGE });
    edu.readMemory(0n, 4096);
    edu.writeMemory(0x10000n, 4096);
    expect(pages.verify(KNOWN, 4096, 4096), 'mapped').toBe(-1);
    container.unmapDma({ iova: 0x10000n, size: PAGE });
    pages.fill(SECRET, 4096, 4096);
    const fault = faults.provoke(context.pci, () => edu.writeMemory(0x10000n, 4096));
    expect(fault?.address).toBe(0x10000n);
    expect(pages.verify(SECRET, 4096, 4096), 'not overwritten').toBe(-1);
    edu.readMemory(0x10000n, 4096);
    edu.writeMemory(0n, 4096);
    expect(pages.verify(SECRET, 0, 4096), 'not read').not.toBe(-1);
  },
);

test(
  'aer.dma-fault.read-only',
  'a write of a device to a mapping without VFIO_DMA_MAP_FLAG_WRITE is blocked, a read is not',
  { ...NEEDS, covers: [VFIO_IOMMU_MAP_DMA.flag('VFIO_DMA_MAP_FLAG_READ')] },
  (context) => {
    const { container, pages, edu, faults } = prepare(context);
    container.mapDma({
      iova: 0x20000n,
      vaddr: pages.address + PAGE,
      size: PAGE,
      flags: VFIO_DMA_MAP_FLAG_READ,
    });
    edu.readMemory(0n, 4096);
    const fault = faults.provoke(context.pci, () => edu.writeMemory(0x20000n, 4096));
    expect(fault?.address).toBe(0x20000n);
    expect(fault?.write).toBe(true);
    expect(pages.verify(SECRET, 4096, 4096)).toBe(-1);
    edu.readMemory(0x20000n, 4096);
    edu.writeMemory(0n, 4096);
    expect(pages.verify(SECRET, 0, 4096), 'reading works').toBe(-1);
  },
);

test(
  'aer.dma-fault.past-the-end',
  'a transfer that runs past the end of a mapping does not reach the memory behind it',
  NEEDS,
  (context) => {
    const { pages, edu, faults } = prepare(context);
    edu.readMemory(0n, 4096);
    const fault = faults.provoke(context.pci, () => edu.writeMemory(0x800n, 4096));
    expect(fault?.address).toBe(PAGE);
    expect(pages.verify(SECRET, 4096, 4096), 'next in memory, but not mapped').toBe(-1);
    expect(pages.verify(SECRET, 8192, 4096)).toBe(-1);
  },
);

test(
  'aer.dma-fault.hole',
  'a page unmapped between two others is blocked, and its neighbours work on',
  NEEDS,
  (context) => {
    const { container, pages, edu, faults } = prepare(context);
    for (const index of [0n, 1n, 2n]) {
      container.mapDma({
        iova: 0x30000n + index * PAGE,
        vaddr: pages.address + index * PAGE,
        size: PAGE,
      });
    }
    expect(container.unmapDma({ iova: 0x31000n, size: PAGE })).toBe(PAGE);
    edu.readMemory(0n, 4096);
    const fault = faults.provoke(context.pci, () => edu.writeMemory(0x31000n, 4096));
    expect(fault?.address).toBe(0x31000n);
    expect(pages.verify(SECRET, 4096, 4096)).toBe(-1);
    expect(pages.verify(SECRET, 8192, 4096)).toBe(-1);
    edu.writeMemory(0x32000n, 4096);
    expect(pages.verify(KNOWN, 8192, 4096)).toBe(-1);
    expect(pages.verify(SECRET, 4096, 4096)).toBe(-1);
  },
);

test(
  'aer.dma-fault.beyond-width',
  'a DMA to an address beyond the width of the IOMMU is blocked and does not wrap into a mapping',
  NEEDS,
  (context) => {
    const prepared = prepare(context);
    const { container, pages, edu, faults } = prepared;
    const end = container.iovaRanges().at(-1)!.end + 1n;
    require(addressBeyond(end));
    pages.fill(SECRET, 0, 4096);
    // Nothing but the mapping at 0 could be reached by dropping the upper bits.
    faults.provoke(context.pci, () => edu.writeMemory(end, 4096));
    expect(faults.of(context.pci)).not.toEqual([]);
    expect(pages.verify(SECRET, 0, 4096)).toBe(-1);
    expectWorking(prepared);
  },
);

test(
  'aer.dma-fault.mapped-later',
  'an IOVA that faulted works as soon as it is mapped',
  NEEDS,
  (context) => {
    const { container, pages, edu, faults } = prepare(context);
    edu.readMemory(0n, 4096);
    expect(faults.provoke(context.pci, () => edu.writeMemory(0x40000n, 4096))).not.toBe(null);
    container.mapDma({ iova: 0x40000n, vaddr: pages.address + PAGE, size: PAGE });
    edu.writeMemory(0x40000n, 4096);
    expect(pages.verify(KNOWN, 4096, 4096)).toBe(-1);
  },
);

test(
  'aer.dma-fault.no-bus-master',
  'without bus mastering nothing of the device reaches the IOMMU: no change, no report',
  NEEDS,
  (context) => {
    const prepared = prepare(context);
    const { pages, edu, faults } = prepared;
    pages.fill(SECRET, 0, 4096);
    setCommand(context.device, { clear: PCI_COMMAND_MASTER });
    edu.writeMemory(0n, 4096);
    edu.writeMemory(0x5000_0000n, 4096);
    expect(pages.verify(SECRET, 0, 4096)).toBe(-1);
    expect(faults.of(context.pci)).toEqual([]);
    setCommand(context.device, { set: PCI_COMMAND_MASTER });
    expectWorking(prepared);
  },
);

test(
  'aer.dma-fault.other-container',
  'what one container maps, the device in another cannot reach at the same IOVA',
  { ...NEEDS, uses: ['edu-rp'] },
  (context) => {
    const prepared = prepare(context);
    const { pages, faults } = prepared;
    const foreign = context.openGroup('edu-rp');
    context.containerWith(foreign);
    const pci = context.bound('edu-rp');
    const stranger = new Edu(context.openDevice(foreign, pci.bdf));
    context.defer(() => stranger.unmap());
    pages.fill(SECRET, 0, 4096);
    const fault = faults.provoke(pci, () => stranger.writeMemory(0n, 4096));
    expect(fault).toEqual({ device: pci.bdf.slice(5), address: 0n, write: true });
    expect(pages.verify(SECRET, 0, 4096)).toBe(-1);
    expect(faults.of(context.pci)).toEqual([]);
    expectWorking(prepared);
  },
);

test(
  'aer.dma-fault.others-unaffected',
  'while one device faults again and again, another in the same container copies without an error',
  { ...NEEDS, uses: ['edu-rp'] },
  (context) => {
    const prepared = prepare(context);
    const { faults } = prepared;
    const { device, pci } = context.openRole('edu-rp');
    const faulty = new Edu(device);
    context.defer(() => faulty.unmap());
    for (let round = 0; round < 5; round++) {
      // 3: start, from the device to memory; not waited for.
      faulty.startDma(0x40000n, 0x5000_0000n + BigInt(round) * PAGE, 4096, 3n);
      expectWorking(prepared);
      expect(eventually(() => !faulty.dmaBusy())).toBe(true);
    }
    expect(faults.of(context.pci)).toEqual([]);
    expect(faults.provoke(pci, () => faulty.writeMemory(0x5000_0000n, 4096))).not.toBe(null);
  },
);

test(
  'aer.dma-fault.storm',
  'hundreds of faults are blocked one by one, logged in bounded number, and leave all devices usable',
  { ...NEEDS, devices: ['igb'], device: undefined },
  (context) => {
    const { container, device, memory } = context;
    const ring = memory({ size: 4096, kind: '4k' });
    const nic = new Igb(device);
    context.defer(() => nic.unmap());
    const faults = new DmaFaults(context);
    const STORM = 200;
    for (let round = 0; round < STORM; round++) {
      transmitFrom('igb', nic.bar, 0x1000_0000n + BigInt(round) * PAGE);
    }
    expect(nic.status()).not.toBe(0xffff_ffff);
    expect(faults.of(context.pci).length, 'rate limited').toBeLessThan(STORM);
    ring.write(0, transmitRing(0x20000n));
    container.mapDma({ iova: 0x20000n, vaddr: ring.address, size: PAGE });
    device.reset();
    enableDevice(device);
    transmitFrom('igb', nic.bar, 0x20000n);
    expect(eventually(() => isTransmitted(ring.read(0, TRANSMIT_RING_SIZE)))).toBe(true);
  },
);

for (const kind of ['igb', 'e1000e'] as const) {
  test(
    `aer.dma-fault.${kind}-descriptors`,
    'a network card reads descriptors from mapped memory, and is stopped and reported at unmapped',
    { ...NEEDS, device: kind },
    (context) => {
      const { container, device, memory, pci } = context;
      const ring = memory({ size: 4096, kind: '4k' });
      const nic = kind === 'igb' ? new Igb(device) : new E1000e(device);
      context.defer(() => nic.unmap());
      const faults = new DmaFaults(context);
      container.mapDma({ iova: 0x20000n, vaddr: ring.address, size: PAGE });
      ring.write(0, transmitRing(0x20000n));
      transmitFrom(kind, nic.bar, 0x20000n);
      expect(eventually(() => isTransmitted(ring.read(0, TRANSMIT_RING_SIZE)))).toBe(true);
      expect(faults.of(pci)).toEqual([]);
      container.unmapDma({ iova: 0x20000n, size: PAGE });
      const fresh = transmitRing(0x20000n);
      ring.write(0, fresh);
      const fault = faults.provoke(pci, () => transmitFrom(kind, nic.bar, 0x20000n));
      expect(fault?.address).toBe(0x20000n);
      expect(ring.read(0, TRANSMIT_RING_SIZE)).toEqual(fresh);
    },
  );
}

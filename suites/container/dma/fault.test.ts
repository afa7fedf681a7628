import {
  INTEL_IOMMU,
  IOMMU_FAULT,
  VFIO_DMA_MAP_FLAG_READ,
  VFIO_IOMMU_MAP_DMA,
  eventually,
  expect,
  startEdu,
  test,
  type TestContext,
} from '../../../harness/testing/index.ts';

const PAGE = 4096;
const P = 4096n;
const SOURCE = 'drivers/iommu/intel/dmar.c dmar_fault_do_one()';

/** Repeats a transfer until the kernel logs a fault that matches: it logs only so many in a while. */
function logged({ kernelLog }: TestContext, transfer: () => void, pattern: RegExp): boolean {
  const log = kernelLog();
  return eventually(() => {
    transfer();
    return log.drain().some((record) => pattern.test(record));
  }, 20_000);
}

/** What the log must say of a fault of the test's device. */
function record({ pci }: TestContext, kind: 'Read' | 'Write', address: bigint): RegExp {
  const bdf = pci.bdf.replace(/^0000:/, '').replaceAll('.', '\\.');
  return new RegExp(
    `DMAR: \\[DMA ${kind}[^\\]]*\\] Request device \\[(0000:)?${bdf}\\].* fault addr 0x${address.toString(16)}\\b`,
  );
}

for (const { name, kind, words } of [
  { name: 'write', kind: 'Write', words: 'write' },
  { name: 'read', kind: 'Read', words: 'read' },
] as const) {
  test(
    `container.dma-fault.unmapped-${name}`,
    `a ${words} where nothing is mapped is logged with the device and the address`,
    {
      covers: [VFIO_IOMMU_MAP_DMA],
      source: SOURCE,
      device: 'edu',
      needs: [INTEL_IOMMU],
      provokes: [IOMMU_FAULT],
    },
    (context) => {
      const edu = startEdu(context, context.device);
      const iova = 0x1234_5000n;
      const transfer = () =>
        kind === 'Write' ? edu.writeMemory(iova, PAGE) : edu.readMemory(iova, PAGE);
      expect(logged(context, transfer, record(context, kind, iova))).toBe(true);
    },
  );
}

test(
  'container.dma-fault.read-only',
  'a write through a read-only mapping is logged with the device and the address',
  {
    covers: [VFIO_IOMMU_MAP_DMA.flag('VFIO_DMA_MAP_FLAG_READ')],
    source: SOURCE,
    device: 'edu-rp',
    needs: [INTEL_IOMMU],
    provokes: [IOMMU_FAULT],
  },
  (context) => {
    const { container, memory } = context;
    const ram = memory({ size: PAGE, kind: '4k' });
    const iova = 0x2345_6000n;
    const flags = VFIO_DMA_MAP_FLAG_READ;
    container.mapDma({ iova, vaddr: ram.address, size: P, flags });
    const edu = startEdu(context, context.device);
    ram.fill(1);
    const transfer = () => edu.writeMemory(iova, PAGE);
    expect(logged(context, transfer, record(context, 'Write', iova))).toBe(true);
    expect(ram.verify(1)).toBe(-1);
  },
);

test(
  'container.dma-fault.none-inside',
  'transfers that stay inside mappings, to the last byte, are logged as no fault',
  { covers: [VFIO_IOMMU_MAP_DMA], source: SOURCE, device: 'edu' },
  (context) => {
    const { container, device, memory } = context;
    const ram = memory({ size: 2 * PAGE, kind: '4k' });
    container.mapDma({ iova: 0x3456_7000n, vaddr: ram.address, size: 2n * P });
    const edu = startEdu(context, device);
    ram.fill(1);
    edu.readMemory(0x3456_7000n, PAGE);
    edu.writeMemory(0x3456_8000n, PAGE);
    // The runner fails a test whose log has a fault in it.
    expect(ram.verify(1, PAGE, PAGE)).toBe(-1);
  },
);

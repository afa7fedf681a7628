/**
 * Tests with false expectations about right answers of the kernel, from every area: each must fail,
 * and the C program of its dossier must get the same answers.
 */
import {
  Irqs,
  VFIO_PCI_CONFIG_REGION_INDEX,
  VFIO_PCI_MSI_IRQ_INDEX,
  VFIO_TYPE1v2_IOMMU,
  dmaDevice,
  enableDevice,
  expect,
  test,
  type TestContext,
} from '../../../harness/testing/index.ts';

const PAGE = 4096n;
const IOVA = 0x100000n;

/** A page in the container at {@link IOVA}. */
function mapPage({ container, memory }: TestContext) {
  const ram = memory({ size: 4096, kind: '4k' });
  const map = { iova: IOVA, vaddr: ram.address, size: PAGE };
  container.mapDma(map);
  return { ram, map };
}

const FALSEHOODS: Record<string, (t: TestContext) => void> = {
  'container.api-version': ({ container }) => expect(container.apiVersion()).toBe(1),
  'container.extension': ({ container }) => expect(container.checkExtension(4711)).toBe(1),
  'container.set-iommu-twice': ({ container }) =>
    expect(container.trySetIommu(VFIO_TYPE1v2_IOMMU)).toSucceed(),
  'container.set-iommu-no-group': ({ emptyContainer }) =>
    expect(emptyContainer().trySetIommu(VFIO_TYPE1v2_IOMMU)).toFailWith('ENODEV'),
  'container.map-overlap': (t) => {
    const { map } = mapPage(t);
    expect(t.container.tryMapDma(map)).toSucceed();
  },
  'container.map-nothing': ({ container, memory }) => {
    const { address } = memory({ size: 4096, kind: '4k' });
    expect(container.tryMapDma({ iova: IOVA, vaddr: address, size: 0n })).toSucceed();
  },
  'container.map-unaligned': ({ container, memory }) => {
    const { address } = memory({ size: 4096, kind: '4k' });
    expect(container.tryMapDma({ iova: IOVA + 1n, vaddr: address, size: PAGE })).toSucceed();
  },
  'container.unmap-nothing': ({ container }) =>
    expect(container.tryUnmapDma({ iova: IOVA, size: PAGE })).toFailWith('ENOENT'),
  'container.unmap-part': (t) => {
    mapPage(t);
    expect(t.container.tryUnmapDma({ iova: IOVA, size: PAGE / 2n })).toSucceed();
  },
  'container.info-short': ({ container }) => expect(container.tryGetInfo(8)).toSucceed(),
  'container.dma': (t) => {
    const { ram } = mapPage(t);
    ram.fill(1);
    const dma = dmaDevice(t);
    dma.readMemory(IOVA, 16);
    dma.writeMemory(IOVA + 64n, 16);
    expect(ram.verify(1)).toBe(-1);
  },
  'group.wrong-name': ({ group }) => expect(group.tryGetDevice('nothing')).toFailWith('ENOENT'),
  'group.status': ({ group }) => expect(group.status()).toBe(0),
  'group.unset-without-container': ({ openGroup }) =>
    expect(openGroup().tryUnsetContainer()).toSucceed(),
  'group.status-short': ({ group }) => expect(group.tryGetStatus(4)).toSucceed(),
  'device.info-short': ({ device }) => expect(device.tryGetInfo(8)).toSucceed(),
  'device.region-index': ({ device }) => expect(device.tryGetRegionInfo(99)).toSucceed(),
  'device.vendor': ({ device }) =>
    expect(device.region(VFIO_PCI_CONFIG_REGION_INDEX).read16(0)).toBe(0),
  'device.register': ({ device }) => {
    enableDevice(device);
    const bar = device.region(0);
    bar.write32(4, 0x1234_5678);
    expect(bar.read32(4)).toBe(0x1234_5678);
  },
  'device.mapping': ({ device, map }) => {
    enableDevice(device);
    expect(map(device.region(0)).load32(0)).toBe(0);
  },
  'device.reset': ({ device }) => expect(device.tryReset()).toSucceed(),
  'irq.index': ({ device }) => expect(device.tryGetIrqInfo(99)).toSucceed(),
  'irq.loopback': ({ device, eventfd }) => {
    const signal = eventfd();
    const msi = new Irqs(device, VFIO_PCI_MSI_IRQ_INDEX);
    msi.enable([signal]);
    msi.loopback();
    expect(signal.take()).toBe(2);
  },
};

for (const [name, body] of Object.entries(FALSEHOODS)) {
  test(
    `e2e.reproduce.${name}`,
    'an answer of the kernel is other than it must be',
    { source: 'tests/e2e/suites/reproducers.test.ts', device: 'edu' },
    body,
  );
}

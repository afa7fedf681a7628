import {
  IOMMU_FAULT,
  Irqs,
  Nvme,
  VFIO_DEVICE_RESET,
  VFIO_DEVICE_SET_IRQS,
  VFIO_IOMMU_MAP_DMA,
  VFIO_PCI_MSIX_IRQ_INDEX,
  VFIO_PCI_MSI_IRQ_INDEX,
  eduDriver,
  expect,
  test,
} from '../../../harness/testing/index.ts';

const PAGE = 4096;
const P = 4096n;
const BASE = 0x100000n;
const UNMAPPED = 0x40_0000n;
const ROUNDS = 10;
const IOMMU_MAP = 'drivers/vfio/vfio_iommu_type1.c vfio_iommu_map()';
const HANDLER = 'drivers/vfio/pci/vfio_pci_intrs.c vfio_msihandler()';
const covers = [VFIO_IOMMU_MAP_DMA, VFIO_DEVICE_SET_IRQS];

test(
  'container.dma-interrupts.mixed',
  'good transfers, blocked ones and interrupts, in turn: each is what it is, and none leads to another',
  {
    covers,
    source: [IOMMU_MAP, HANDLER],
    device: 'edu',
    peer: ['S23', 'S24', 'S25', 'S27'],
    provokes: [IOMMU_FAULT],
  },
  (context) => {
    const { container, device, eventfd, memory } = context;
    const ram = memory({ size: 2 * PAGE, kind: '4k' });
    container.mapDma({ iova: BASE, vaddr: ram.address, size: 2n * P });
    const edu = eduDriver(context);
    const signal = eventfd();
    new Irqs(device, VFIO_PCI_MSI_IRQ_INDEX).enable([signal]);
    const copy = (seed: number) => {
      ram.fill(seed, 0, PAGE);
      ram.fill(0, PAGE, PAGE);
      edu.readMemory(BASE, PAGE);
      edu.writeMemory(BASE + P, PAGE);
      expect(ram.verify(seed, PAGE, PAGE)).toBe(-1);
    };
    for (let round = 0; round < ROUNDS; round++) {
      copy(2 * round + 1);
      if (round % 2 === 0) edu.readMemory(UNMAPPED, PAGE);
      else edu.writeMemory(UNMAPPED, PAGE);
      expect(signal.take()).toBe(0);
      edu.raise();
      expect(signal.soon()).toBe(1);
      edu.acknowledge();
      copy(2 * round + 2);
    }
    expect(signal.quiet()).toBe(0);
  },
);

test(
  'container.dma-interrupts.after-reset',
  'after a reset a controller is set up anew, transfers and interrupts through its own vector alone, ten times',
  {
    covers: [...covers, VFIO_DEVICE_RESET],
    source: [IOMMU_MAP, HANDLER, 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_ioctl_reset()'],
    device: 'nvme',
    peer: ['S22', 'S28'],
  },
  ({ container, device, eventfd, memory }) => {
    const VECTORS = 4;
    const TRANSFERS = 100;
    const ram = memory({ size: 2 * PAGE, kind: '4k' });
    const queues = memory({ size: Nvme.QUEUES_SIZE, kind: '4k' });
    container.mapDma({ iova: BASE, vaddr: ram.address, size: 2n * P });
    const signals = Array.from({ length: VECTORS }, () => eventfd());
    const irqs = new Irqs(device, VFIO_PCI_MSIX_IRQ_INDEX);
    for (let round = 0; round < ROUNDS; round++) {
      device.reset();
      irqs.enable(signals);
      const nvme = new Nvme(device, container, queues);
      ram.fill(round + 1, 0, PAGE);
      ram.fill(0, PAGE, PAGE);
      const pair = { from: BASE, to: BASE + P };
      nvme.copy(Array.from({ length: TRANSFERS }, () => pair));
      expect(ram.verify(round + 1, PAGE, nvme.maxTransfer)).toBe(-1);
      expect(signals[0]!.soon()).toBeGreaterThan(0);
      irqs.disable();
      nvme.unmap();
      const rings = { iova: Nvme.QUEUES_IOVA, size: BigInt(Nvme.QUEUES_SIZE) };
      expect(container.unmapDma(rings)).toBe(rings.size);
      signals[0]!.take();
      expect(signals.map((signal) => signal.take())).toEqual([0, 0, 0, 0]);
    }
  },
);

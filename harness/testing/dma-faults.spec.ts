import { expect, it } from 'vitest';
import { parseDmaFault } from './dma-faults.ts';

it.each([
  [
    'DMAR: [DMA Write NO_PASID] Request device [03:00.0] fault addr 0x70000000 [fault reason 0x05]',
    { device: '03:00.0', address: 0x7000_0000n, write: true },
  ],
  [
    'virtio_iommu virtio0: page fault from EP 769 at 0x20000 [R]',
    { device: '03:00.1', address: 0x2_0000n, write: false },
  ],
  [
    'vfio-pci 0000:0a:00.2: AMD-Vi: Event logged [IO_PAGE_FAULT domain=0x0007 address=0x2000 flags=0x0020]',
    { device: '0a:00.2', address: 0x2000n, write: true },
  ],
  [
    'vfio-pci 0000:0a:00.2: AMD-Vi: Event logged [IO_PAGE_FAULT domain=0x0007 address=0x2000 flags=0x0000]',
    { device: '0a:00.2', address: 0x2000n, write: false },
  ],
])('reads a blocked access from %s', (line, fault) => {
  expect(parseDmaFault(line)).toEqual(fault);
});

import {
  Edu,
  VFIO_IOMMU_MAP_DMA,
  VFIO_IOMMU_UNMAP_DMA,
  expect,
  test,
} from '../../../harness/testing/index.ts';

const TYPE1 = 'drivers/vfio/vfio_iommu_type1.c vfio_iommu_map()';
const FAULT = /DMAR: .*(fault|DMA (Read|Write))|page fault from EP|AMD-Vi: Event/;

test(
  'container.device-view.round-trip',
  'a device reads and writes the memory that is mapped at its IOVA',
  { covers: [VFIO_IOMMU_MAP_DMA], source: TYPE1, device: 'edu', peer: ['S23'] },
  ({ container, device, memory }) => {
    const pages = memory({ size: 2 * 4096, kind: '4k' });
    container.mapDma({ iova: 0x100000n, vaddr: pages.address, size: 8192n });
    const edu = new Edu(device);
    pages.fill(0x5eed, 0, 4096);
    edu.readMemory(0x100000n, 4096);
    edu.writeMemory(0x101000n, 4096);
    expect(pages.read(4096, 4096).equals(pages.read(0, 4096))).toBe(true);
    edu.unmap();
  },
);

test(
  'container.device-view.unmapped',
  'after unmap the device can no longer write the memory',
  {
    covers: [VFIO_IOMMU_UNMAP_DMA],
    source: TYPE1,
    device: 'edu',
    peer: ['S25'],
    provokes: [FAULT],
  },
  ({ container, device, memory }) => {
    const pages = memory({ size: 4096, kind: '4k' });
    container.mapDma({ iova: 0x100000n, vaddr: pages.address, size: 4096n });
    const edu = new Edu(device);
    pages.write(0, Buffer.alloc(4096, 0xaa));
    expect(container.unmapDma({ iova: 0x100000n, size: 4096n })).toBe(4096n);
    edu.writeMemory(0x100000n, 4096);
    expect(pages.read(0, 4096).equals(Buffer.alloc(4096, 0xaa))).toBe(true);
    edu.unmap();
  },
);

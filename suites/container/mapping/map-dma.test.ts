import {
  VFIO_DMA_MAP_FLAG_READ,
  VFIO_DMA_MAP_FLAG_VADDR,
  VFIO_DMA_MAP_FLAG_WRITE,
  VFIO_IOMMU_MAP_DMA,
  expect,
  ioctl,
  mappingState,
  test,
  vfio_iommu_type1_dma_map,
} from '../../../harness/testing/index.ts';

const PAGE = 4096n;
const READ_WRITE = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE;
const MAP_DMA = 'drivers/vfio/vfio_iommu_type1.c vfio_iommu_type1_map_dma()';
const DO_MAP = 'drivers/vfio/vfio_iommu_type1.c vfio_dma_do_map()';
const TOP = 1n << 64n;
const MAP_SIZE = vfio_iommu_type1_dma_map.size;

test(
  'container.map-dma.argsz.short',
  'an argsz below the size of the structure is refused and nothing is mapped',
  { covers: [VFIO_IOMMU_MAP_DMA.fails('EINVAL')], source: MAP_DMA },
  ({ container, memory }) => {
    const pages = memory({ size: 4096, kind: '4k' });
    const before = mappingState(container);
    for (const argsz of [0, 1, 8, 24, MAP_SIZE - 1]) {
      const map = { iova: 0n, vaddr: pages.address, size: PAGE, argsz };
      expect(container.tryMapDma(map)).toFailWith('EINVAL');
    }
    expect(mappingState(container)).toEqual(before);
  },
);

test(
  'container.map-dma.argsz.exact',
  'an argsz of exactly the size of the structure is taken, and the structure is not written to',
  { covers: [VFIO_IOMMU_MAP_DMA], source: MAP_DMA },
  ({ container, memory }) => {
    const pages = memory({ size: 4096, kind: '4k' });
    const argument = vfio_iommu_type1_dma_map.encode({
      argsz: MAP_SIZE,
      flags: READ_WRITE,
      vaddr: pages.address,
      iova: 0x10000n,
      size: PAGE,
    });
    const given = Buffer.from(argument);
    expect(ioctl(container.fd, VFIO_IOMMU_MAP_DMA, argument)).toSucceed(0);
    expect(argument.equals(given)).toBe(true);
    expect(container.unmapDma({ iova: 0x10000n, size: PAGE })).toBe(PAGE);
  },
);

test(
  'container.map-dma.argsz.long',
  'a longer argsz is taken, and what follows the structure is ignored',
  { covers: [VFIO_IOMMU_MAP_DMA], source: [MAP_DMA, 'include/uapi/linux/vfio.h'] },
  ({ container, memory }) => {
    const pages = memory({ size: 4096, kind: '4k' });
    for (const argsz of [MAP_SIZE + 1, MAP_SIZE + 8, 4096, 0xffffffff]) {
      const argument = Buffer.alloc(4096, 0xff);
      vfio_iommu_type1_dma_map
        .encode({ argsz, flags: READ_WRITE, vaddr: pages.address, iova: 0n, size: PAGE })
        .copy(argument);
      expect(ioctl(container.fd, VFIO_IOMMU_MAP_DMA, argument)).toSucceed(0);
      expect(container.unmapDma({ iova: 0n, size: PAGE })).toBe(PAGE);
    }
  },
);

test(
  'container.map-dma.bad-pointer',
  'an argument that cannot be read is answered with EFAULT',
  { covers: [VFIO_IOMMU_MAP_DMA.fails('EFAULT')], source: MAP_DMA },
  ({ container, memory }) => {
    expect(ioctl(container.fd, VFIO_IOMMU_MAP_DMA, 0n)).toFailWith('EFAULT');
    expect(ioctl(container.fd, VFIO_IOMMU_MAP_DMA, TOP - 4096n)).toFailWith('EFAULT');
    const none = memory({ size: 4096, kind: '4k', prot: 0 });
    expect(ioctl(container.fd, VFIO_IOMMU_MAP_DMA, none.address)).toFailWith('EFAULT');
  },
);

test(
  'container.map-dma.flags.unknown',
  'each unknown flag is refused, and nothing is mapped',
  { covers: [VFIO_IOMMU_MAP_DMA.fails('EINVAL')], source: MAP_DMA },
  ({ container, memory }) => {
    const pages = memory({ size: 4096, kind: '4k' });
    const before = mappingState(container);
    for (let bit = 3; bit < 32; bit++) {
      const flags = (READ_WRITE | (1 << bit)) >>> 0;
      const map = { iova: 0n, vaddr: pages.address, size: PAGE, flags };
      expect(container.tryMapDma(map)).toFailWith('EINVAL');
    }
    expect(mappingState(container)).toEqual(before);
  },
);

test(
  'container.map-dma.flags.none',
  'a mapping which the device may neither read nor write is refused',
  { covers: [VFIO_IOMMU_MAP_DMA.fails('EINVAL')], source: DO_MAP },
  ({ container, memory }) => {
    const pages = memory({ size: 4096, kind: '4k' });
    const before = mappingState(container);
    const map = { iova: 0n, vaddr: pages.address, size: PAGE, flags: 0 };
    expect(container.tryMapDma(map)).toFailWith('EINVAL');
    expect(mappingState(container)).toEqual(before);
  },
);

for (const [name, flags] of [
  ['VFIO_DMA_MAP_FLAG_READ', VFIO_DMA_MAP_FLAG_READ],
  ['VFIO_DMA_MAP_FLAG_WRITE', VFIO_DMA_MAP_FLAG_WRITE],
] as const) {
  test(
    `container.map-dma.flags.${name === 'VFIO_DMA_MAP_FLAG_READ' ? 'read' : 'write'}-only`,
    `${name} alone makes a mapping like any other`,
    { covers: [VFIO_IOMMU_MAP_DMA.flag(name)], source: DO_MAP },
    ({ container, memory }) => {
      const pages = memory({ size: 8192, kind: '4k' });
      const before = mappingState(container);
      const map = { iova: 0x10000n, vaddr: pages.address, size: 2n * PAGE, flags };
      expect(container.tryMapDma(map)).toSucceed(0);
      expect(mappingState(container).VmLck).toBe(before.VmLck + 8);
      expect(container.tryMapDma(map)).toFailWith('EEXIST');
      expect(container.unmapDma({ iova: 0x10000n, size: 2n * PAGE })).toBe(2n * PAGE);
      expect(mappingState(container)).toEqual(before);
    },
  );
}

test(
  'container.map-dma.flags.vaddr-excludes-permissions',
  'VFIO_DMA_MAP_FLAG_VADDR goes with no permission',
  {
    covers: [
      VFIO_IOMMU_MAP_DMA.flag('VFIO_DMA_MAP_FLAG_VADDR'),
      VFIO_IOMMU_MAP_DMA.fails('EINVAL'),
    ],
    source: DO_MAP,
  },
  ({ container, memory }) => {
    const pages = memory({ size: 4096, kind: '4k' });
    const before = mappingState(container);
    for (const permission of [VFIO_DMA_MAP_FLAG_READ, VFIO_DMA_MAP_FLAG_WRITE, READ_WRITE]) {
      const flags = VFIO_DMA_MAP_FLAG_VADDR | permission;
      const map = { iova: 0n, vaddr: pages.address, size: PAGE, flags };
      expect(container.tryMapDma(map)).toFailWith('EINVAL');
    }
    expect(mappingState(container)).toEqual(before);
  },
);

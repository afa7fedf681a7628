import {
  MAP_SHARED,
  PROT_READ,
  PROT_WRITE,
  VFIO_DMA_UNMAP_FLAG_ALL,
  VFIO_DMA_UNMAP_FLAG_VADDR,
  VFIO_IOMMU_MAP_DMA,
  VFIO_IOMMU_UNMAP_DMA,
  VFIO_TYPE1_IOMMU,
  VFIO_TYPE1v2_IOMMU,
  Edu,
  expect,
  mappingState,
  sys,
  test,
} from '../../../harness/testing/index.ts';
import { BASE, PAGE, at, range } from '../page-extents.ts';
import { MAP_VADDR, UNMAP_VADDR, expectInvalidated, invalidate, restore } from './vaddr-calls.ts';

const DO_MAP = 'drivers/vfio/vfio_iommu_type1.c vfio_dma_do_map()';
const DO_UNMAP = 'drivers/vfio/vfio_iommu_type1.c vfio_dma_do_unmap()';

test(
  'container.update-vaddr.cycle',
  'a vaddr can be invalidated and given anew; the mapping and its locked memory stay',
  { covers: [MAP_VADDR, UNMAP_VADDR], source: [DO_MAP, DO_UNMAP] },
  ({ container, memory }) => {
    const ram = memory({ size: 4 * 4096, kind: '4k' });
    const empty = mappingState(container);
    const map = { iova: BASE, vaddr: ram.address, size: 4n * PAGE };
    container.mapDma(map);
    const mapped = mappingState(container);
    for (let round = 0; round < 2; round++) {
      expectInvalidated(invalidate(container, range(0, 4)), 4n * PAGE);
      expect(mappingState(container)).toEqual(mapped);
      expect(container.tryMapDma(map)).toFailWith('EEXIST');
      expect(restore(container, range(0, 4), ram.address)).toSucceed(0);
      expect(mappingState(container)).toEqual(mapped);
    }
    expect(container.unmapDma(range(0, 4))).toBe(4n * PAGE);
    expect(mappingState(container)).toEqual(empty);
  },
);

test(
  'container.update-vaddr.nothing',
  'invalidating where nothing is mapped succeeds and reports zero bytes',
  { covers: [UNMAP_VADDR], source: DO_UNMAP },
  ({ container }) => {
    expectInvalidated(invalidate(container, range(0, 4)), 0n);
    const all = VFIO_DMA_UNMAP_FLAG_ALL | VFIO_DMA_UNMAP_FLAG_VADDR;
    expectInvalidated(container.tryUnmapDma({ iova: 0n, size: 0n, flags: all }), 0n);
  },
);

test(
  'container.update-vaddr.several',
  'one range invalidates several mappings; each is given its vaddr by itself',
  { covers: [MAP_VADDR, UNMAP_VADDR], source: [DO_MAP, DO_UNMAP] },
  ({ container, memory }) => {
    const ram = memory({ size: 8 * 4096, kind: '4k' });
    container.mapDma({ ...range(0, 2), vaddr: ram.address });
    container.mapDma({ ...range(2, 1), vaddr: ram.address });
    container.mapDma({ ...range(6, 2), vaddr: ram.address });
    container.mapDma({ ...range(8, 1), vaddr: ram.address });
    expectInvalidated(invalidate(container, range(0, 8)), 5n * PAGE);
    expect(restore(container, range(8, 1), ram.address)).toFailWith('EINVAL');
    expect(restore(container, range(0, 3), ram.address)).toFailWith('EINVAL');
    expect(restore(container, range(2, 1), ram.address)).toSucceed(0);
    expect(restore(container, range(6, 2), ram.address)).toSucceed(0);
    expect(restore(container, range(0, 2), ram.address)).toSucceed(0);
    for (const page of [0, 2, 6]) {
      const pages = page === 2 ? 1 : 2;
      expect(restore(container, range(page, pages), ram.address)).toFailWith('EINVAL');
    }
  },
);

test(
  'container.update-vaddr.all',
  'VFIO_DMA_UNMAP_FLAG_ALL with _VADDR invalidates every mapping and removes none',
  { covers: [UNMAP_VADDR, VFIO_IOMMU_UNMAP_DMA.flag('VFIO_DMA_UNMAP_FLAG_ALL')], source: DO_UNMAP },
  ({ container, memory }) => {
    const ram = memory({ size: 4096, kind: '4k' });
    const flags = VFIO_DMA_UNMAP_FLAG_ALL | VFIO_DMA_UNMAP_FLAG_VADDR;
    for (const iova of [0n, BASE]) container.mapDma({ iova, vaddr: ram.address, size: PAGE });
    const before = mappingState(container);
    expect(container.tryUnmapDma({ iova: 0n, size: PAGE, flags })).toFailWith('EINVAL');
    expect(restore(container, { iova: 0n, size: PAGE }, ram.address)).toFailWith('EINVAL');
    expectInvalidated(container.tryUnmapDma({ iova: 0n, size: 0n, flags }), 2n * PAGE);
    expect(mappingState(container)).toEqual(before);
    expect(restore(container, { iova: 0n, size: PAGE }, ram.address)).toSucceed(0);
    expect(restore(container, range(0, 1), ram.address)).toSucceed(0);
  },
);

test(
  'container.update-vaddr.v1',
  'a v1 container updates a vaddr too; a range that begins inside a mapping invalidates nothing',
  { covers: [MAP_VADDR, UNMAP_VADDR], source: DO_UNMAP },
  ({ containerOfType, memory }) => {
    const container = containerOfType(VFIO_TYPE1_IOMMU);
    const ram = memory({ size: 4 * 4096, kind: '4k' });
    container.mapDma({ ...range(0, 4), vaddr: ram.address });
    expectInvalidated(invalidate(container, range(1, 3)), 0n);
    expect(restore(container, range(0, 4), ram.address)).toFailWith('EINVAL');
    expectInvalidated(invalidate(container, range(0, 1)), 4n * PAGE);
    expect(restore(container, range(0, 4), ram.address)).toSucceed(0);
    expect(container.unmapDma(range(0, 4))).toBe(4n * PAGE);
  },
);

test(
  'container.update-vaddr.unmap-invalid',
  'a mapping without a valid vaddr can be unmapped, memory and count included',
  {
    covers: [UNMAP_VADDR, VFIO_IOMMU_UNMAP_DMA],
    source: 'drivers/vfio/vfio_iommu_type1.c vfio_remove_dma()',
    device: 'edu',
    uses: ['edu-rp'],
  },
  ({ container, openGroup, memory }) => {
    const ram = memory({ size: 2 * 4096, kind: '4k' });
    const before = mappingState(container);
    container.mapDma({ ...range(0, 2), vaddr: ram.address });
    expectInvalidated(invalidate(container, range(0, 2)), 2n * PAGE);
    expect(container.unmapDma(range(0, 2))).toBe(2n * PAGE);
    expect(mappingState(container)).toEqual(before);
    expect(openGroup('edu-rp').trySetContainer(container)).toSucceed(0);
  },
);

test(
  'container.update-vaddr.other-mappings',
  'while a vaddr is invalid, other mappings are made and removed as usual',
  { covers: [UNMAP_VADDR, VFIO_IOMMU_MAP_DMA], source: [DO_MAP, DO_UNMAP] },
  ({ container, memory }) => {
    const ram = memory({ size: 4096, kind: '4k' });
    container.mapDma({ ...range(0, 1), vaddr: ram.address });
    expectInvalidated(invalidate(container, range(0, 1)), PAGE);
    const other = { iova: at(1), vaddr: ram.address, size: PAGE };
    expect(container.tryMapDma(other)).toSucceed(0);
    expect(container.unmapDma({ iova: at(1), size: PAGE })).toBe(PAGE);
    expect(restore(container, range(0, 1), ram.address)).toSucceed(0);
  },
);

test(
  'container.update-vaddr.last-group-leaves',
  'mappings without a valid vaddr go with the last group, and a new IOMMU knows nothing of them',
  {
    covers: [UNMAP_VADDR],
    source: 'drivers/vfio/vfio_iommu_type1.c vfio_iommu_unmap_unpin_all()',
    device: 'edu',
    uses: ['edu-rp'],
  },
  ({ container, openGroup, memory }) => {
    const ram = memory({ size: 4096, kind: '4k' });
    const before = mappingState(container);
    container.mapDma({ ...range(0, 1), vaddr: ram.address });
    expectInvalidated(invalidate(container, range(0, 1)), PAGE);
    openGroup().unsetContainer();
    openGroup().setContainer(container);
    container.setIommu(VFIO_TYPE1v2_IOMMU);
    expect(mappingState(container)).toEqual(before);
    expect(openGroup('edu-rp').trySetContainer(container)).toSucceed(0);
  },
);

test(
  'container.update-vaddr.device-continues',
  'the device reaches the memory while the vaddr is invalid and after it was given anew',
  { covers: [MAP_VADDR, UNMAP_VADDR], source: 'include/uapi/linux/vfio.h', device: 'edu' },
  ({ container, device, memory, defer }) => {
    const ram = memory({ size: 2 * 4096, kind: 'memfd' });
    container.mapDma({ ...range(0, 2), vaddr: ram.address });
    const before = mappingState(container);
    const edu = new Edu(device);
    ram.fill(1, 0, 4096);
    expectInvalidated(invalidate(container, range(0, 2)), 2n * PAGE);
    edu.readMemory(BASE, 4096);
    edu.writeMemory(BASE + PAGE, 4096);
    expect(ram.verify(1, 4096, 4096)).toBe(-1);
    const elsewhere = sys.mmap(0n, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, ram.fd, 0);
    defer(() => void sys.munmap(elsewhere, 8192));
    expect(restore(container, range(0, 2), elsewhere)).toSucceed(0);
    expect(mappingState(container)).toEqual(before);
    ram.fill(2, 0, 4096);
    edu.readMemory(BASE, 4096);
    edu.writeMemory(BASE + PAGE, 4096);
    expect(ram.verify(2, 4096, 4096)).toBe(-1);
    edu.unmap();
  },
);

import {
  VFIO_GROUP_FLAGS_CONTAINER_SET,
  VFIO_GROUP_FLAGS_VIABLE,
  VFIO_GROUP_SET_CONTAINER,
  VFIO_IOMMU_MAP_DMA,
  VFIO_IOMMU_UNMAP_DMA,
  VFIO_TYPE1v2_IOMMU,
  expect,
  mappingState,
  test,
} from '../../../harness/testing/index.ts';
import { BASE, PAGE, at, range } from '../page-extents.ts';
import { MAP_VADDR, UNMAP_VADDR, expectInvalidated, invalidate, restore } from './vaddr-calls.ts';

const DO_MAP = 'drivers/vfio/vfio_iommu_type1.c vfio_dma_do_map()';
const DO_UNMAP = 'drivers/vfio/vfio_iommu_type1.c vfio_dma_do_unmap()';
const ATTACH = 'drivers/vfio/vfio_iommu_type1.c vfio_iommu_type1_attach_group()';

test(
  'container.update-vaddr.bisect',
  'a range that bisects a mapping is refused and invalidates nothing',
  { covers: [UNMAP_VADDR, VFIO_IOMMU_UNMAP_DMA.fails('EINVAL')], source: DO_UNMAP },
  ({ container, memory }) => {
    const ram = memory({ size: 4 * 4096, kind: '4k' });
    container.mapDma({ ...range(0, 4), vaddr: ram.address });
    container.mapDma({ ...range(8, 1), vaddr: ram.address });
    for (const [page, pages] of [
      [0, 2],
      [1, 3],
      [2, 7],
    ] as const) {
      expect(invalidate(container, range(page, pages))).toFailWith('EINVAL');
    }
    expect(restore(container, range(0, 4), ram.address)).toFailWith('EINVAL');
    expect(restore(container, range(8, 1), ram.address)).toFailWith('EINVAL');
  },
);

test(
  'container.update-vaddr.twice',
  'what is invalid cannot be invalidated again, and stays invalid',
  { covers: [UNMAP_VADDR, VFIO_IOMMU_UNMAP_DMA.fails('EINVAL')], source: DO_UNMAP },
  ({ container, memory }) => {
    const ram = memory({ size: 4096, kind: '4k' });
    container.mapDma({ ...range(0, 1), vaddr: ram.address });
    expectInvalidated(invalidate(container, range(0, 1)), PAGE);
    expect(invalidate(container, range(0, 1))).toFailWith('EINVAL');
    expect(invalidate(container, { iova: 0n, size: 2n * BASE })).toFailWith('EINVAL');
    expect(restore(container, range(0, 1), ram.address)).toSucceed(0);
    expect(restore(container, range(0, 1), ram.address)).toFailWith('EINVAL');
  },
);

for (const invalid of [0, 1, 2]) {
  test(
    `container.update-vaddr.rollback.${invalid}`,
    `a range whose mapping number ${invalid} is invalid already is refused, and changes none of the others`,
    {
      covers: [UNMAP_VADDR, VFIO_IOMMU_UNMAP_DMA.fails('EINVAL')],
      source: [DO_UNMAP, ATTACH],
      device: 'edu',
      uses: ['edu-rp'],
    },
    ({ container, openGroup, memory }) => {
      const ram = memory({ size: 4096, kind: '4k' });
      const pages = [0, 1, 2];
      for (const page of pages) {
        container.mapDma({ ...range(page, 1), vaddr: ram.address });
      }
      expectInvalidated(invalidate(container, range(invalid, 1)), PAGE);
      const answer = invalidate(container, range(0, 3));
      expect(answer).toFailWith('EINVAL');
      expect(answer.value).toBe(3n * PAGE);
      for (const page of pages) {
        if (page === invalid) continue;
        expect(restore(container, range(page, 1), ram.address)).toFailWith('EINVAL');
      }
      // One is invalid, and one only: the container takes a group as soon as it is restored.
      expect(openGroup('edu-rp').trySetContainer(container)).toFailWith('EBUSY');
      expect(restore(container, range(invalid, 1), ram.address)).toSucceed(0);
      expect(openGroup('edu-rp').trySetContainer(container)).toSucceed(0);
    },
  );
}

test(
  'container.update-vaddr.restore.unmapped',
  'a vaddr for what is not mapped is refused with ENOENT',
  { covers: [MAP_VADDR, VFIO_IOMMU_MAP_DMA.fails('ENOENT')], source: DO_MAP },
  ({ container, memory }) => {
    const ram = memory({ size: 4096, kind: '4k' });
    const before = mappingState(container);
    expect(restore(container, range(0, 1), ram.address)).toFailWith('ENOENT');
    container.mapDma({ ...range(0, 1), vaddr: ram.address });
    expect(restore(container, range(-1, 1), ram.address)).toFailWith('ENOENT');
    expect(restore(container, range(1, 1), ram.address)).toFailWith('ENOENT');
    container.unmapDma(range(0, 1));
    expect(mappingState(container)).toEqual(before);
  },
);

test(
  'container.update-vaddr.restore.valid',
  'a mapping whose vaddr is valid takes no other one',
  { covers: [MAP_VADDR, VFIO_IOMMU_MAP_DMA.fails('EINVAL')], source: DO_MAP },
  ({ container, memory }) => {
    const ram = memory({ size: 4096, kind: '4k' });
    container.mapDma({ ...range(0, 1), vaddr: ram.address });
    expect(restore(container, range(0, 1), ram.address)).toFailWith('EINVAL');
    expect(container.unmapDma(range(0, 1))).toBe(PAGE);
  },
);

test(
  'container.update-vaddr.restore.exact-range',
  'a new vaddr is for exactly one mapping: other bounds are refused and it stays invalid',
  { covers: [MAP_VADDR, VFIO_IOMMU_MAP_DMA.fails('EINVAL')], source: DO_MAP },
  ({ container, memory }) => {
    const ram = memory({ size: 8 * 4096, kind: '4k' });
    container.mapDma({ ...range(2, 4), vaddr: ram.address });
    expectInvalidated(invalidate(container, range(2, 4)), 4n * PAGE);
    for (const [page, pages] of [
      [2, 1],
      [2, 3],
      [2, 5],
      [3, 3],
      [3, 4],
      [1, 5],
      [1, 4],
    ] as const) {
      const answer = restore(container, range(page, pages), ram.address);
      expect(answer).toFailWith('EINVAL');
    }
    for (const [iova, size, vaddr] of [
      [at(2), 4n * PAGE, ram.address + 1n],
      [at(2), 0n, ram.address],
      [at(2) + 1n, 4n * PAGE, ram.address],
    ] as const) {
      expect(restore(container, { iova, size }, vaddr)).toFailWith('EINVAL');
    }
    expect(restore(container, range(2, 4), ram.address)).toSucceed(0);
  },
);

test(
  'container.update-vaddr.no-new-group',
  'while a vaddr is invalid no group can be added; the refused group stays free for others',
  {
    covers: [UNMAP_VADDR, VFIO_GROUP_SET_CONTAINER.fails('EBUSY')],
    source: [ATTACH, 'drivers/vfio/container.c vfio_container_attach_group()'],
    device: 'edu',
    uses: ['edu-rp'],
  },
  ({ container, emptyContainer, openGroup, memory }) => {
    const ram = memory({ size: 4096, kind: '4k' });
    container.mapDma({ ...range(0, 1), vaddr: ram.address });
    expectInvalidated(invalidate(container, range(0, 1)), PAGE);
    const group = openGroup('edu-rp');
    expect(group.trySetContainer(container)).toFailWith('EBUSY');
    expect(group.status()).toBe(VFIO_GROUP_FLAGS_VIABLE);
    const other = emptyContainer();
    expect(group.trySetContainer(other)).toSucceed(0);
    other.setIommu(VFIO_TYPE1v2_IOMMU);
    group.unsetContainer();
    expect(restore(container, range(0, 1), ram.address)).toSucceed(0);
    expect(group.trySetContainer(container)).toSucceed(0);
    expect(group.status()).toBe(VFIO_GROUP_FLAGS_VIABLE | VFIO_GROUP_FLAGS_CONTAINER_SET);
  },
);

import {
  VFIO_DMA_MAP_FLAG_VADDR,
  VFIO_DMA_UNMAP_FLAG_VADDR,
  VFIO_GROUP_FLAGS_CONTAINER_SET,
  VFIO_GROUP_FLAGS_VIABLE,
  VFIO_GROUP_SET_CONTAINER,
  VFIO_IOMMU_MAP_DMA,
  VFIO_IOMMU_UNMAP_DMA,
  VFIO_TYPE1v2_IOMMU,
  expect,
  mappingState,
  test,
  type Answer,
  type Container,
} from '../../harness/testing/index.ts';

const PAGE = 4096n;
const BASE = 0x100000n;
const DO_MAP = 'drivers/vfio/vfio_iommu_type1.c vfio_dma_do_map()';
const DO_UNMAP = 'drivers/vfio/vfio_iommu_type1.c vfio_dma_do_unmap()';
const ATTACH = 'drivers/vfio/vfio_iommu_type1.c vfio_iommu_type1_attach_group()';
const MAP_VADDR = VFIO_IOMMU_MAP_DMA.flag('VFIO_DMA_MAP_FLAG_VADDR');
const UNMAP_VADDR = VFIO_IOMMU_UNMAP_DMA.flag('VFIO_DMA_UNMAP_FLAG_VADDR');
const at = (page: bigint) => BASE + page * PAGE;

function invalidate(container: Container, iova: bigint, size: bigint): Answer<bigint> {
  return container.tryUnmapDma({ iova, size, flags: VFIO_DMA_UNMAP_FLAG_VADDR });
}

function restore(container: Container, iova: bigint, size: bigint, vaddr: bigint): Answer {
  return container.tryMapDma({ iova, size, vaddr, flags: VFIO_DMA_MAP_FLAG_VADDR });
}

function expectInvalidated(answer: Answer<bigint>, size: bigint): void {
  expect(answer).toSucceed(0);
  expect(answer.value).toBe(size);
}

test(
  'container.update-vaddr.bisect',
  'a range that bisects a mapping is refused and invalidates nothing',
  { covers: [UNMAP_VADDR, VFIO_IOMMU_UNMAP_DMA.fails('EINVAL')], source: DO_UNMAP },
  ({ container, memory }) => {
    const ram = memory({ size: 4 * 4096, kind: '4k' });
    container.mapDma({ iova: at(0n), vaddr: ram.address, size: 4n * PAGE });
    container.mapDma({ iova: at(8n), vaddr: ram.address, size: PAGE });
    for (const [page, pages] of [
      [0n, 2n],
      [1n, 3n],
      [2n, 7n],
    ] as const) {
      expect(invalidate(container, at(page), pages * PAGE)).toFailWith('EINVAL');
    }
    expect(restore(container, at(0n), 4n * PAGE, ram.address)).toFailWith('EINVAL');
    expect(restore(container, at(8n), PAGE, ram.address)).toFailWith('EINVAL');
  },
);

test(
  'container.update-vaddr.twice',
  'what is invalid cannot be invalidated again, and stays invalid',
  { covers: [UNMAP_VADDR, VFIO_IOMMU_UNMAP_DMA.fails('EINVAL')], source: DO_UNMAP },
  ({ container, memory }) => {
    const ram = memory({ size: 4096, kind: '4k' });
    container.mapDma({ iova: BASE, vaddr: ram.address, size: PAGE });
    expectInvalidated(invalidate(container, BASE, PAGE), PAGE);
    expect(invalidate(container, BASE, PAGE)).toFailWith('EINVAL');
    expect(invalidate(container, 0n, 2n * BASE)).toFailWith('EINVAL');
    expect(restore(container, BASE, PAGE, ram.address)).toSucceed(0);
    expect(restore(container, BASE, PAGE, ram.address)).toFailWith('EINVAL');
  },
);

for (const invalid of [0n, 1n, 2n]) {
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
      const pages = [0n, 1n, 2n];
      for (const page of pages) {
        container.mapDma({ iova: at(page), vaddr: ram.address, size: PAGE });
      }
      expectInvalidated(invalidate(container, at(invalid), PAGE), PAGE);
      const answer = invalidate(container, at(0n), 3n * PAGE);
      expect(answer).toFailWith('EINVAL');
      expect(answer.value).toBe(3n * PAGE);
      for (const page of pages) {
        if (page === invalid) continue;
        expect(restore(container, at(page), PAGE, ram.address)).toFailWith('EINVAL');
      }
      // One is invalid, and one only: the container takes a group as soon as it is restored.
      expect(openGroup('edu-rp').trySetContainer(container)).toFailWith('EBUSY');
      expect(restore(container, at(invalid), PAGE, ram.address)).toSucceed(0);
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
    expect(restore(container, BASE, PAGE, ram.address)).toFailWith('ENOENT');
    container.mapDma({ iova: BASE, vaddr: ram.address, size: PAGE });
    expect(restore(container, BASE - PAGE, PAGE, ram.address)).toFailWith('ENOENT');
    expect(restore(container, BASE + PAGE, PAGE, ram.address)).toFailWith('ENOENT');
    container.unmapDma({ iova: BASE, size: PAGE });
    expect(mappingState(container)).toEqual(before);
  },
);

test(
  'container.update-vaddr.restore.valid',
  'a mapping whose vaddr is valid takes no other one',
  { covers: [MAP_VADDR, VFIO_IOMMU_MAP_DMA.fails('EINVAL')], source: DO_MAP },
  ({ container, memory }) => {
    const ram = memory({ size: 4096, kind: '4k' });
    container.mapDma({ iova: BASE, vaddr: ram.address, size: PAGE });
    expect(restore(container, BASE, PAGE, ram.address)).toFailWith('EINVAL');
    expect(container.unmapDma({ iova: BASE, size: PAGE })).toBe(PAGE);
  },
);

test(
  'container.update-vaddr.restore.exact-range',
  'a new vaddr is for exactly one mapping: other bounds are refused and it stays invalid',
  { covers: [MAP_VADDR, VFIO_IOMMU_MAP_DMA.fails('EINVAL')], source: DO_MAP },
  ({ container, memory }) => {
    const ram = memory({ size: 8 * 4096, kind: '4k' });
    container.mapDma({ iova: at(2n), vaddr: ram.address, size: 4n * PAGE });
    expectInvalidated(invalidate(container, at(2n), 4n * PAGE), 4n * PAGE);
    for (const [page, pages] of [
      [2n, 1n],
      [2n, 3n],
      [2n, 5n],
      [3n, 3n],
      [3n, 4n],
      [1n, 5n],
      [1n, 4n],
    ] as const) {
      const answer = restore(container, at(page), pages * PAGE, ram.address);
      expect(answer).toFailWith('EINVAL');
    }
    for (const [iova, size, vaddr] of [
      [at(2n), 4n * PAGE, ram.address + 1n],
      [at(2n), 0n, ram.address],
      [at(2n) + 1n, 4n * PAGE, ram.address],
    ] as const) {
      expect(restore(container, iova, size, vaddr)).toFailWith('EINVAL');
    }
    expect(restore(container, at(2n), 4n * PAGE, ram.address)).toSucceed(0);
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
    container.mapDma({ iova: BASE, vaddr: ram.address, size: PAGE });
    expectInvalidated(invalidate(container, BASE, PAGE), PAGE);
    const group = openGroup('edu-rp');
    expect(group.trySetContainer(container)).toFailWith('EBUSY');
    expect(group.status()).toBe(VFIO_GROUP_FLAGS_VIABLE);
    const other = emptyContainer();
    expect(group.trySetContainer(other)).toSucceed(0);
    other.setIommu(VFIO_TYPE1v2_IOMMU);
    group.unsetContainer();
    expect(restore(container, BASE, PAGE, ram.address)).toSucceed(0);
    expect(group.trySetContainer(container)).toSucceed(0);
    expect(group.status()).toBe(VFIO_GROUP_FLAGS_VIABLE | VFIO_GROUP_FLAGS_CONTAINER_SET);
  },
);

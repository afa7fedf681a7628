import {
  MAP_SHARED,
  PROT_READ,
  PROT_WRITE,
  VFIO_DMA_MAP_FLAG_VADDR,
  VFIO_DMA_UNMAP_FLAG_ALL,
  VFIO_DMA_UNMAP_FLAG_VADDR,
  VFIO_GROUP_FLAGS_CONTAINER_SET,
  VFIO_GROUP_FLAGS_VIABLE,
  VFIO_GROUP_SET_CONTAINER,
  VFIO_IOMMU_MAP_DMA,
  VFIO_IOMMU_UNMAP_DMA,
  VFIO_TYPE1v2_IOMMU,
  Edu,
  expect,
  mappingState,
  sys,
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
      expectInvalidated(invalidate(container, BASE, 4n * PAGE), 4n * PAGE);
      expect(mappingState(container)).toEqual(mapped);
      expect(container.tryMapDma(map)).toFailWith('EEXIST');
      expect(restore(container, BASE, 4n * PAGE, ram.address)).toSucceed(0);
      expect(mappingState(container)).toEqual(mapped);
    }
    expect(container.unmapDma({ iova: BASE, size: 4n * PAGE })).toBe(4n * PAGE);
    expect(mappingState(container)).toEqual(empty);
  },
);

test(
  'container.update-vaddr.nothing',
  'invalidating where nothing is mapped succeeds and reports zero bytes',
  { covers: [UNMAP_VADDR], source: DO_UNMAP },
  ({ container }) => {
    expectInvalidated(invalidate(container, BASE, 4n * PAGE), 0n);
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
    container.mapDma({ iova: at(0n), vaddr: ram.address, size: 2n * PAGE });
    container.mapDma({ iova: at(2n), vaddr: ram.address, size: PAGE });
    container.mapDma({ iova: at(6n), vaddr: ram.address, size: 2n * PAGE });
    container.mapDma({ iova: at(8n), vaddr: ram.address, size: PAGE });
    expectInvalidated(invalidate(container, at(0n), 8n * PAGE), 5n * PAGE);
    expect(restore(container, at(8n), PAGE, ram.address)).toFailWith('EINVAL');
    expect(restore(container, at(0n), 3n * PAGE, ram.address)).toFailWith('EINVAL');
    expect(restore(container, at(2n), PAGE, ram.address)).toSucceed(0);
    expect(restore(container, at(6n), 2n * PAGE, ram.address)).toSucceed(0);
    expect(restore(container, at(0n), 2n * PAGE, ram.address)).toSucceed(0);
    for (const page of [0n, 2n, 6n]) {
      const size = page === 2n ? PAGE : 2n * PAGE;
      expect(restore(container, at(page), size, ram.address)).toFailWith('EINVAL');
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
    expect(restore(container, 0n, PAGE, ram.address)).toFailWith('EINVAL');
    expectInvalidated(container.tryUnmapDma({ iova: 0n, size: 0n, flags }), 2n * PAGE);
    expect(mappingState(container)).toEqual(before);
    expect(restore(container, 0n, PAGE, ram.address)).toSucceed(0);
    expect(restore(container, BASE, PAGE, ram.address)).toSucceed(0);
  },
);

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
    container.mapDma({ iova: BASE, vaddr: ram.address, size: 2n * PAGE });
    expectInvalidated(invalidate(container, BASE, 2n * PAGE), 2n * PAGE);
    expect(container.unmapDma({ iova: BASE, size: 2n * PAGE })).toBe(2n * PAGE);
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
    container.mapDma({ iova: at(0n), vaddr: ram.address, size: PAGE });
    expectInvalidated(invalidate(container, at(0n), PAGE), PAGE);
    const other = { iova: at(1n), vaddr: ram.address, size: PAGE };
    expect(container.tryMapDma(other)).toSucceed(0);
    expect(container.unmapDma({ iova: at(1n), size: PAGE })).toBe(PAGE);
    expect(restore(container, at(0n), PAGE, ram.address)).toSucceed(0);
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
    container.mapDma({ iova: BASE, vaddr: ram.address, size: PAGE });
    expectInvalidated(invalidate(container, BASE, PAGE), PAGE);
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
    container.mapDma({ iova: BASE, vaddr: ram.address, size: 2n * PAGE });
    const before = mappingState(container);
    const edu = new Edu(device);
    ram.fill(1, 0, 4096);
    expectInvalidated(invalidate(container, BASE, 2n * PAGE), 2n * PAGE);
    edu.readMemory(BASE, 4096);
    edu.writeMemory(BASE + PAGE, 4096);
    expect(ram.verify(1, 4096, 4096)).toBe(-1);
    const elsewhere = sys.mmap(0n, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, ram.fd, 0);
    defer(() => void sys.munmap(elsewhere, 8192));
    expect(restore(container, BASE, 2n * PAGE, elsewhere)).toSucceed(0);
    expect(mappingState(container)).toEqual(before);
    ram.fill(2, 0, 4096);
    edu.readMemory(BASE, 4096);
    edu.writeMemory(BASE + PAGE, 4096);
    expect(ram.verify(2, 4096, 4096)).toBe(-1);
    edu.unmap();
  },
);

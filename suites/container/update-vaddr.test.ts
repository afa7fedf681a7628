import {
  MAP_SHARED,
  PROT_READ,
  PROT_WRITE,
  VFIO_DMA_MAP_FLAG_VADDR,
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
  type Answer,
  type Container,
} from '../../harness/testing/index.ts';

const PAGE = 4096n;
const BASE = 0x100000n;
const DO_MAP = 'drivers/vfio/vfio_iommu_type1.c vfio_dma_do_map()';
const DO_UNMAP = 'drivers/vfio/vfio_iommu_type1.c vfio_dma_do_unmap()';
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
  'container.update-vaddr.v1',
  'a v1 container updates a vaddr too; a range that begins inside a mapping invalidates nothing',
  { covers: [MAP_VADDR, UNMAP_VADDR], source: DO_UNMAP },
  ({ containerOfType, memory }) => {
    const container = containerOfType(VFIO_TYPE1_IOMMU);
    const ram = memory({ size: 4 * 4096, kind: '4k' });
    container.mapDma({ iova: BASE, vaddr: ram.address, size: 4n * PAGE });
    expectInvalidated(invalidate(container, at(1n), 3n * PAGE), 0n);
    expect(restore(container, BASE, 4n * PAGE, ram.address)).toFailWith('EINVAL');
    expectInvalidated(invalidate(container, at(0n), PAGE), 4n * PAGE);
    expect(restore(container, BASE, 4n * PAGE, ram.address)).toSucceed(0);
    expect(container.unmapDma({ iova: BASE, size: 4n * PAGE })).toBe(4n * PAGE);
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

import {
  IOMMU_TRACE,
  OWN_MACHINE,
  VFIO_GROUP_SET_CONTAINER,
  VFIO_IOMMU_MAP_DMA,
  VFIO_IOMMU_UNMAP_DMA,
  expect,
  hugePages,
  scatteredMemory,
  setModuleParameter,
  test,
  traceIommu,
  type Container,
} from '../../../harness/testing/index.ts';

const P = 4096n;
const MIB = 1024 * 1024;
const HUGE = 2 * MIB;
const IOVA = 0x4000_0000n;
const MAP = 'drivers/vfio/vfio_iommu_type1.c vfio_pin_map_dma()';
const UNMAP = 'drivers/vfio/vfio_iommu_type1.c vfio_unmap_unpin()';
const covers = [VFIO_IOMMU_MAP_DMA, VFIO_IOMMU_UNMAP_DMA];

/** What is asked of the IOMMU for a mapping and its unmap: sizes in order. */
function calls(container: Container, vaddr: bigint, size: number) {
  const bytes = BigInt(size);
  const traced = traceIommu(() => {
    container.mapDma({ iova: IOVA, vaddr, size: bytes });
    expect(container.unmapDma({ iova: IOVA, size: bytes })).toBe(bytes);
  });
  const mine = traced.filter(({ iova }) => iova >= IOVA && iova < IOVA + bytes);
  const sizes = (wanted: string) =>
    mine.filter(({ event }) => event === wanted).map((call) => call.size);
  return { map: sizes('map'), unmap: sizes('unmap') };
}

test(
  'container.iommu-calls.contiguous',
  'memory that is contiguous is mapped and unmapped in one piece',
  { covers, source: [MAP, UNMAP], needs: [IOMMU_TRACE, OWN_MACHINE, hugePages(2048, 1)] },
  ({ container, memory }) => {
    const ram = memory({ size: HUGE, kind: 'hugetlb-2m' });
    expect(calls(container, ram.address, HUGE)).toEqual({ map: [HUGE], unmap: [HUGE] });
  },
);

test(
  'container.iommu-calls.scattered',
  'memory in pieces is mapped and unmapped piece by piece, each once',
  { covers, source: [MAP, UNMAP], needs: [IOMMU_TRACE, OWN_MACHINE] },
  (context) => {
    const ram = scatteredMemory(context, 20);
    const { map, unmap } = calls(context.container, ram.address, ram.size);
    expect(map.length).toBeGreaterThan(1);
    expect(map.reduce((sum, size) => sum + size, 0)).toBe(ram.size);
    expect(unmap).toEqual(map);
  },
);

test(
  'container.iommu-calls.disable-hugepages',
  'with disable_hugepages also contiguous memory is mapped page by page',
  {
    covers: [VFIO_IOMMU_MAP_DMA],
    source: 'drivers/vfio/vfio_iommu_type1.c vfio_pin_pages_remote()',
    needs: [IOMMU_TRACE, OWN_MACHINE, hugePages(2048, 1)],
  },
  ({ container, defer, memory }) => {
    const ram = memory({ size: HUGE, kind: 'hugetlb-2m' });
    defer(setModuleParameter('vfio_iommu_type1', 'disable_hugepages', 'Y'));
    const { map } = calls(container, ram.address, 16 * 4096);
    expect(map).toEqual(Array.from({ length: 16 }, () => 4096));
  },
);

test(
  'container.iommu-calls.groups',
  'groups of one container behind one IOMMU share its tables: a mapping is made once for all of them',
  {
    covers: [VFIO_GROUP_SET_CONTAINER],
    source: 'drivers/vfio/vfio_iommu_type1.c vfio_iommu_type1_attach_group()',
    device: 'edu',
    uses: ['edu-rp'],
    needs: [IOMMU_TRACE, OWN_MACHINE],
  },
  ({ container, memory, openGroup }) => {
    openGroup('edu-rp').setContainer(container);
    const ram = memory({ size: Number(P), kind: '4k' });
    expect(calls(container, ram.address, 4096)).toEqual({ map: [4096], unmap: [4096] });
  },
);

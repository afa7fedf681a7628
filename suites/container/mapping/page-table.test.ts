import {
  INTEL_IOMMU,
  INTEL_PAGE_TABLE,
  VFIO_IOMMU_MAP_DMA,
  expect,
  hugePages,
  intelPageSizes,
  pageSizeInIntelTable,
  test,
} from '../../../harness/testing/index.ts';

const IOVA = 0x1_4000_0000n;
const MIB = 2 ** 20;
const GIB = 2 ** 30;

for (const { kind, size, words, needs } of [
  { kind: '4k', size: 4096, words: 'a small page', needs: [] },
  { kind: 'hugetlb-2m', size: 2 * MIB, words: 'a page of 2 MiB', needs: [hugePages(2048, 1)] },
  { kind: 'hugetlb-1g', size: GIB, words: 'a page of 1 GiB', needs: [hugePages(GIB / 1024, 1)] },
] as const) {
  test(
    `container.page-table.${kind}`,
    `${words} is mapped by entries as large as it is, or as the IOMMU has, and unmapped entirely`,
    {
      covers: [VFIO_IOMMU_MAP_DMA],
      source: [
        'drivers/vfio/vfio_iommu_type1.c vfio_iommu_map()',
        'drivers/iommu/intel/debugfs.c domain_translation_struct_show()',
      ],
      peer: ['S14'],
      needs: [INTEL_IOMMU, INTEL_PAGE_TABLE, ...needs],
    },
    ({ container, memory, pci }) => {
      const ram = memory({ size, kind, populate: kind !== 'hugetlb-1g' });
      const largest = Math.max(...intelPageSizes().filter((one) => one <= size));
      container.mapDma({ iova: IOVA, vaddr: ram.address, size: BigInt(size) });
      expect(pageSizeInIntelTable(pci, IOVA)).toBe(largest);
      expect(pageSizeInIntelTable(pci, IOVA + BigInt(size - largest))).toBe(largest);
      expect(pageSizeInIntelTable(pci, IOVA + BigInt(size))).toBe(null);
      expect(container.unmapDma({ iova: IOVA, size: BigInt(size) })).toBe(BigInt(size));
      expect(pageSizeInIntelTable(pci, IOVA)).toBe(null);
    },
  );
}

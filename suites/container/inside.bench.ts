/**
 * What of mapping and unmapping is the IOMMU's, and what of that the flush of its IOTLB: the kernel's
 * own functions for it, traced while a container maps and unmaps. The reports take these off the
 * figures of container.dma.
 */
import {
  FUNCTION_DURATIONS,
  TRACER,
  VFIO_IOMMU_MAP_DMA,
  VFIO_IOMMU_UNMAP_DMA,
  addMapDma,
  addUnmapDma,
  bench,
  measureInside,
} from '../../harness/testing/index.ts';
import { SPLIT_AREAS, splitOptions } from './split-areas.ts';

/**
 * Functions of the kernel by what they do. iommu_map_nosync() is there since Linux 6.16; those that
 * flush are drivers' own, and end alike (struct iommu_domain_ops).
 */
const PARTS = {
  'iommu-map': 'iommu_map_nosync',
  'map-flush': '*mmu_iotlb_sync_map',
  'iommu-unmap': 'iommu_unmap_fast',
  'unmap-flush': '*mmu_*tlb_sync',
};

/** They tell what a call consists of: no comparison of kernels, for which more would be needed. */
const ROUNDS = 5;

for (const area of SPLIT_AREAS) {
  const { kind, size, name } = area;
  bench(
    `container.inside.${kind}.${name}`,
    `inside of mapping and unmapping ${name} of populated ${kind} memory: the IOMMU's page table, and flushes`,
    {
      ...splitOptions(area),
      covers: [VFIO_IOMMU_MAP_DMA, VFIO_IOMMU_UNMAP_DMA],
      operations: [...Object.keys(PARTS), TRACER],
      needs: [FUNCTION_DURATIONS],
      mostRounds: ROUNDS,
    },
    ({ container, memory }, measure) => {
      const { address: vaddr } = memory({ size, kind });
      const mapping = { iova: 0x1_0000_0000n, size: BigInt(size) };
      measureInside(measure, PARTS, (program) => {
        addMapDma(program, container.fd, { ...mapping, vaddr });
        addUnmapDma(program, container.fd, mapping);
      });
    },
  );
}

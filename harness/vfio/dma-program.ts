import { Ref, type Arg, type Program } from '../shim/index.ts';
import {
  VFIO_DMA_MAP_FLAG_READ,
  VFIO_DMA_MAP_FLAG_WRITE,
  VFIO_IOMMU_MAP_DMA,
  VFIO_IOMMU_UNMAP_DMA,
  vfio_iommu_type1_dma_map,
  vfio_iommu_type1_dma_unmap,
} from '../abi/vfio.ts';
import type { MapDma, UnmapDma } from './container.ts';

/** As {@link MapDma}; the memory may also be what the same program mapped before. */
export interface MapDmaOp extends Omit<MapDma, 'vaddr'> {
  vaddr: bigint | Ref;
}

/** Adds one VFIO_IOMMU_MAP_DMA to a program: for many calls in one run, or in another process. */
export function addMapDma(
  program: Program,
  fd: Arg,
  { iova, vaddr, size, flags, argsz }: MapDmaOp,
): Ref {
  const argument = program.data(
    vfio_iommu_type1_dma_map.encode({
      argsz: argsz ?? vfio_iommu_type1_dma_map.size,
      flags: flags ?? VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
      vaddr: vaddr instanceof Ref ? 0n : vaddr,
      iova,
      size,
    }),
  );
  if (vaddr instanceof Ref) {
    program.store(64, argument.at(vfio_iommu_type1_dma_map.offsetof('vaddr')), vaddr);
  }
  return program.syscall('ioctl', fd, VFIO_IOMMU_MAP_DMA.request, argument);
}

/** An unmap in a program: its result, and after the run the bytes that it reports. */
export interface UnmapDmaOp {
  ref: Ref;
  size(): bigint;
}

/** Adds one VFIO_IOMMU_UNMAP_DMA to a program. */
export function addUnmapDma(
  program: Program,
  fd: Arg,
  { iova, size, flags, argsz }: UnmapDma,
): UnmapDmaOp {
  const argument = program.data(
    vfio_iommu_type1_dma_unmap.encode({
      argsz: argsz ?? vfio_iommu_type1_dma_unmap.size,
      flags: flags ?? 0,
      iova,
      size,
    }),
  );
  const ref = program.syscall('ioctl', fd, VFIO_IOMMU_UNMAP_DMA.request, argument);
  return { ref, size: () => vfio_iommu_type1_dma_unmap.decode(argument.bytes).size };
}

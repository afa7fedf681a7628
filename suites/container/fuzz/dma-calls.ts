import {
  VFIO_DMA_MAP_FLAG_READ,
  VFIO_DMA_MAP_FLAG_WRITE,
  VFIO_IOMMU_MAP_DMA,
  VFIO_IOMMU_UNMAP_DMA,
  vfio_iommu_type1_dma_map,
  vfio_iommu_type1_dma_unmap,
  type Batch,
  type Data,
  type Ref,
} from '../../../harness/testing/index.ts';

export const PAGE = 4096;

const MAP = {
  size: vfio_iommu_type1_dma_map.size,
  flags: vfio_iommu_type1_dma_map.offsetof('flags'),
  vaddr: vfio_iommu_type1_dma_map.offsetof('vaddr'),
  iova: vfio_iommu_type1_dma_map.offsetof('iova'),
  bytes: vfio_iommu_type1_dma_map.offsetof('size'),
};
const UNMAP = {
  size: vfio_iommu_type1_dma_unmap.size,
  flags: vfio_iommu_type1_dma_unmap.offsetof('flags'),
  iova: vfio_iommu_type1_dma_unmap.offsetof('iova'),
  bytes: vfio_iommu_type1_dma_unmap.offsetof('size'),
};

export const RW = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE;

/** Arguments of a map; addresses in bytes. Made by {@link mapCall}: objects of one form are read fastest. */
export interface MapCall {
  iova: number | bigint;
  vaddr: number | bigint;
  size: number | bigint;
  flags: number;
  argsz: number;
}

/** A map for reading and writing, unless told otherwise. */
export function mapCall(iova: number, vaddr: number, size: number, flags = RW): MapCall {
  return { iova, vaddr, size, flags, argsz: MAP.size };
}

/** Adds a VFIO_IOMMU_MAP_DMA. */
export function addMap({ program }: Batch, fd: number, call: MapCall): Ref {
  const data = program.data(MAP.size);
  data.setU32(0, call.argsz);
  data.setU32(MAP.flags, call.flags);
  data.setU64(MAP.vaddr, call.vaddr);
  data.setU64(MAP.iova, call.iova);
  data.setU64(MAP.bytes, call.size);
  return program.syscall('ioctl', fd, VFIO_IOMMU_MAP_DMA.request, data);
}

/** Arguments of an unmap; addresses in bytes. Made by {@link unmapCall}. */
export interface UnmapCall {
  iova: number | bigint;
  size: number | bigint;
  flags: number;
  argsz: number;
}

export function unmapCall(iova: number, size: number | bigint, flags = 0): UnmapCall {
  return { iova, size, flags, argsz: UNMAP.size };
}

/**
 * Adds a VFIO_IOMMU_UNMAP_DMA.
 * @param expected pages that it says it unmapped, or -errno, which leaves the size as it was
 */
export function addUnmap(batch: Batch, fd: number, call: UnmapCall, expected: number): Data {
  const { program } = batch;
  const data = program.data(UNMAP.size);
  data.setU32(0, call.argsz);
  data.setU32(UNMAP.flags, call.flags);
  data.setU64(UNMAP.iova, call.iova);
  data.setU64(UNMAP.bytes, call.size);
  batch.expectResult(
    program.syscall('ioctl', fd, VFIO_IOMMU_UNMAP_DMA.request, data),
    Math.min(0, expected),
  );
  if (expected >= 0) batch.expectU64(data, UNMAP.bytes, expected * PAGE);
  else if (typeof call.size === 'number') batch.expectU64(data, UNMAP.bytes, call.size);
  return data;
}

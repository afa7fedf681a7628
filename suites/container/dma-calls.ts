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
} from '../../harness/testing/index.ts';

export const PAGE = 4096;
const BITS_32 = 0x1_0000_0000;

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

/** Numbers up to 2^53 are written without a detour through bigint, which costs more than the call. */
function putU64(bytes: Buffer, offset: number, value: number | bigint): void {
  if (typeof value === 'bigint') {
    bytes.writeBigUInt64LE(value, offset);
    return;
  }
  bytes.writeUInt32LE(value % BITS_32, offset);
  bytes.writeUInt32LE(Math.floor(value / BITS_32), offset + 4);
}

export const RW = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE;

/** Arguments of a map; addresses in bytes. */
export interface MapCall {
  iova: number | bigint;
  vaddr: number | bigint;
  size: number | bigint;
  flags?: number;
  argsz?: number;
}

/** Adds a VFIO_IOMMU_MAP_DMA. */
export function addMap({ program }: Batch, fd: number, call: MapCall): Ref {
  const data = program.data(MAP.size);
  const { bytes } = data;
  bytes.writeUInt32LE(call.argsz ?? MAP.size, 0);
  bytes.writeUInt32LE(call.flags ?? RW, MAP.flags);
  putU64(bytes, MAP.vaddr, call.vaddr);
  putU64(bytes, MAP.iova, call.iova);
  putU64(bytes, MAP.bytes, call.size);
  return program.syscall('ioctl', fd, VFIO_IOMMU_MAP_DMA.request, data);
}

/** Arguments of an unmap; addresses in bytes. */
export interface UnmapCall {
  iova: number | bigint;
  size: number | bigint;
  flags?: number;
  argsz?: number;
}

/**
 * Adds a VFIO_IOMMU_UNMAP_DMA.
 * @param expected pages that it says it unmapped, or -errno, which leaves the size as it was
 */
export function addUnmap(batch: Batch, fd: number, call: UnmapCall, expected: number): Data {
  const { program } = batch;
  const data = program.data(UNMAP.size);
  const { bytes } = data;
  bytes.writeUInt32LE(call.argsz ?? UNMAP.size, 0);
  bytes.writeUInt32LE(call.flags ?? 0, UNMAP.flags);
  putU64(bytes, UNMAP.iova, call.iova);
  putU64(bytes, UNMAP.bytes, call.size);
  batch.expectResult(
    program.syscall('ioctl', fd, VFIO_IOMMU_UNMAP_DMA.request, data),
    Math.min(0, expected),
  );
  if (expected >= 0) batch.expectU64(data, UNMAP.bytes, expected * PAGE);
  else if (typeof call.size === 'number') batch.expectU64(data, UNMAP.bytes, call.size);
  return data;
}

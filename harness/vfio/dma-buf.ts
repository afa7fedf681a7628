import { O_CLOEXEC, O_RDWR } from '../abi/libc.ts';
import {
  VFIO_DEVICE_FEATURE_DMA_BUF,
  VFIO_DEVICE_FEATURE_GET,
  vfio_device_feature_dma_buf,
} from '../abi/vfio.ts';
import type { Answer } from '../kernel/answer.ts';
import type { Device } from './device.ts';

/** Ranges of a region to export; what is left out gets the value of a correct call. */
export interface DmaBufExport {
  region: number;
  ranges: readonly (readonly [offset: bigint, length: bigint])[];
  openFlags?: number;
  flags?: number;
  count?: number;
  argsz?: number;
}

/** VFIO_DEVICE_FEATURE_GET of a dma-buf; the result is its fd. */
export function tryExportDmaBuf(
  device: Device,
  { region, ranges, openFlags = O_CLOEXEC | O_RDWR, flags = 0, count, argsz }: DmaBufExport,
): Answer<Buffer> {
  const header = vfio_device_feature_dma_buf.encode({
    region_index: region,
    open_flags: openFlags,
    flags,
    nr_ranges: count ?? ranges.length,
  });
  const list = Buffer.alloc(ranges.length * 16);
  ranges.forEach(([offset, length], index) => {
    list.writeBigUInt64LE(offset, index * 16);
    list.writeBigUInt64LE(length, index * 16 + 8);
  });
  const feature = VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_DMA_BUF;
  return device.tryFeature(feature, Buffer.concat([header, list]), argsz);
}

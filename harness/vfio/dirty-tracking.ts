import { Program, type Data, type Ref } from '../shim/index.ts';
import {
  VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP,
  VFIO_IOMMU_DIRTY_PAGES,
  VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP,
  VFIO_IOMMU_UNMAP_DMA,
  vfio_bitmap,
  vfio_iommu_type1_dirty_bitmap,
  vfio_iommu_type1_dirty_bitmap_get,
  vfio_iommu_type1_dma_unmap,
} from '../abi/vfio.ts';
import { Answer } from './answer.ts';
import type { Container } from './container.ts';
import { ioctl } from './ioctl.ts';

/** Bytes behind the bitmap that the kernel must leave alone, and what they hold before. */
const GUARD_SIZE = 64;
const GUARD = 0xa5;

/** A request for a dirty bitmap; what is left out gets the value of a correct call. */
export interface BitmapRequest {
  iova: bigint;
  size: bigint;
  /** Bytes that one bit stands for. Default: 4096. */
  pgsize?: bigint;
  /** Bytes that the bitmap is said to have. Default: what `size` needs, in whole u64. */
  bitmapSize?: bigint;
  /** Address of the bitmap. Default: zeroed memory of the right size. */
  data?: bigint;
  /** Content of the bitmap before the call. Default: zeros. */
  initial?: Buffer;
  argsz?: number;
}

/** What the kernel left in the bitmap's memory. */
export interface DirtyBitmap {
  bitmap: Buffer;
  /** Whether the bytes behind the bitmap are as before. */
  intact: boolean;
}

/** VFIO_IOMMU_DIRTY_PAGES without further data: start, stop, and wrong calls. */
export function tryDirtyPages(container: Container, flags: number, argsz?: number): Answer {
  const size = vfio_iommu_type1_dirty_bitmap.size;
  const argument = vfio_iommu_type1_dirty_bitmap.encode({ argsz: argsz ?? size, flags }, 64);
  return ioctl(container.fd, VFIO_IOMMU_DIRTY_PAGES, argument);
}

function bitmapBytes({ size, pgsize = 4096n }: BitmapRequest): number {
  return Math.min(8 * Math.ceil(Number(size / pgsize) / 64), 1 << 20);
}

/** The bitmap's memory in a program, and how to read it afterwards. */
function addBitmap(program: Program, request: BitmapRequest): { area: Data; read(): DirtyBitmap } {
  const bytes = bitmapBytes(request);
  const area = program.data(Buffer.alloc(bytes + GUARD_SIZE, GUARD));
  area.bytes.fill(0, 0, bytes);
  request.initial?.copy(area.bytes, 0, 0, bytes);
  return {
    area,
    read: () => ({
      bitmap: Buffer.from(area.bytes.subarray(0, bytes)),
      intact: area.bytes.subarray(bytes).every((byte) => byte === GUARD),
    }),
  };
}

function bitmapValues(request: BitmapRequest) {
  return {
    pgsize: request.pgsize ?? 4096n,
    size: request.bitmapSize ?? BigInt(bitmapBytes(request)),
    data: request.data ?? 0n,
  };
}

/** Fills in the bitmap's address, unless the request has one of its own. */
function addAddress(
  program: Program,
  request: BitmapRequest,
  at: ReturnType<Data['at']>,
  area: Data,
): void {
  if (request.data === undefined) program.store(64, at, area);
}

/** VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP; the value is what is in the bitmap afterwards. */
export function tryGetDirtyBitmap(
  container: Container,
  request: BitmapRequest,
): Answer<DirtyBitmap> {
  const header = vfio_iommu_type1_dirty_bitmap.size;
  const length = header + vfio_iommu_type1_dirty_bitmap_get.size;
  const program = new Program();
  const argument = program.data(
    Buffer.concat([
      vfio_iommu_type1_dirty_bitmap.encode({
        argsz: request.argsz ?? length,
        flags: VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP,
      }),
      vfio_iommu_type1_dirty_bitmap_get.encode({
        iova: request.iova,
        size: request.size,
        bitmap: bitmapValues(request),
      }),
    ]),
  );
  const { area, read } = addBitmap(program, request);
  const at = argument.at(
    header + vfio_iommu_type1_dirty_bitmap_get.offsetof('bitmap') + vfio_bitmap.offsetof('data'),
  );
  addAddress(program, request, at, area);
  const ref: Ref = program.syscall('ioctl', container.fd, VFIO_IOMMU_DIRTY_PAGES.request, argument);
  program.run();
  return new Answer('VFIO_IOMMU_DIRTY_PAGES', program.result(ref), read());
}

/** An unmap with VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP; `unmapped` is the size it reports. */
export function tryUnmapWithBitmap(
  container: Container,
  request: BitmapRequest,
): Answer<DirtyBitmap & { unmapped: bigint }> {
  const header = vfio_iommu_type1_dma_unmap.tailOffset;
  const program = new Program();
  const argument = program.data(
    Buffer.concat([
      vfio_iommu_type1_dma_unmap.encode({
        argsz: request.argsz ?? header + vfio_bitmap.size,
        flags: VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP,
        iova: request.iova,
        size: request.size,
      }),
      vfio_bitmap.encode(bitmapValues(request)),
    ]),
  );
  const { area, read } = addBitmap(program, request);
  addAddress(program, request, argument.at(header + vfio_bitmap.offsetof('data')), area);
  const ref: Ref = program.syscall('ioctl', container.fd, VFIO_IOMMU_UNMAP_DMA.request, argument);
  program.run();
  const unmapped = vfio_iommu_type1_dma_unmap.decode(argument.bytes).size;
  return new Answer('VFIO_IOMMU_UNMAP_DMA', program.result(ref), { ...read(), unmapped });
}

/** Numbers of the bits that are set, ascending. */
export function setBits(bitmap: Buffer): number[] {
  const bits: number[] = [];
  bitmap.forEach((byte, index) => {
    for (let bit = 0; bit < 8; bit++) if ((byte >> bit) & 1) bits.push(index * 8 + bit);
  });
  return bits;
}

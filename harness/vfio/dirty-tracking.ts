import { Program, type Arg, type Data, type Ref } from '../shim/index.ts';
import {
  VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP,
  VFIO_IOMMU_DIRTY_PAGES,
  VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP,
  VFIO_IOMMU_DIRTY_PAGES_FLAG_START,
  VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP,
  VFIO_IOMMU_UNMAP_DMA,
  vfio_bitmap,
  vfio_iommu_type1_dirty_bitmap,
  vfio_iommu_type1_dirty_bitmap_get,
  vfio_iommu_type1_dma_unmap,
} from '../abi/vfio.ts';
import type { Answer } from '../kernel/answer.ts';
import type { Container } from './container.ts';
import { answerTo, ioctl, type IoctlName } from './ioctl.ts';

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

/** Adds one VFIO_IOMMU_DIRTY_PAGES that starts or stops to a program. */
export function addDirtyPages(program: Program, fd: Arg, flags: number): Ref {
  const argument = program.data(vfio_iommu_type1_dirty_bitmap.encode({ flags }));
  return program.syscall('ioctl', fd, VFIO_IOMMU_DIRTY_PAGES.request, argument);
}

/** @throws KernelError if the container does not track dirty pages from now on */
export function startDirtyTracking(container: Container): void {
  tryDirtyPages(container, VFIO_IOMMU_DIRTY_PAGES_FLAG_START).must();
}

/** @throws KernelError if the container goes on tracking dirty pages */
export function stopDirtyTracking(container: Container): void {
  tryDirtyPages(container, VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP).must();
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

/** A call with a bitmap in a program: its result, and after the run what is in the bitmap. */
export interface BitmapOp {
  ref: Ref;
  argument: Data;
  read(): DirtyBitmap;
}

/** @param at where the bitmap's address belongs in the argument, unless the request has one of its own */
function addBitmapCall(
  program: Program,
  fd: Arg,
  { name, argument, at }: { name: IoctlName; argument: Data; at: number },
  request: BitmapRequest,
): BitmapOp {
  const { area, read } = addBitmap(program, request);
  if (request.data === undefined) program.store(64, argument.at(at), area);
  return { ref: program.syscall('ioctl', fd, name.request, argument), argument, read };
}

/** Adds one VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP to a program. */
export function addGetDirtyBitmap(program: Program, fd: Arg, request: BitmapRequest): BitmapOp {
  const header = vfio_iommu_type1_dirty_bitmap.size;
  const argument = program.data(
    Buffer.concat([
      vfio_iommu_type1_dirty_bitmap.encode({
        argsz: request.argsz ?? header + vfio_iommu_type1_dirty_bitmap_get.size,
        flags: VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP,
      }),
      vfio_iommu_type1_dirty_bitmap_get.encode({
        iova: request.iova,
        size: request.size,
        bitmap: bitmapValues(request),
      }),
    ]),
  );
  const at =
    header + vfio_iommu_type1_dirty_bitmap_get.offsetof('bitmap') + vfio_bitmap.offsetof('data');
  return addBitmapCall(program, fd, { name: VFIO_IOMMU_DIRTY_PAGES, argument, at }, request);
}

/** Adds one unmap with VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP to a program. */
function addUnmapWithBitmap(program: Program, fd: Arg, request: BitmapRequest): BitmapOp {
  const header = vfio_iommu_type1_dma_unmap.tailOffset;
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
  const at = header + vfio_bitmap.offsetof('data');
  return addBitmapCall(program, fd, { name: VFIO_IOMMU_UNMAP_DMA, argument, at }, request);
}

/** VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP; the value is what is in the bitmap afterwards. */
export function tryGetDirtyBitmap({ fd }: Container, request: BitmapRequest): Answer<DirtyBitmap> {
  const program = new Program();
  const { ref, read } = addGetDirtyBitmap(program, fd, request);
  return answerTo(VFIO_IOMMU_DIRTY_PAGES, program.run().result(ref)).with(read());
}

/** An unmap with VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP; `unmapped` is the size it reports. */
export function tryUnmapWithBitmap(
  { fd }: Container,
  request: BitmapRequest,
): Answer<DirtyBitmap & { unmapped: bigint }> {
  const program = new Program();
  const { ref, argument, read } = addUnmapWithBitmap(program, fd, request);
  const result = program.run().result(ref);
  const unmapped = vfio_iommu_type1_dma_unmap.decode(argument.bytes).size;
  return answerTo(VFIO_IOMMU_UNMAP_DMA, result).with({ ...read(), unmapped });
}

/** Numbers of the bits that are set, ascending. */
export function setBits(bitmap: Buffer): number[] {
  const bits: number[] = [];
  bitmap.forEach((byte, index) => {
    for (let bit = 0; bit < 8; bit++) if ((byte >> bit) & 1) bits.push(index * 8 + bit);
  });
  return bits;
}

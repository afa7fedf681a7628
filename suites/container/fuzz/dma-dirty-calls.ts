import {
  ERRNO,
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
  type Batch,
  type Data,
  type Ref,
} from '../../../harness/testing/index.ts';
import { PAGE } from './dma-calls.ts';
import type { DmaModel, Range } from './dma-model.ts';
import type { DmaRun, DmaStage } from './dma-stage.ts';

/** Bytes of a bitmap with room for every range that the fuzzer asks for. */
const BITMAP_SIZE = 64;

const DIRTY = {
  size: vfio_iommu_type1_dirty_bitmap.size,
  flags: vfio_iommu_type1_dirty_bitmap.offsetof('flags'),
  iova: vfio_iommu_type1_dirty_bitmap.size + vfio_iommu_type1_dirty_bitmap_get.offsetof('iova'),
  bytes: vfio_iommu_type1_dirty_bitmap.size + vfio_iommu_type1_dirty_bitmap_get.offsetof('size'),
  bitmap: vfio_iommu_type1_dirty_bitmap.size + vfio_iommu_type1_dirty_bitmap_get.offsetof('bitmap'),
  all: vfio_iommu_type1_dirty_bitmap.size + vfio_iommu_type1_dirty_bitmap_get.size,
};
const UNMAP = {
  flags: vfio_iommu_type1_dma_unmap.offsetof('flags'),
  iova: vfio_iommu_type1_dma_unmap.offsetof('iova'),
  bytes: vfio_iommu_type1_dma_unmap.offsetof('size'),
  bitmap: vfio_iommu_type1_dma_unmap.tailOffset,
  all: vfio_iommu_type1_dma_unmap.tailOffset + vfio_bitmap.size,
};

/** Adds a bitmap, and the description of it at an offset of the argument. */
function addBitmap({ program }: Batch, argument: Data, offset: number): Data {
  const bitmap = program.data(BITMAP_SIZE);
  argument.setU64(offset + vfio_bitmap.offsetof('pgsize'), PAGE);
  argument.setU64(offset + vfio_bitmap.offsetof('size'), BITMAP_SIZE);
  program.store(64, argument.at(offset + vfio_bitmap.offsetof('data')), bitmap);
  return bitmap;
}

/** Starts or stops dirty tracking; both may be done twice. v1 containers have none: EACCES. */
export function addDirtyFlag(batch: Batch, model: DmaModel, stage: DmaStage, stop: boolean): void {
  const { program } = batch;
  const flags = stop ? VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP : VFIO_IOMMU_DIRTY_PAGES_FLAG_START;
  const argument = program.data(DIRTY.size);
  argument.setU32(0, DIRTY.size);
  argument.setU32(DIRTY.flags, flags);
  const { fd } = stage.container;
  const ref = program.syscall('ioctl', fd, VFIO_IOMMU_DIRTY_PAGES.request, argument);
  batch.expectResult(ref, model.isV2 ? 0 : -ERRNO.EACCES);
  model.isTracking = model.isV2 && !stop;
}

/**
 * Every page of a device that cannot tell is dirty as long as it is mapped (update_user_bitmap()).
 * Nothing is said about bits of other pages: see docs/findings.md.
 */
function checkBits({ batch, model }: DmaRun, { at, pages }: Range, bitmap: Data): void {
  const mapped: number[] = [];
  for (const one of model.within({ at, pages })) {
    for (let page = 0; page < one.pages; page++) mapped.push(one.at + page - at);
  }
  if (mapped.length === 0) return;
  batch.check(() => {
    const { bytes } = bitmap;
    const clean = mapped.find((bit) => !((bytes[bit >> 3]! >> (bit & 7)) & 1));
    if (clean === undefined) return null;
    return { what: `dirty bit ${clean} of the range`, expected: 'set', observed: 'clear' };
  });
}

/** Adds a call that fills a bitmap; its bits are checked if the model has an answer. */
function addBitmapCall(
  run: DmaRun,
  range: Range,
  { request }: { request: number },
  layout: typeof UNMAP,
  flags: number,
): { ref: Ref; argument: Data; isAnswered: boolean } {
  const { batch, model, stage } = run;
  const { program } = batch;
  const argument = program.data(layout.all);
  argument.setU32(0, layout.all);
  argument.setU32(layout.flags, flags);
  argument.setU64(layout.iova, stage.iova(range.at));
  argument.setU64(layout.bytes, range.pages * PAGE);
  const bitmap = addBitmap(batch, argument, layout.bitmap);
  const ref = program.syscall('ioctl', stage.container.fd, request, argument);
  const isAnswered = model.isTracking && model.isWhole(range);
  if (isAnswered) checkBits(run, range, bitmap);
  return { ref, argument, isAnswered };
}

/** VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP. */
export function addDirtyBitmap(run: DmaRun, range: Range): void {
  const flags = VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP;
  const { ref, isAnswered } = addBitmapCall(run, range, VFIO_IOMMU_DIRTY_PAGES, DIRTY, flags);
  const refusal = run.model.isV2 ? -ERRNO.EINVAL : -ERRNO.EACCES;
  run.batch.expectResult(ref, isAnswered ? 0 : refusal);
}

/** An unmap with VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP. */
export function addUnmapTellingDirty(run: DmaRun, range: Range): void {
  const { batch, model } = run;
  const flags = VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP;
  const { ref, argument } = addBitmapCall(run, range, VFIO_IOMMU_UNMAP_DMA, UNMAP, flags);
  const unmapped = model.isTracking ? model.unmap(range) : -ERRNO.EINVAL;
  batch.expectResult(ref, Math.min(0, unmapped));
  if (unmapped >= 0) batch.expectU64(argument, UNMAP.bytes, unmapped * PAGE);
}

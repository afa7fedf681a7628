import {
  ERRNO,
  VFIO_IOMMU_DIRTY_PAGES,
  VFIO_IOMMU_DIRTY_PAGES_FLAG_START,
  VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP,
  addGetDirtyBitmap,
  addUnmapWithBitmap,
  vfio_iommu_type1_dirty_bitmap,
  vfio_iommu_type1_dma_unmap,
  type Batch,
  type BitmapOp,
  type BitmapRequest,
} from '../../harness/testing/index.ts';
import { PAGE } from './dma-calls.ts';
import type { DmaModel, Range } from './dma-model.ts';
import type { DmaRun, DmaStage } from './dma-stage.ts';

/** Bytes that each bitmap is said to have: enough for every range that the fuzzer asks for. */
const BITMAP_SIZE = 64n;

/** Starts or stops dirty tracking; both may be done twice. v1 containers have none: EACCES. */
export function addDirtyFlag(batch: Batch, model: DmaModel, stage: DmaStage, stop: boolean): void {
  const { program } = batch;
  const flags = stop ? VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP : VFIO_IOMMU_DIRTY_PAGES_FLAG_START;
  const argument = program.data(vfio_iommu_type1_dirty_bitmap.encode({ flags }));
  const { fd } = stage.container;
  const ref = program.syscall('ioctl', fd, VFIO_IOMMU_DIRTY_PAGES.request, argument);
  batch.expectResult(ref, model.isV2 ? 0 : -ERRNO.EACCES);
  model.isTracking = model.isV2 && !stop;
}

/**
 * Every page of a device that cannot tell is dirty as long as it is mapped (update_user_bitmap()).
 * Nothing is said about bits of other pages: see docs/findings.md.
 */
function checkBits({ batch, model }: DmaRun, { at, pages }: Range, { read }: BitmapOp): void {
  const mapped = model
    .within({ at, pages })
    .flatMap((one) => Array.from({ length: one.pages }, (_, page) => one.at + page - at));
  batch.check(() => {
    const { bitmap } = read();
    const clean = mapped.find((bit) => !((bitmap[bit >> 3]! >> (bit & 7)) & 1));
    if (clean === undefined) return null;
    return { what: `dirty bit ${clean} of the range`, expected: 'set', observed: 'clear' };
  });
}

function bitmapRequest({ stage }: DmaRun, { at, pages }: Range): BitmapRequest {
  const size = BigInt(pages * PAGE);
  return { iova: BigInt(stage.iova(at)), size, bitmapSize: BITMAP_SIZE };
}

/** VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP. */
export function addDirtyBitmap(run: DmaRun, range: Range): void {
  const { batch, model, stage } = run;
  const call = addGetDirtyBitmap(batch.program, stage.container.fd, bitmapRequest(run, range));
  const isAnswered = model.isTracking && model.isWhole(range);
  batch.expectResult(call.ref, !model.isV2 ? -ERRNO.EACCES : isAnswered ? 0 : -ERRNO.EINVAL);
  if (isAnswered) checkBits(run, range, call);
}

/** An unmap with VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP. */
export function addUnmapTellingDirty(run: DmaRun, range: Range): void {
  const { batch, model, stage } = run;
  const call = addUnmapWithBitmap(batch.program, stage.container.fd, bitmapRequest(run, range));
  if (model.isTracking && model.isWhole(range)) checkBits(run, range, call);
  const unmapped = model.isTracking ? model.unmap(range) : -ERRNO.EINVAL;
  batch.expectResult(call.ref, Math.min(0, unmapped));
  const size = vfio_iommu_type1_dma_unmap.offsetof('size');
  if (unmapped >= 0) batch.expectU64(call.argument, size, unmapped * PAGE);
}

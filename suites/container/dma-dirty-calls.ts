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
} from '../../harness/testing/index.ts';
import { PAGE } from './dma-calls.ts';
import type { DmaModel, Range } from './dma-model.ts';
import type { DmaRun, DmaStage } from './dma-stage.ts';

/** Bytes of a bitmap with room for every range that the fuzzer asks for. */
const BITMAP_SIZE = 64;

const BITMAP = { pgsize: BigInt(PAGE), size: BigInt(BITMAP_SIZE), data: 0n };

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
function checkBits({ batch, model }: DmaRun, { at, pages }: Range, bitmap: Data): void {
  const mapped = model
    .within({ at, pages })
    .flatMap((one) => Array.from({ length: one.pages }, (_, page) => one.at + page - at));
  batch.check(() => {
    const clean = mapped.find((bit) => !((bitmap.bytes[bit >> 3]! >> (bit & 7)) & 1));
    if (clean === undefined) return null;
    return { what: `dirty bit ${clean} of the range`, expected: 'set', observed: 'clear' };
  });
}

/** VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP. */
export function addDirtyBitmap(run: DmaRun, range: Range): void {
  const { batch, model, stage } = run;
  const { program } = batch;
  const header = vfio_iommu_type1_dirty_bitmap.size;
  const argument = program.data(
    Buffer.concat([
      vfio_iommu_type1_dirty_bitmap.encode({
        argsz: header + vfio_iommu_type1_dirty_bitmap_get.size,
        flags: VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP,
      }),
      vfio_iommu_type1_dirty_bitmap_get.encode({
        iova: BigInt(stage.iova(range.at)),
        size: BigInt(range.pages * PAGE),
        bitmap: BITMAP,
      }),
    ]),
  );
  const bitmap = program.data(BITMAP_SIZE);
  const at =
    header + vfio_iommu_type1_dirty_bitmap_get.offsetof('bitmap') + vfio_bitmap.offsetof('data');
  program.store(64, argument.at(at), bitmap);
  const { fd } = stage.container;
  const ref = program.syscall('ioctl', fd, VFIO_IOMMU_DIRTY_PAGES.request, argument);
  const isAnswered = model.isTracking && model.isWhole(range);
  batch.expectResult(ref, !model.isV2 ? -ERRNO.EACCES : isAnswered ? 0 : -ERRNO.EINVAL);
  if (isAnswered) checkBits(run, range, bitmap);
}

/** An unmap with VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP. */
export function addUnmapWithBitmap(run: DmaRun, range: Range): void {
  const { batch, model, stage } = run;
  const { program } = batch;
  const header = vfio_iommu_type1_dma_unmap.tailOffset;
  const argument = program.data(
    Buffer.concat([
      vfio_iommu_type1_dma_unmap.encode({
        argsz: header + vfio_bitmap.size,
        flags: VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP,
        iova: BigInt(stage.iova(range.at)),
        size: BigInt(range.pages * PAGE),
      }),
      vfio_bitmap.encode(BITMAP),
    ]),
  );
  const bitmap = program.data(BITMAP_SIZE);
  program.store(64, argument.at(header + vfio_bitmap.offsetof('data')), bitmap);
  const { fd } = stage.container;
  const ref = program.syscall('ioctl', fd, VFIO_IOMMU_UNMAP_DMA.request, argument);
  if (model.isTracking && model.isWhole(range)) checkBits(run, range, bitmap);
  const unmapped = model.isTracking ? model.unmap(range) : -ERRNO.EINVAL;
  batch.expectResult(ref, Math.min(0, unmapped));
  const size = vfio_iommu_type1_dma_unmap.offsetof('size');
  if (unmapped >= 0) batch.expectU64(argument, size, unmapped * PAGE);
}

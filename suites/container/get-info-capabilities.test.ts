import {
  VFIO_IOMMU_GET_INFO,
  VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE,
  VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION,
  VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL,
  expect,
  kernelAtLeast,
  litterFreedMemory,
  test,
  vfio_iommu_type1_info_cap_iova_range,
  vfio_iommu_type1_info_cap_migration,
  vfio_iommu_type1_info_dma_avail,
  type Container,
  type InfoCapability,
} from '../../harness/testing/index.ts';
import { INFO_SIZE, filled } from './get-info-calls.ts';

const GET_INFO = 'drivers/vfio/vfio_iommu_type1.c vfio_iommu_type1_get_info()';
function capability(container: Container, id: number): InfoCapability {
  const found = container.getInfo().capabilities.filter((cap) => cap.id === id);
  expect(found).toHaveLength(1);
  return found[0]!;
}

test(
  'container.get-info.chain',
  'the capability chain holds each capability once, in bounds, in order and without a cycle',
  { covers: [VFIO_IOMMU_GET_INFO], source: GET_INFO, peer: ['L7'] },
  ({ container }) => {
    const { capabilities, cap_offset, argsz } = container.getInfo();
    expect(cap_offset).toBe(INFO_SIZE);
    expect(capabilities.map(({ id }) => id).sort()).toEqual([
      VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE,
      VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION,
      VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL,
    ]);
    expect(capabilities.map(({ version }) => version)).toEqual([1, 1, 1]);
    const offsets = capabilities.map(({ offset }) => offset);
    expect(offsets).toEqual([...offsets].sort((a, b) => a - b));
    expect(capabilities.at(-1)!.next).toBe(0);
    if (kernelAtLeast('6.6')) expect(offsets.every((offset) => offset % 8 === 0)).toBe(true);
    // Nothing but capabilities: each begins where the one before ends.
    const sizes: Record<number, number> = {
      [VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE]: 16 + 16 * container.iovaRanges().length,
      [VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION]: vfio_iommu_type1_info_cap_migration.size,
      [VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL]: vfio_iommu_type1_info_dma_avail.size,
    };
    const align = kernelAtLeast('6.6') ? 8 : 4;
    let end = INFO_SIZE;
    for (const { id, offset } of capabilities) {
      expect(offset).toBe(end);
      end += Math.ceil(sizes[id]! / align) * align;
    }
    expect(argsz).toBe(end);
  },
);

test(
  'container.get-info.migration',
  'the migration capability offers the smallest page size and bitmaps for 2^31 pages',
  {
    covers: [VFIO_IOMMU_GET_INFO.capability('VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION')],
    source: 'drivers/vfio/vfio_iommu_type1.c vfio_iommu_migration_build_caps()',
  },
  ({ container }) => {
    const { bytes } = capability(container, VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION);
    const migration = vfio_iommu_type1_info_cap_migration.decode(bytes);
    const { iova_pgsizes } = container.getInfo();
    expect(migration.flags).toBe(0);
    expect(migration.pgsize_bitmap).toBe(iova_pgsizes & -iova_pgsizes);
    expect(migration.max_dirty_bitmap_size).toBe(256n * 1024n * 1024n);
  },
);

test(
  'container.get-info.no-leak',
  'no byte of the capabilities holds what the kernel had there before',
  {
    covers: [VFIO_IOMMU_GET_INFO],
    source: [GET_INFO, 'drivers/vfio/vfio_main.c vfio_info_cap_add()'],
    fixes: ['information leak in VFIO_IOMMU_GET_INFO capabilities'],
  },
  ({ container }) => {
    const padding: Record<number, [from: number, to: number][]> = {
      [VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE]: [[12, 16]],
      [VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION]: [[12, 16]],
      [VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL]: kernelAtLeast('6.6') ? [[12, 16]] : [],
    };
    const { capabilities, argsz } = container.getInfo();
    litterFreedMemory();
    for (let round = 0; round < 20; round++) {
      const info = filled(container, argsz);
      for (const { id, offset } of capabilities) {
        for (const [from, to] of padding[id]!) {
          const bytes = info.subarray(offset + from, offset + to);
          expect(bytes.toString('hex')).toBe('00'.repeat(to - from));
        }
      }
    }
  },
);

test(
  'container.get-info.iova-range-size',
  'the IOVA range capability is as long as its number of ranges says',
  {
    covers: [VFIO_IOMMU_GET_INFO.capability('VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE')],
    source: 'drivers/vfio/vfio_iommu_type1.c vfio_iommu_iova_build_caps()',
  },
  ({ container }) => {
    const { bytes, next } = capability(container, VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE);
    const { nr_iovas, reserved } = vfio_iommu_type1_info_cap_iova_range.decode(bytes);
    expect(nr_iovas).toBeGreaterThan(0);
    expect(reserved).toBe(0);
    expect(next).toBe(0);
    expect(bytes.length).toBe(vfio_iommu_type1_info_cap_iova_range.tailOffset + 16 * nr_iovas);
  },
);

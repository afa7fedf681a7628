import { describe, expect, it } from 'vitest';
import {
  VFIO_DEVICE_FLAGS_PCI,
  VFIO_GROUP_FLAGS_CONTAINER_SET,
  VFIO_GROUP_FLAGS_VIABLE,
  VFIO_IOMMU_INFO_CAPS,
  VFIO_IOMMU_INFO_PGSIZES,
  VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE,
  VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION,
  VFIO_IRQ_INFO_EVENTFD,
  VFIO_REGION_INFO_CAP_MSIX_MAPPABLE,
  VFIO_REGION_INFO_CAP_TYPE,
  VFIO_REGION_INFO_FLAG_CAPS,
  VFIO_REGION_INFO_FLAG_READ,
  vfio_device_info,
  vfio_group_status,
  vfio_info_cap_header,
  vfio_iommu_type1_dma_unmap,
  vfio_iommu_type1_info,
  vfio_iommu_type1_info_cap_iova_range,
  vfio_iommu_type1_info_cap_migration,
  vfio_iova_range,
  vfio_irq_info,
  vfio_region_info,
} from '../abi/vfio.ts';
import { answerRule } from './answer-rules.ts';
import { ImpossibleAnswer } from './impossible-answer.ts';

/** Whether an answer passes the rule of its ioctl; asked with the same argsz unless told otherwise. */
function isPossible(name: string, answered: Buffer, asked: Buffer = answered): boolean {
  try {
    answerRule(name)!(asked, answered);
    return true;
  } catch (error) {
    if (error instanceof ImpossibleAnswer) return false;
    throw error;
  }
}

describe('the rules of answers', () => {
  it('leave alone what nothing is known of', () => {
    expect(answerRule('VFIO_IOMMU_MAP_DMA')).toBeUndefined();
  });

  it('let argsz grow in whole words only', () => {
    const asked = vfio_region_info.encode();
    const answered = (argsz: number) => vfio_region_info.encode({ argsz });
    const possible = (argsz: number) =>
      isPossible('VFIO_DEVICE_GET_REGION_INFO', answered(argsz), asked);
    expect([32, 48, 49, 28].map(possible)).toEqual([true, true, false, false]);
  });

  it('want a group in a container to be viable', () => {
    const status = (flags: number) =>
      isPossible('VFIO_GROUP_GET_STATUS', vfio_group_status.encode({ flags }));
    expect(status(VFIO_GROUP_FLAGS_CONTAINER_SET)).toBe(false);
    expect(status(VFIO_GROUP_FLAGS_CONTAINER_SET | VFIO_GROUP_FLAGS_VIABLE)).toBe(true);
    expect(status(0)).toBe(true);
  });

  it('want the standard regions and interrupts of a PCI device', () => {
    const info = (num_regions: number, num_irqs: number) =>
      isPossible(
        'VFIO_DEVICE_GET_INFO',
        vfio_device_info.encode({ flags: VFIO_DEVICE_FLAGS_PCI, num_regions, num_irqs }),
      );
    expect([8, 9, 10].map((regions) => info(regions, 5))).toEqual([false, true, true]);
    expect(info(9, 4)).toBe(false);
  });

  it('want what has a size to be readable, and interrupts to have eventfds', () => {
    const region = (flags: number) =>
      isPossible('VFIO_DEVICE_GET_REGION_INFO', vfio_region_info.encode({ flags, size: 4096n }));
    expect([0, VFIO_REGION_INFO_FLAG_READ].map(region)).toEqual([false, true]);
    const irq = (flags: number) =>
      isPossible('VFIO_DEVICE_GET_IRQ_INFO', vfio_irq_info.encode({ flags, count: 1 }));
    expect([0, VFIO_IRQ_INFO_EVENTFD].map(irq)).toEqual([false, true]);
  });

  it('want room for the capability that a region names', () => {
    const region = (id: number) =>
      isPossible(
        'VFIO_DEVICE_GET_REGION_INFO',
        Buffer.concat([
          vfio_region_info.encode({
            flags: VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_CAPS,
            cap_offset: vfio_region_info.size,
            size: 4096n,
          }),
          vfio_info_cap_header.encode({ id, version: 1, next: 0 }),
        ]),
      );
    expect(region(VFIO_REGION_INFO_CAP_MSIX_MAPPABLE)).toBe(true);
    expect(region(VFIO_REGION_INFO_CAP_TYPE)).toBe(false);
  });

  it('want whole pages to be unmapped', () => {
    const unmapped = (size: bigint) =>
      isPossible('VFIO_IOMMU_UNMAP_DMA', vfio_iommu_type1_dma_unmap.encode({ size }));
    expect([0n, 8192n, 4097n].map(unmapped)).toEqual([true, true, false]);
  });
});

describe('the rule of VFIO_IOMMU_GET_INFO', () => {
  interface Facts {
    sizes?: bigint;
    dirtySizes?: bigint;
    maxBitmap?: bigint;
    ranges?: { start: bigint; end: bigint }[];
    second?: number;
  }

  /** An answer with two capabilities, as a sound kernel gives it unless `facts` say otherwise. */
  function answer({
    sizes = 0x201000n,
    dirtySizes = 0x1000n,
    maxBitmap = 1n << 28n,
    ranges = [
      { start: 0n, end: 0xfedfffffn },
      { start: 0xfef00000n, end: 0xffffffffn },
    ],
    second = VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE,
  }: Facts): boolean {
    const fixed = vfio_iommu_type1_info.size;
    const migration = vfio_iommu_type1_info_cap_migration;
    const argsz =
      fixed + migration.size + vfio_iommu_type1_info_cap_iova_range.tailOffset + ranges.length * 16;
    const bytes = Buffer.concat([
      vfio_iommu_type1_info.encode({
        argsz,
        flags: VFIO_IOMMU_INFO_PGSIZES | VFIO_IOMMU_INFO_CAPS,
        iova_pgsizes: sizes,
        cap_offset: fixed,
      }),
      migration.encode({
        header: {
          id: VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION,
          version: 1,
          next: fixed + migration.size,
        },
        pgsize_bitmap: dirtySizes,
        max_dirty_bitmap_size: maxBitmap,
      }),
      vfio_iommu_type1_info_cap_iova_range.encode({
        header: { id: second, version: 1, next: 0 },
        nr_iovas: ranges.length,
      }),
      ...ranges.map((range) => vfio_iova_range.encode(range)),
    ]);
    return isPossible('VFIO_IOMMU_GET_INFO', bytes);
  }

  it('passes what a sound kernel answers', () => {
    expect(answer({})).toBe(true);
  });

  it.each<[string, Facts]>([
    ['parts of pages', { sizes: 0x201001n }],
    ['no page size', { sizes: 0n }],
    ['a capability twice', { second: VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION }],
    ['tracking of pages that cannot be mapped', { dirtySizes: 0x2000n }],
    ['a bitmap of no whole words', { maxBitmap: (1n << 28n) + 1n }],
    ['a range that ends before it starts', { ranges: [{ start: 4096n, end: 4095n }] }],
    [
      'ranges that overlap',
      {
        ranges: [
          { start: 0n, end: 0x1fffn },
          { start: 0x1000n, end: 0x2fffn },
        ],
      },
    ],
  ])('notices %s', (_what, facts) => {
    expect(answer(facts)).toBe(false);
  });
});

/**
 * What `<linux/vfio.h>` promises of every successful answer, whatever a test asks for. A kernel may add
 * flags and capabilities that these headers do not know: nothing is said about those.
 */
import type { Ioctl } from '../abi/ioctl.ts';
import {
  VFIO_DEVICE_FLAGS_PCI,
  VFIO_DEVICE_GET_REGION_INFO,
  VFIO_GROUP_FLAGS_CONTAINER_SET,
  VFIO_GROUP_FLAGS_VIABLE,
  VFIO_IOMMU_GET_INFO,
  VFIO_IOMMU_INFO_CAPS,
  VFIO_IOMMU_INFO_PGSIZES,
  VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE,
  VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION,
  VFIO_IRQ_INFO_EVENTFD,
  VFIO_PCI_NUM_IRQS,
  VFIO_PCI_NUM_REGIONS,
  VFIO_REGION_INFO_FLAG_CAPS,
  VFIO_REGION_INFO_FLAG_READ,
  vfio_device_info,
  vfio_group_status,
  vfio_iommu_type1_dma_unmap,
  vfio_iommu_type1_info,
  vfio_iommu_type1_info_cap_iova_range,
  vfio_iommu_type1_info_cap_migration,
  vfio_iova_range,
  vfio_irq_info,
  vfio_region_info,
} from '../abi/vfio.ts';
import { walkCapabilities, type InfoCapability } from './capability-chain.ts';
import { ImpossibleAnswer } from './impossible-answer.ts';

/** Looks at the argument before and after a call that succeeded. @throws ImpossibleAnswer */
type Rule = (asked: Buffer, answered: Buffer) => void;

/** Of all architectures that have VFIO. */
const SMALLEST_PAGE = 4096n;

const RULES: Readonly<Record<string, Rule>> = {
  VFIO_GROUP_GET_STATUS: (_asked, answered) => {
    const { flags } = vfio_group_status.decode(answered);
    const isSet = (flags & VFIO_GROUP_FLAGS_CONTAINER_SET) !== 0;
    must(
      !isSet || (flags & VFIO_GROUP_FLAGS_VIABLE) !== 0,
      'flags of VFIO_GROUP_GET_STATUS',
      'a group in a container to be viable',
      flags,
    );
  },
  VFIO_DEVICE_GET_INFO: (asked, answered) => {
    checkArgsz('VFIO_DEVICE_GET_INFO', asked, answered);
    const { flags, num_regions, num_irqs } = vfio_device_info.decode(answered);
    must(
      !(flags & VFIO_DEVICE_FLAGS_PCI) ||
        (num_regions >= VFIO_PCI_NUM_REGIONS && num_irqs >= VFIO_PCI_NUM_IRQS),
      'regions and interrupts of a PCI device',
      `at least ${VFIO_PCI_NUM_REGIONS} and ${VFIO_PCI_NUM_IRQS}`,
      { num_regions, num_irqs },
    );
  },
  VFIO_DEVICE_GET_REGION_INFO: (asked, answered) => {
    checkArgsz('VFIO_DEVICE_GET_REGION_INFO', asked, answered);
    const { flags, size, cap_offset } = vfio_region_info.decode(answered);
    must(
      size === 0n || (flags & VFIO_REGION_INFO_FLAG_READ) !== 0,
      'flags of a region that has a size',
      'VFIO_REGION_INFO_FLAG_READ',
      flags,
    );
    if (flags & VFIO_REGION_INFO_FLAG_CAPS) {
      capabilitiesIn(VFIO_DEVICE_GET_REGION_INFO, answered, cap_offset);
    }
  },
  VFIO_DEVICE_GET_IRQ_INFO: (asked, answered) => {
    checkArgsz('VFIO_DEVICE_GET_IRQ_INFO', asked, answered);
    const { flags, count } = vfio_irq_info.decode(answered);
    must(
      count === 0 || (flags & VFIO_IRQ_INFO_EVENTFD) !== 0,
      'flags of an interrupt index with interrupts',
      'VFIO_IRQ_INFO_EVENTFD',
      flags,
    );
  },
  VFIO_IOMMU_UNMAP_DMA: (_asked, answered) => {
    const { size } = vfio_iommu_type1_dma_unmap.decode(answered);
    must(size % SMALLEST_PAGE === 0n, 'the size unmapped', 'whole pages', size);
  },
  VFIO_IOMMU_GET_INFO: (asked, answered) => {
    checkArgsz('VFIO_IOMMU_GET_INFO', asked, answered);
    checkIommuInfo(answered, vfio_iommu_type1_info.decode(asked).argsz);
  },
};

/** What holds of every answer to the ioctl of this name, if anything does. */
export function answerRule(name: string): Rule | undefined {
  return RULES[name];
}

/** It stays as it was, or becomes what a chain of capabilities needs, which are made of 32-bit words. */
function checkArgsz(name: string, asked: Buffer, answered: Buffer): void {
  const [before, after] = [asked.readUInt32LE(0), answered.readUInt32LE(0)];
  must(
    after === before || (after > before && after % 4 === 0),
    `argsz of ${name}`,
    `${before}, or more in whole words`,
    after,
  );
}

/** The chain that begins at `first`; each capability has room for what the header says of its id. */
function capabilitiesIn(asked: Ioctl, answered: Buffer, first: number): InfoCapability[] {
  const chain = walkCapabilities(answered, first, asked.struct!.size);
  for (const { id, bytes } of chain) {
    const least = asked.capabilityStructs[id]?.size ?? 0;
    must(
      bytes.length >= least,
      `capability ${id} of ${asked.name}`,
      `${least} bytes`,
      bytes.length,
    );
  }
  return chain;
}

function checkIommuInfo(answered: Buffer, room: number): void {
  const { flags, iova_pgsizes: sizes, cap_offset } = vfio_iommu_type1_info.decode(answered);
  must(
    (flags & VFIO_IOMMU_INFO_PGSIZES) !== 0 && sizes !== 0n && sizes % SMALLEST_PAGE === 0n,
    'iova_pgsizes',
    'sizes of whole pages, and their flag',
    { flags, sizes },
  );
  const isWhole = room >= vfio_iommu_type1_info.size;
  if (!isWhole || !(flags & VFIO_IOMMU_INFO_CAPS) || cap_offset === 0) return;
  const chain = capabilitiesIn(VFIO_IOMMU_GET_INFO, answered, cap_offset);
  must(
    new Set(chain.map(({ id }) => id)).size === chain.length,
    'capabilities of the IOMMU',
    'each id once',
    chain.map(({ id }) => id),
  );
  for (const capability of chain) {
    if (capability.id === VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION) checkMigration(capability, sizes);
    if (capability.id === VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE) checkRanges(capability);
  }
}

function checkMigration({ bytes }: InfoCapability, sizes: bigint): void {
  const { pgsize_bitmap, max_dirty_bitmap_size } =
    vfio_iommu_type1_info_cap_migration.decode(bytes);
  must(
    pgsize_bitmap !== 0n && (pgsize_bitmap & ~sizes) === 0n,
    'page sizes of dirty tracking',
    `some of 0x${sizes.toString(16)}`,
    pgsize_bitmap,
  );
  must(
    max_dirty_bitmap_size > 0n && max_dirty_bitmap_size % 8n === 0n,
    'max_dirty_bitmap_size',
    'whole 64-bit words',
    max_dirty_bitmap_size,
  );
}

function checkRanges({ bytes }: InfoCapability): void {
  const layout = vfio_iommu_type1_info_cap_iova_range;
  const { nr_iovas } = layout.decode(bytes);
  const fits = layout.tailOffset + nr_iovas * vfio_iova_range.size <= bytes.length;
  must(nr_iovas > 0 && fits, 'nr_iovas', 'as many as there are', nr_iovas);
  let end = -1n;
  for (let index = 0; index < nr_iovas; index++) {
    const range = vfio_iova_range.decode(bytes, layout.tailOffset + index * vfio_iova_range.size);
    must(
      range.start > end && range.start <= range.end,
      'IOVA ranges',
      'order and no overlap',
      range,
    );
    end = range.end;
  }
}

function must(holds: boolean, what: string, expected: string, observed: unknown): void {
  if (holds) return;
  const hex = (_key: string, value: unknown) =>
    typeof value === 'bigint' ? `0x${value.toString(16)}` : value;
  throw new ImpossibleAnswer(what, expected, JSON.stringify(observed, hex));
}

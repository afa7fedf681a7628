import { existsSync, readFileSync, readdirSync } from 'node:fs';
import {
  VFIO_CHECK_EXTENSION,
  VFIO_DMA_CC_IOMMU,
  VFIO_EEH,
  VFIO_SPAPR_TCE_IOMMU,
  VFIO_SPAPR_TCE_v2_IOMMU,
  VFIO_TYPE1_IOMMU,
  VFIO_TYPE1v2_IOMMU,
  VFIO_UNMAP_ALL,
  VFIO_UPDATE_VADDR,
  __VFIO_RESERVED_TYPE1_NESTING_IOMMU,
  expect,
  ioctl,
  kernelAtLeast,
  moduleUsers,
  test,
  type Container,
} from '../../harness/testing/index.ts';

const CONTAINER = 'drivers/vfio/container.c vfio_container_ioctl_check_extension()';
const TYPE1 = 'drivers/vfio/vfio_iommu_type1.c vfio_iommu_type1_check_extension()';

/** Numbers that are no extension, around and far from those which are. */
const NO_EXTENSIONS = [0, 11, 12, 64, 0xffff, 0x7fffffff, 0xffffffff];

/** Answers to the extensions of type1 that do not depend on the IOMMU. */
function expectType1(container: Container): void {
  expect(container.checkExtension(VFIO_TYPE1_IOMMU)).toBe(1);
  expect(container.checkExtension(VFIO_TYPE1v2_IOMMU)).toBe(1);
  expect(container.checkExtension(VFIO_UNMAP_ALL)).toBe(1);
}

/** Whether the Intel IOMMUs can block no-snoop accesses (ECAP.SC); null if there is no such IOMMU. */
function snoopControl(): boolean | null {
  const classDir = '/sys/class/iommu';
  const units = existsSync(classDir)
    ? readdirSync(classDir).filter((name) => name.startsWith('dmar'))
    : [];
  if (units.length === 0) return null;
  return units.every((unit) => {
    const ecap = readFileSync(`${classDir}/${unit}/intel-iommu/ecap`, 'utf8').trim();
    return (BigInt(`0x${ecap}`) >> 7n) & 1n;
  });
}

test(
  'container.check-extension.type1',
  'a container without groups offers both type1 interfaces',
  { covers: [VFIO_CHECK_EXTENSION.value('VFIO_TYPE1_IOMMU')], source: CONTAINER, peer: ['L3'] },
  ({ emptyContainer }) => {
    expectType1(emptyContainer());
  },
);

test(
  'container.check-extension.type1-with-group',
  'a container offers the same type1 interfaces with a group and with an IOMMU',
  {
    covers: [
      VFIO_CHECK_EXTENSION.value('VFIO_TYPE1_IOMMU'),
      VFIO_CHECK_EXTENSION.value('VFIO_TYPE1v2_IOMMU'),
      VFIO_CHECK_EXTENSION.value('VFIO_UNMAP_ALL'),
    ],
    source: [CONTAINER, TYPE1],
  },
  ({ emptyContainer, openGroup }) => {
    const container = emptyContainer();
    openGroup().setContainer(container);
    expectType1(container);
    container.setIommu(VFIO_TYPE1_IOMMU);
    expectType1(container);
  },
);

test(
  'container.check-extension.update-vaddr',
  'VFIO_UPDATE_VADDR is offered once the IOMMU is set and no mediated device is there',
  { covers: [VFIO_CHECK_EXTENSION.value('VFIO_UPDATE_VADDR')], source: TYPE1 },
  ({ emptyContainer, openGroup }) => {
    const container = emptyContainer();
    expect(container.checkExtension(VFIO_UPDATE_VADDR)).toBe(0);
    openGroup().setContainer(container);
    expect(container.checkExtension(VFIO_UPDATE_VADDR)).toBe(0);
    container.setIommu(VFIO_TYPE1v2_IOMMU);
    expect(container.checkExtension(VFIO_UPDATE_VADDR)).toBe(1);
  },
);

test(
  'container.check-extension.dma-cc-without-iommu',
  'VFIO_DMA_CC_IOMMU is a property of the groups: without an IOMMU the answer is no',
  { covers: [VFIO_CHECK_EXTENSION.value('VFIO_DMA_CC_IOMMU')], source: TYPE1 },
  ({ emptyContainer, openGroup }) => {
    const container = emptyContainer();
    expect(container.checkExtension(VFIO_DMA_CC_IOMMU)).toBe(0);
    openGroup().setContainer(container);
    expect(container.checkExtension(VFIO_DMA_CC_IOMMU)).toBe(0);
  },
);

test(
  'container.check-extension.dma-cc',
  'VFIO_DMA_CC_IOMMU tells whether the IOMMU enforces cache coherency',
  {
    covers: [VFIO_CHECK_EXTENSION.value('VFIO_DMA_CC_IOMMU')],
    source: 'drivers/vfio/vfio_iommu_type1.c vfio_domains_have_enforce_cache_coherency()',
  },
  ({ container }) => {
    const answer = container.checkExtension(VFIO_DMA_CC_IOMMU);
    const enforced = snoopControl();
    if (enforced === null) expect([0, 1]).toContain(answer);
    else expect(answer).toBe(enforced ? 1 : 0);
  },
);

test(
  'container.check-extension.nesting',
  'nesting was offered up to Linux 6.12 and is not any more',
  {
    covers: [VFIO_CHECK_EXTENSION.value('__VFIO_RESERVED_TYPE1_NESTING_IOMMU')],
    source: 'include/uapi/linux/vfio.h __VFIO_RESERVED_TYPE1_NESTING_IOMMU',
  },
  ({ emptyContainer }) => {
    const offered = emptyContainer().checkExtension(__VFIO_RESERVED_TYPE1_NESTING_IOMMU);
    expect(offered).toBe(kernelAtLeast('6.13') ? 0 : 1);
  },
);

test(
  'container.check-extension.foreign',
  'extensions of other IOMMU models are not offered where type1 is the model',
  {
    covers: [
      VFIO_CHECK_EXTENSION.value('VFIO_SPAPR_TCE_IOMMU'),
      VFIO_CHECK_EXTENSION.value('VFIO_SPAPR_TCE_v2_IOMMU'),
      VFIO_CHECK_EXTENSION.value('VFIO_EEH'),
    ],
    source: [CONTAINER, TYPE1],
  },
  ({ emptyContainer, openGroup }) => {
    const container = emptyContainer();
    const foreign = [VFIO_SPAPR_TCE_IOMMU, VFIO_SPAPR_TCE_v2_IOMMU, VFIO_EEH];
    for (const extension of foreign) expect(container.checkExtension(extension)).toBe(0);
    openGroup().setContainer(container);
    for (const extension of foreign) expect(container.checkExtension(extension)).toBe(0);
    container.setIommu(VFIO_TYPE1v2_IOMMU);
    for (const extension of foreign) expect(container.checkExtension(extension)).toBe(0);
  },
);

test(
  'container.check-extension.unknown',
  'an unknown extension is answered with 0, not with an error',
  { covers: [VFIO_CHECK_EXTENSION], source: [CONTAINER, TYPE1] },
  ({ emptyContainer, openGroup }) => {
    const container = emptyContainer();
    for (const extension of NO_EXTENSIONS) expect(container.checkExtension(extension)).toBe(0);
    openGroup().setContainer(container);
    container.setIommu(VFIO_TYPE1v2_IOMMU);
    for (const extension of NO_EXTENSIONS) expect(container.checkExtension(extension)).toBe(0);
  },
);

test(
  'container.check-extension.whole-argument',
  'the number of an extension is all 64 bits of the argument',
  { covers: [VFIO_CHECK_EXTENSION], source: [CONTAINER, TYPE1] },
  ({ container, emptyContainer }) => {
    const high = 0x1_0000_0000n + BigInt(VFIO_TYPE1v2_IOMMU);
    expect(ioctl(container.fd, VFIO_CHECK_EXTENSION, high)).toSucceed(0);
    expect(ioctl(emptyContainer().fd, VFIO_CHECK_EXTENSION, high)).toSucceed(0);
  },
);

test(
  'container.check-extension.module-reference',
  'asking an IOMMU driver for an extension keeps no reference on its module',
  { covers: [VFIO_CHECK_EXTENSION], source: CONTAINER },
  ({ emptyContainer }) => {
    const container = emptyContainer();
    const before = moduleUsers('vfio_iommu_type1');
    for (let extension = 0; extension < 12; extension++) container.checkExtension(extension);
    expect(moduleUsers('vfio_iommu_type1')).toBe(before);
  },
);

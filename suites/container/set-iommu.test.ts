import {
  OWN_MACHINE,
  VFIO_CHECK_EXTENSION,
  VFIO_DMA_CC_IOMMU,
  VFIO_EEH,
  VFIO_IOMMU_DIRTY_PAGES_FLAG_START,
  VFIO_IOMMU_GET_INFO,
  VFIO_NOIOMMU_IOMMU,
  VFIO_SET_IOMMU,
  VFIO_SPAPR_TCE_IOMMU,
  VFIO_SPAPR_TCE_v2_IOMMU,
  VFIO_TYPE1_IOMMU,
  VFIO_TYPE1v2_IOMMU,
  VFIO_UNMAP_ALL,
  VFIO_UPDATE_VADDR,
  __VFIO_RESERVED_TYPE1_NESTING_IOMMU,
  eventually,
  expect,
  ioctl,
  isUnloadable,
  kernelAtLeast,
  loadModule,
  moduleUsers,
  test,
  tryDirtyPages,
  unloadModule,
  vfio_iommu_type1_info,
  type Container,
  type Requirement,
  type TestContext,
} from '../../harness/testing/index.ts';

const SET_IOMMU = 'drivers/vfio/container.c vfio_ioctl_set_iommu()';
const TYPE1_OPEN = 'drivers/vfio/vfio_iommu_type1.c vfio_iommu_type1_open()';
const INFO_SIZE = vfio_iommu_type1_info.size;

const TYPE1 = 'vfio_iommu_type1';

const UNLOADABLE_TYPE1: Requirement = {
  name: 'type1 as a module',
  missing: () => (isUnloadable(TYPE1) ? null : 'type1 is built in and cannot be unloaded'),
};

/** A container with the test's group and no IOMMU yet. */
function withGroup({ emptyContainer, openGroup }: TestContext): Container {
  const container = emptyContainer();
  openGroup().setContainer(container);
  return container;
}

test(
  'container.set-iommu.no-group',
  'a container without groups takes no IOMMU',
  { covers: [VFIO_SET_IOMMU.fails('EINVAL')], source: SET_IOMMU },
  ({ emptyContainer }) => {
    const container = emptyContainer();
    for (const type of [VFIO_TYPE1_IOMMU, VFIO_TYPE1v2_IOMMU, 0, VFIO_SPAPR_TCE_IOMMU]) {
      expect(container.trySetIommu(type)).toFailWith('EINVAL');
    }
  },
);

test(
  'container.set-iommu.twice',
  'the IOMMU of a container is set once, whatever the type the second time',
  { covers: [VFIO_SET_IOMMU.fails('EINVAL')], source: SET_IOMMU },
  ({ container }) => {
    for (const type of [VFIO_TYPE1v2_IOMMU, VFIO_TYPE1_IOMMU, VFIO_SPAPR_TCE_IOMMU, 0]) {
      expect(container.trySetIommu(type)).toFailWith('EINVAL');
    }
    expect(container.tryGetInfo(INFO_SIZE)).toSucceed(0);
  },
);

test(
  'container.set-iommu.type1',
  'TYPE1 can be set, once',
  {
    covers: [VFIO_SET_IOMMU.value('VFIO_TYPE1_IOMMU'), VFIO_SET_IOMMU.fails('EINVAL')],
    source: [SET_IOMMU, TYPE1_OPEN],
  },
  (context) => {
    const container = withGroup(context);
    expect(container.trySetIommu(VFIO_TYPE1_IOMMU)).toSucceed(0);
    expect(container.trySetIommu(VFIO_TYPE1v2_IOMMU)).toFailWith('EINVAL');
  },
);

test(
  'container.set-iommu.type1v2',
  'TYPE1v2 can be set, and the IOMMU is there at once',
  { covers: [VFIO_SET_IOMMU.value('VFIO_TYPE1v2_IOMMU')], source: [SET_IOMMU, TYPE1_OPEN] },
  (context) => {
    const container = withGroup(context);
    expect(container.tryGetInfo(INFO_SIZE)).toFailWith('EINVAL');
    expect(container.trySetIommu(VFIO_TYPE1v2_IOMMU)).toSucceed(0);
    expect(container.tryGetInfo(INFO_SIZE)).toSucceed(0);
  },
);

test(
  'container.set-iommu.unsupported',
  'a model that no driver offers is refused, and the right one can be set afterwards',
  {
    covers: [VFIO_SET_IOMMU.fails('ENODEV'), VFIO_SET_IOMMU.value('VFIO_SPAPR_TCE_IOMMU')],
    source: SET_IOMMU,
    peer: ['A1'],
  },
  (context) => {
    const container = withGroup(context);
    const models = [0, VFIO_SPAPR_TCE_IOMMU, VFIO_SPAPR_TCE_v2_IOMMU, VFIO_NOIOMMU_IOMMU, 0x1000];
    for (const type of models) expect(container.trySetIommu(type)).toFailWith('ENODEV');
    expect(container.tryGetInfo(INFO_SIZE)).toFailWith('EINVAL');
    expect(container.trySetIommu(VFIO_TYPE1v2_IOMMU)).toSucceed(0);
  },
);

test(
  'container.set-iommu.high-bits',
  'the number of a model is all 64 bits of the argument',
  { covers: [VFIO_SET_IOMMU.fails('ENODEV')], source: SET_IOMMU },
  (context) => {
    const container = withGroup(context);
    const high = 0x1_0000_0000n + BigInt(VFIO_TYPE1v2_IOMMU);
    expect(ioctl(container.fd, VFIO_SET_IOMMU, high)).toFailWith('ENODEV');
  },
);

test(
  'container.set-iommu.extension-is-no-model',
  'an extension that is no IOMMU model cannot be set, though it is supported',
  {
    covers: [VFIO_SET_IOMMU.fails('EINVAL'), VFIO_SET_IOMMU.fails('ENODEV')],
    source: [SET_IOMMU, TYPE1_OPEN],
  },
  (context) => {
    const container = withGroup(context);
    // Offered without an IOMMU: type1 is asked to open it, and refuses.
    expect(container.trySetIommu(VFIO_UNMAP_ALL)).toFailWith('EINVAL');
    // Not offered without an IOMMU: no driver is asked.
    for (const extension of [VFIO_DMA_CC_IOMMU, VFIO_UPDATE_VADDR, VFIO_EEH]) {
      expect(container.trySetIommu(extension)).toFailWith('ENODEV');
    }
    expect(container.tryGetInfo(INFO_SIZE)).toFailWith('EINVAL');
    expect(container.trySetIommu(VFIO_TYPE1_IOMMU)).toSucceed(0);
  },
);

test(
  'container.set-iommu.nesting',
  'the nesting model exists up to Linux 6.12 only',
  { covers: [VFIO_SET_IOMMU.value('__VFIO_RESERVED_TYPE1_NESTING_IOMMU')], source: TYPE1_OPEN },
  (context) => {
    const container = withGroup(context);
    const answer = container.trySetIommu(__VFIO_RESERVED_TYPE1_NESTING_IOMMU);
    if (kernelAtLeast('6.13')) {
      expect(answer).toFailWith('ENODEV');
      expect(container.trySetIommu(VFIO_TYPE1v2_IOMMU)).toSucceed(0);
    } else if (answer.ok) {
      expect(container.trySetIommu(VFIO_TYPE1v2_IOMMU)).toFailWith('EINVAL');
    } else {
      // The IOMMU decides whether its domains can be nested.
      expect(container.trySetIommu(VFIO_TYPE1v2_IOMMU)).toSucceed(0);
    }
  },
);

test(
  'container.set-iommu.module-reference',
  'a container holds one reference on the IOMMU driver while an IOMMU is set, none after a refusal',
  {
    covers: [VFIO_SET_IOMMU],
    source: [SET_IOMMU, 'drivers/vfio/container.c vfio_group_detach_container()'],
  },
  (context) => {
    const container = withGroup(context);
    const before = moduleUsers(TYPE1);
    for (const type of [VFIO_UNMAP_ALL, VFIO_SPAPR_TCE_IOMMU, 0]) container.trySetIommu(type);
    expect(moduleUsers(TYPE1)).toBe(before);
    container.setIommu(VFIO_TYPE1v2_IOMMU);
    if (before !== null) expect(moduleUsers(TYPE1)).toBe(before + 1);
    container.trySetIommu(VFIO_TYPE1v2_IOMMU);
    if (before !== null) expect(moduleUsers(TYPE1)).toBe(before + 1);
    context.openGroup().unsetContainer();
    expect(moduleUsers(TYPE1)).toBe(before);
  },
);

test(
  'container.set-iommu.module-unloaded',
  'without the type1 module a container has no IOMMU to offer, and with it again it has',
  {
    covers: [
      VFIO_CHECK_EXTENSION.value('VFIO_TYPE1_IOMMU'),
      VFIO_CHECK_EXTENSION.value('VFIO_TYPE1v2_IOMMU'),
      VFIO_SET_IOMMU.fails('ENODEV'),
    ],
    source: ['drivers/vfio/container.c vfio_unregister_iommu_driver()', SET_IOMMU],
    needs: [OWN_MACHINE, UNLOADABLE_TYPE1],
  },
  ({ openGroup, emptyContainer, pci, defer }) => {
    defer(() => loadModule(TYPE1));
    const [group, container] = [openGroup(), emptyContainer()];
    const offered = () =>
      [VFIO_TYPE1_IOMMU, VFIO_TYPE1v2_IOMMU].map((type) => container.checkExtension(type));
    for (let round = 0; round < 3; round++) {
      expect(eventually(() => moduleUsers(TYPE1) === 0)).toBe(true);
      unloadModule(TYPE1);
      expect(offered()).toEqual([0, 0]);
      group.setContainer(container);
      expect(offered()).toEqual([0, 0]);
      expect(container.trySetIommu(VFIO_TYPE1v2_IOMMU)).toFailWith('ENODEV');
      expect(group.tryGetDevice(pci.bdf)).toFailWith('EINVAL');
      loadModule(TYPE1);
      expect(offered()).toEqual([1, 1]);
      container.setIommu(VFIO_TYPE1v2_IOMMU);
      expect(() => unloadModule(TYPE1)).toThrow(/in use/);
      group.unsetContainer();
    }
  },
);

test(
  'container.set-iommu.again-after-last-group',
  'when the last group has left, a container has no IOMMU and may get another one',
  {
    covers: [VFIO_SET_IOMMU, VFIO_IOMMU_GET_INFO.fails('EINVAL')],
    source: 'drivers/vfio/container.c vfio_group_detach_container()',
  },
  ({ container, openGroup }) => {
    const group = openGroup();
    group.unsetContainer();
    expect(container.tryGetInfo(INFO_SIZE)).toFailWith('EINVAL');
    expect(container.trySetIommu(VFIO_TYPE1v2_IOMMU)).toFailWith('EINVAL');
    group.setContainer(container);
    expect(container.tryGetInfo(INFO_SIZE)).toFailWith('EINVAL');
    expect(container.trySetIommu(VFIO_TYPE1_IOMMU)).toSucceed(0);
    expect(container.tryGetInfo(INFO_SIZE)).toSucceed(0);
    // It is the new model that answers, in both directions: v1 has no dirty tracking.
    const start = VFIO_IOMMU_DIRTY_PAGES_FLAG_START;
    expect(tryDirtyPages(container, start)).toFailWith('EACCES');
    group.unsetContainer();
    group.setContainer(container);
    container.setIommu(VFIO_TYPE1v2_IOMMU);
    expect(tryDirtyPages(container, start)).toSucceed(0);
  },
);

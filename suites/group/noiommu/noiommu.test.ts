import {
  NOIOMMU,
  VFIO_CHECK_EXTENSION,
  VFIO_GROUP_FLAGS_VIABLE,
  VFIO_NOIOMMU_IOMMU,
  VFIO_SET_IOMMU,
  VFIO_TYPE1v2_IOMMU,
  OWN_MACHINE,
  allowNoIommu,
  expect,
  moduleParameter,
  test,
} from '../../../harness/testing/index.ts';

test(
  'group.noiommu.refused',
  'a group behind an IOMMU is not driven without it',
  {
    covers: [VFIO_SET_IOMMU.fails('ENODEV'), VFIO_CHECK_EXTENSION.value('VFIO_NOIOMMU_IOMMU')],
    source: 'drivers/vfio/container.c vfio_iommu_driver_allowed()',
    peer: ['A1'],
  },
  ({ openGroup, emptyContainer }) => {
    const container = emptyContainer();
    const group = openGroup();
    group.setContainer(container);
    expect(container.checkExtension(VFIO_NOIOMMU_IOMMU)).toBe(0);
    expect(container.trySetIommu(VFIO_NOIOMMU_IOMMU)).toFailWith('ENODEV');
    expect(container.trySetIommu(0)).toFailWith('ENODEV');
    container.setIommu(VFIO_TYPE1v2_IOMMU);
    expect(container.checkExtension(VFIO_NOIOMMU_IOMMU)).toBe(0);
  },
);

test(
  'group.noiommu.default',
  'no-IOMMU mode is off, and then the extension is not offered',
  {
    covers: [VFIO_CHECK_EXTENSION.value('VFIO_NOIOMMU_IOMMU')],
    source: 'drivers/vfio/container.c vfio_noiommu_ioctl()',
    needs: [NOIOMMU],
  },
  ({ emptyContainer }) => {
    expect(moduleParameter('vfio', 'enable_unsafe_noiommu_mode')).toBe('N');
    expect(emptyContainer().checkExtension(VFIO_NOIOMMU_IOMMU)).toBe(0);
  },
);

test(
  'group.noiommu.enabled',
  'no-IOMMU mode offers the extension, and still not to a group that has an IOMMU',
  {
    covers: [VFIO_CHECK_EXTENSION.value('VFIO_NOIOMMU_IOMMU'), VFIO_SET_IOMMU.fails('ENODEV')],
    source: 'drivers/vfio/container.c vfio_noiommu_ioctl()',
    needs: [NOIOMMU, OWN_MACHINE],
  },
  ({ openGroup, emptyContainer, defer }) => {
    allowNoIommu({ defer });
    const container = emptyContainer();
    expect(container.checkExtension(VFIO_NOIOMMU_IOMMU)).toBe(1);
    expect(container.checkExtension(VFIO_TYPE1v2_IOMMU)).toBe(1);
    const group = openGroup();
    expect(group.status()).toBe(VFIO_GROUP_FLAGS_VIABLE);
    group.setContainer(container);
    expect(container.checkExtension(VFIO_NOIOMMU_IOMMU)).toBe(0);
    expect(container.trySetIommu(VFIO_NOIOMMU_IOMMU)).toFailWith('ENODEV');
    container.setIommu(VFIO_TYPE1v2_IOMMU);
  },
);

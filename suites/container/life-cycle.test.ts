import {
  VFIO_API_VERSION,
  VFIO_CHECK_EXTENSION,
  VFIO_GET_API_VERSION,
  VFIO_IOMMU_GET_INFO,
  VFIO_IOMMU_MAP_DMA,
  VFIO_SET_IOMMU,
  VFIO_TYPE1_IOMMU,
  VFIO_TYPE1v2_IOMMU,
  expect,
  test,
} from '../../harness/testing/index.ts';

test(
  'container.api-version',
  'a container speaks version 0 of the API',
  {
    covers: [VFIO_GET_API_VERSION],
    source: 'include/uapi/linux/vfio.h VFIO_API_VERSION',
    peer: ['L1'],
  },
  ({ emptyContainer }) => {
    expect(emptyContainer().apiVersion()).toBe(VFIO_API_VERSION);
  },
);

test(
  'container.check-extension.type1',
  'a container without groups offers both type1 interfaces',
  {
    covers: [VFIO_CHECK_EXTENSION],
    source: 'drivers/vfio/container.c vfio_container_ioctl_check_extension()',
    peer: ['L3'],
  },
  ({ emptyContainer }) => {
    const container = emptyContainer();
    expect(container.checkExtension(VFIO_TYPE1_IOMMU)).toBe(1);
    expect(container.checkExtension(VFIO_TYPE1v2_IOMMU)).toBe(1);
  },
);

test(
  'container.set-iommu.no-group',
  'a container without groups takes no IOMMU',
  {
    covers: [VFIO_SET_IOMMU.fails('EINVAL')],
    source: 'drivers/vfio/container.c vfio_ioctl_set_iommu()',
  },
  ({ emptyContainer }) => {
    expect(emptyContainer().trySetIommu(VFIO_TYPE1v2_IOMMU)).toFailWith('EINVAL');
  },
);

test(
  'container.set-iommu.twice',
  'the IOMMU of a container is set once',
  {
    covers: [VFIO_SET_IOMMU.fails('EINVAL')],
    source: 'drivers/vfio/container.c vfio_ioctl_set_iommu()',
  },
  ({ container }) => {
    expect(container.trySetIommu(VFIO_TYPE1v2_IOMMU)).toFailWith('EINVAL');
  },
);

test(
  'container.no-iommu.map-dma',
  'before SET_IOMMU there is nothing to map into',
  {
    covers: [VFIO_IOMMU_MAP_DMA.fails('EINVAL'), VFIO_IOMMU_GET_INFO.fails('EINVAL')],
    source: 'drivers/vfio/container.c vfio_fops_unl_ioctl()',
  },
  ({ emptyContainer, openGroup, memory }) => {
    const container = emptyContainer();
    openGroup().setContainer(container);
    const pages = memory({ size: 4096, kind: '4k' });
    expect(
      container.tryMapDma({ iova: 0n, vaddr: pages.address, size: 4096n }),
    ).toFailWith('EINVAL');
    expect(container.tryGetInfo(24)).toFailWith('EINVAL');
  },
);

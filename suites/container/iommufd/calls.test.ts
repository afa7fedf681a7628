import {
  VFIO_API_VERSION,
  VFIO_CHECK_EXTENSION,
  VFIO_DMA_CC_IOMMU,
  VFIO_EEH,
  VFIO_GET_API_VERSION,
  VFIO_GROUP_SET_CONTAINER,
  VFIO_IOMMU_DIRTY_PAGES,
  VFIO_SET_IOMMU,
  VFIO_SPAPR_TCE_IOMMU,
  VFIO_SPAPR_TCE_v2_IOMMU,
  VFIO_TYPE1_IOMMU,
  VFIO_TYPE1v2_IOMMU,
  VFIO_UNMAP_ALL,
  VFIO_UPDATE_VADDR,
  __VFIO_RESERVED_TYPE1_NESTING_IOMMU,
  expect,
  ioctl,
  test,
  vfio_iommu_type1_dirty_bitmap,
} from '../../../harness/testing/index.ts';
import { AS_CONTAINER, asContainer, emptyIommufd, intoType1 } from './as-container.ts';

const COMPAT = 'drivers/iommu/iommufd/vfio_compat.c';
const SET_IOMMU = `${COMPAT} iommufd_vfio_set_iommu()`;

/** What iommufd has none of: sPAPR, EEH, nested translation, changes of vaddr, and numbers without meaning. */
const NOT_OFFERED = [
  VFIO_SPAPR_TCE_IOMMU,
  VFIO_SPAPR_TCE_v2_IOMMU,
  VFIO_EEH,
  __VFIO_RESERVED_TYPE1_NESTING_IOMMU,
  VFIO_UPDATE_VADDR,
  0,
  11,
  1000,
];

test(
  'container.iommufd.api-version',
  'an iommufd says the version of the API as a container does',
  {
    covers: [VFIO_GET_API_VERSION],
    source: `${COMPAT} iommufd_vfio_ioctl()`,
    ...AS_CONTAINER,
  },
  (context) => {
    expect(emptyIommufd(context).container.apiVersion()).toBe(VFIO_API_VERSION);
    expect(asContainer(context).container.apiVersion()).toBe(VFIO_API_VERSION);
  },
);

test(
  'container.iommufd.extensions',
  'an iommufd offers both types and UNMAP_ALL, with a group and without, and nothing else of type1',
  {
    covers: [
      VFIO_CHECK_EXTENSION.value('VFIO_TYPE1_IOMMU'),
      VFIO_CHECK_EXTENSION.value('VFIO_TYPE1v2_IOMMU'),
      VFIO_CHECK_EXTENSION.value('VFIO_UNMAP_ALL'),
      VFIO_CHECK_EXTENSION.value('VFIO_UPDATE_VADDR'),
    ],
    source: `${COMPAT} iommufd_vfio_check_extension()`,
    ...AS_CONTAINER,
  },
  (context) => {
    for (const { container } of [emptyIommufd(context), asContainer(context)]) {
      for (const extension of [VFIO_TYPE1_IOMMU, VFIO_TYPE1v2_IOMMU, VFIO_UNMAP_ALL])
        expect(container.checkExtension(extension), String(extension)).toBe(1);
      for (const extension of NOT_OFFERED)
        expect(container.checkExtension(extension), String(extension)).toBe(0);
    }
  },
);

test(
  'container.iommufd.cache-coherency',
  'whether DMA is coherent with caches is said of the same device as in a container',
  {
    covers: [VFIO_CHECK_EXTENSION.value('VFIO_DMA_CC_IOMMU')],
    source: `${COMPAT} iommufd_vfio_cc_iommu()`,
    ...AS_CONTAINER,
  },
  (context) => {
    const inside = asContainer(context);
    const coherent = inside.container.checkExtension(VFIO_DMA_CC_IOMMU);
    expect(intoType1(context, inside).checkExtension(VFIO_DMA_CC_IOMMU)).toBe(coherent);
  },
);

test(
  'container.iommufd.set-iommu',
  'the type is chosen once there is a group, and may be chosen again',
  {
    covers: [VFIO_SET_IOMMU.fails('ENODEV'), VFIO_SET_IOMMU.fails('EINVAL')],
    source: SET_IOMMU,
    ...AS_CONTAINER,
  },
  (context) => {
    const { io, container } = emptyIommufd(context);
    expect(container.trySetIommu(VFIO_TYPE1_IOMMU)).toFailWith('ENODEV');
    expect(container.trySetIommu(VFIO_TYPE1v2_IOMMU)).toFailWith('ENODEV');
    expect(context.openGroup().trySetContainer(io.fd)).toSucceed(0);
    for (const type of NOT_OFFERED) expect(container.trySetIommu(type)).toFailWith('EINVAL');
    expect(container.trySetIommu(VFIO_TYPE1v2_IOMMU)).toSucceed(0);
    expect(container.trySetIommu(VFIO_TYPE1v2_IOMMU)).toSucceed(0);
    expect(container.trySetIommu(VFIO_TYPE1_IOMMU)).toSucceed(0);
  },
);

test(
  'container.iommufd.type1-comes-first',
  'TYPE1, which splits mappings, is refused once the IOMMU holds mappings that may be huge',
  {
    covers: [VFIO_SET_IOMMU.fails('EINVAL')],
    source: [SET_IOMMU, 'drivers/iommu/iommufd/io_pagetable.c iopt_disable_large_pages()'],
    ...AS_CONTAINER,
  },
  (context) => {
    const { container } = asContainer(context);
    const ram = context.memory({ size: 4096, kind: '4k' });
    container.mapDma({ iova: 0n, vaddr: ram.address, size: 4096n });
    expect(container.trySetIommu(VFIO_TYPE1_IOMMU)).toFailWith('EINVAL');
    expect(container.trySetIommu(VFIO_TYPE1v2_IOMMU)).toSucceed(0);
    expect(container.unmapDma({ iova: 0n, size: 4096n })).toBe(4096n);
    expect(container.trySetIommu(VFIO_TYPE1_IOMMU)).toSucceed(0);
  },
);

test(
  'container.iommufd.no-dirty-tracking',
  'an iommufd tracks dirty pages its own way, and not as a container does',
  {
    covers: [VFIO_IOMMU_DIRTY_PAGES.fails('ENOTTY')],
    source: `${COMPAT} iommufd_vfio_ioctl()`,
    ...AS_CONTAINER,
  },
  (context) => {
    const { io } = asContainer(context);
    const argument = vfio_iommu_type1_dirty_bitmap.encode({
      argsz: vfio_iommu_type1_dirty_bitmap.size,
      flags: 1,
    });
    expect(ioctl(io.fd, VFIO_IOMMU_DIRTY_PAGES, argument)).toFailWith('ENOTTY');
  },
);

test(
  'container.iommufd.several-groups',
  'a further group enters the address space that the first one brought about',
  {
    covers: [VFIO_GROUP_SET_CONTAINER],
    source: `${COMPAT} iommufd_vfio_compat_ioas_create()`,
    ...AS_CONTAINER,
    uses: ['nvme'],
  },
  (context) => {
    const { io, container, device } = asContainer(context);
    const ram = context.memory({ size: 4096, kind: '4k' });
    container.mapDma({ iova: 0n, vaddr: ram.address, size: 4096n });
    const other = context.openGroup('nvme');
    expect(other.trySetContainer(io.fd)).toSucceed(0);
    device.close();
    expect(container.unmapDma({ iova: 0n, size: 4096n })).toBe(4096n);
  },
);

import {
  CDEV,
  IOMMU_VFIO_IOAS_GET,
  VFIO_IOMMU_GET_INFO,
  expect,
  test,
} from '../../../harness/testing/index.ts';
import { AS_CONTAINER, asContainer } from './as-container.ts';

const P = 4096n;
const END = 1n << 64n;

test(
  'container.iommufd.iova-at-the-top',
  'an IOVA that the kernel chooses lies where it may, also at the end of the address space',
  {
    source: 'drivers/iommu/iommufd/io_pagetable.c iopt_alloc_iova()',
    fixes: ['b42497e3c0e7'],
    needs: [CDEV],
  },
  ({ iommufd, memory }) => {
    const ram = memory({ size: 2 * 4096, kind: '4k' });
    const io = iommufd();
    const ioas = io.allocIoas();
    const map = { vaddr: ram.address, size: 2n * P };
    // One page is too little; rounded up to the alignment of two pages its address is 0.
    expect(io.tryAllowIovas(ioas, [{ start: END - P, last: END - 1n }])).toSucceed(0);
    expect(io.tryMap(ioas, map)).toFailWith('ENOSPC');
    expect(io.tryAllowIovas(ioas, [{ start: END - 4n * P, last: END - 1n }])).toSucceed(0);
    const iova = io.tryMap(ioas, map).get();
    expect(iova).toBeGreaterThanOrEqual(END - 4n * P);
    expect(io.tryUnmap(ioas, iova, 2n * P).get()).toBe(2n * P);
  },
);

test(
  'container.iommufd.iova-ranges',
  'an iommufd tells the same IOVA ranges by its own call as through the container ioctls',
  {
    covers: [VFIO_IOMMU_GET_INFO.capability('VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE')],
    source: [
      'drivers/iommu/iommufd/ioas.c iommufd_ioas_iova_ranges()',
      'drivers/iommu/iommufd/vfio_compat.c iommufd_fill_cap_iova()',
    ],
    ...AS_CONTAINER,
    peer: ['L8'],
  },
  (context) => {
    const { io, container } = asContainer(context);
    const ioas = io.tryCompatIoas(IOMMU_VFIO_IOAS_GET).get();
    const ranges = container.iovaRanges();
    const none = io.tryIovaRanges(ioas, 0);
    expect(none).toFailWith('EMSGSIZE');
    expect(none.value.count).toBe(ranges.length);
    expect(io.tryIovaRanges(ioas, ranges.length).get()).toEqual({ count: ranges.length, ranges });
  },
);

/** The ioctls of a container that map nothing. */
import {
  VFIO_CHECK_EXTENSION,
  VFIO_GET_API_VERSION,
  VFIO_IOMMU_DIRTY_PAGES,
  VFIO_IOMMU_DIRTY_PAGES_FLAG_START,
  VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP,
  VFIO_IOMMU_GET_INFO,
  VFIO_TYPE1v2_IOMMU,
  addDirtyPages,
  addGetDirtyBitmap,
  bench,
  vfio_iommu_type1_info,
} from '../../harness/testing/index.ts';

bench(
  'container.ioctl.get-api-version',
  'VFIO_GET_API_VERSION',
  { covers: [VFIO_GET_API_VERSION] },
  ({ container: { fd } }, measure) =>
    measure((program, timed) =>
      timed('', program.syscall('ioctl', fd, VFIO_GET_API_VERSION.request, 0)),
    ),
);

bench(
  'container.ioctl.check-extension',
  'VFIO_CHECK_EXTENSION',
  { covers: [VFIO_CHECK_EXTENSION] },
  ({ container: { fd } }, measure) =>
    measure((program, timed) =>
      timed('', program.syscall('ioctl', fd, VFIO_CHECK_EXTENSION.request, VFIO_TYPE1v2_IOMMU)),
    ),
);

bench(
  'container.ioctl.get-info',
  'VFIO_IOMMU_GET_INFO without room for capabilities',
  { covers: [VFIO_IOMMU_GET_INFO] },
  ({ container: { fd } }, measure) =>
    measure(
      (program, timed) => {
        const info = program.data(vfio_iommu_type1_info.size);
        // The kernel asks for more in argsz: what it is given must be the same each time.
        program.store(32, info, vfio_iommu_type1_info.size);
        timed('', program.syscall('ioctl', fd, VFIO_IOMMU_GET_INFO.request, info));
      },
      { reference: { args: ['get-info'], fds: [fd] } },
    ),
);

bench(
  'container.ioctl.dirty-pages',
  'dirty page tracking beside a mapping of 64 MiB: starting it, asking for the bitmap, stopping it',
  { covers: [VFIO_IOMMU_DIRTY_PAGES], operations: ['start', 'get-bitmap', 'stop'] },
  ({ container, memory }, measure) => {
    const { fd } = container;
    const size = 64 << 20;
    const area = { iova: 0n, size: BigInt(size) };
    container.mapDma({ ...area, vaddr: memory({ size, kind: 'thp' }).address });
    measure((program, timed) => {
      timed('start', addDirtyPages(program, fd, VFIO_IOMMU_DIRTY_PAGES_FLAG_START));
      timed('get-bitmap', addGetDirtyBitmap(program, fd, area).ref);
      timed('stop', addDirtyPages(program, fd, VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP));
    });
  },
);

import {
  IOMMU_VFIO_IOAS,
  IOMMU_VFIO_IOAS_CLEAR,
  IOMMU_VFIO_IOAS_GET,
  IOMMU_VFIO_IOAS_SET,
  expect,
  test,
} from '../../../harness/testing/index.ts';
import { AS_CONTAINER, asContainer, emptyIommufd } from './as-container.ts';

const P = 4096n;
const IOAS = 'drivers/iommu/iommufd/vfio_compat.c iommufd_vfio_ioas()';

test(
  'container.iommufd.ioas.get',
  'the address space behind the container ioctls comes with the first group and stays the same',
  {
    covers: [IOMMU_VFIO_IOAS.fails('ENODEV'), IOMMU_VFIO_IOAS.value('IOMMU_VFIO_IOAS_GET')],
    source: [IOAS, 'drivers/iommu/iommufd/vfio_compat.c iommufd_vfio_compat_ioas_create()'],
    ...AS_CONTAINER,
    uses: ['nvme'],
  },
  (context) => {
    const { io, container } = emptyIommufd(context);
    expect(io.tryCompatIoas(IOMMU_VFIO_IOAS_GET)).toFailWith('ENODEV');
    context.openGroup().setContainer(container);
    const id = io.tryCompatIoas(IOMMU_VFIO_IOAS_GET).get();
    context.openGroup('nvme').setContainer(container);
    expect(io.tryCompatIoas(IOMMU_VFIO_IOAS_GET).get()).toBe(id);
    expect(io.tryDestroy(id)).toSucceed(0);
  },
);

test(
  'container.iommufd.ioas.set',
  'a user may say which address space the container ioctls work on, or that it is none',
  {
    covers: [
      IOMMU_VFIO_IOAS.value('IOMMU_VFIO_IOAS_SET'),
      IOMMU_VFIO_IOAS.value('IOMMU_VFIO_IOAS_CLEAR'),
      IOMMU_VFIO_IOAS.fails('ENOENT'),
    ],
    source: IOAS,
    ...AS_CONTAINER,
  },
  (context) => {
    const { io, container } = asContainer(context);
    const ram = context.memory({ size: 4096, kind: '4k' });
    const map = { iova: 0n, vaddr: ram.address, size: P };
    const own = io.tryCompatIoas(IOMMU_VFIO_IOAS_GET).get();
    const other = io.allocIoas();
    container.mapDma(map);
    expect(io.tryCompatIoas(IOMMU_VFIO_IOAS_SET, 0x7fff_0000)).toFailWith('ENOENT');
    expect(io.tryCompatIoas(IOMMU_VFIO_IOAS_GET).get()).toBe(own);
    expect(io.tryCompatIoas(IOMMU_VFIO_IOAS_SET, other)).toSucceed(0);
    expect(io.tryCompatIoas(IOMMU_VFIO_IOAS_GET).get()).toBe(other);
    expect(container.tryMapDma(map)).toSucceed(0);
    expect(io.tryUnmap(other, 0n, P).get()).toBe(P);
    expect(io.tryCompatIoas(IOMMU_VFIO_IOAS_CLEAR)).toSucceed(0);
    expect(io.tryCompatIoas(IOMMU_VFIO_IOAS_GET)).toFailWith('ENODEV');
    expect(container.tryMapDma(map)).toFailWith('ENODEV');
    expect(io.tryUnmap(own, 0n, P).get()).toBe(P);
    expect(io.tryDestroy(other)).toSucceed(0);
  },
);

test(
  'container.iommufd.ioas.arguments',
  'IOMMU_VFIO_IOAS refuses reserved bits and operations without meaning',
  { covers: [IOMMU_VFIO_IOAS.fails('EOPNOTSUPP')], source: IOAS, ...AS_CONTAINER },
  (context) => {
    const { io } = asContainer(context);
    const id = io.tryCompatIoas(IOMMU_VFIO_IOAS_GET).get();
    expect(io.tryCompatIoas(IOMMU_VFIO_IOAS_GET, 0, 1)).toFailWith('EOPNOTSUPP');
    expect(io.tryCompatIoas(IOMMU_VFIO_IOAS_CLEAR, 0, 0x8000)).toFailWith('EOPNOTSUPP');
    for (const op of [3, 0xffff]) expect(io.tryCompatIoas(op)).toFailWith('EOPNOTSUPP');
    expect(io.tryCompatIoas(IOMMU_VFIO_IOAS_GET).get()).toBe(id);
  },
);

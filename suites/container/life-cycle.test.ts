import { statSync } from 'node:fs';
import {
  O_RDWR,
  Program,
  PROT_READ,
  MAP_SHARED,
  VFIO_API_VERSION,
  VFIO_DEVICE_GET_INFO,
  VFIO_GET_API_VERSION,
  VFIO_GROUP_GET_STATUS,
  VFIO_GROUP_UNSET_CONTAINER,
  VFIO_IOMMU_DIRTY_PAGES,
  VFIO_IOMMU_DISABLE,
  VFIO_IOMMU_ENABLE,
  VFIO_IOMMU_GET_INFO,
  VFIO_IOMMU_MAP_DMA,
  VFIO_IOMMU_UNMAP_DMA,
  VFIO_TYPE1v2_IOMMU,
  expect,
  ioctl,
  sys,
  test,
  type Container,
} from '../../harness/testing/index.ts';

const CONTAINER_IOCTL = 'drivers/vfio/container.c vfio_fops_unl_ioctl()';
const ENODEV = -19;
const EINVAL = -22;

const IOMMU_CALLS = [
  VFIO_IOMMU_GET_INFO,
  VFIO_IOMMU_MAP_DMA,
  VFIO_IOMMU_UNMAP_DMA,
  VFIO_IOMMU_DIRTY_PAGES,
  VFIO_IOMMU_ENABLE,
  VFIO_IOMMU_DISABLE,
];

function expectAllRefused(container: Container): void {
  for (const call of IOMMU_CALLS) {
    expect(ioctl(container.fd, call, Buffer.alloc(64))).toFailWith('EINVAL');
  }
  expect(sys.ioctl(container.fd, 0x3bff)).toBe(EINVAL);
}

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
  'container.api-version.any-state',
  'the API version does not depend on the state of the container or on the argument',
  { covers: [VFIO_GET_API_VERSION], source: CONTAINER_IOCTL },
  ({ emptyContainer, openGroup }) => {
    const container = emptyContainer();
    openGroup().setContainer(container);
    expect(container.apiVersion()).toBe(VFIO_API_VERSION);
    container.setIommu(VFIO_TYPE1v2_IOMMU);
    expect(container.apiVersion()).toBe(VFIO_API_VERSION);
    expect(ioctl(container.fd, VFIO_GET_API_VERSION, 0xdead)).toSucceed(VFIO_API_VERSION);
  },
);

test(
  'container.node.mode',
  'everybody may open /dev/vfio/vfio',
  { source: 'drivers/vfio/container.c vfio_dev.mode' },
  () => {
    const { mode } = statSync('/dev/vfio/vfio');
    expect(mode & 0o777).toBe(0o666);
  },
);

test(
  'container.node.unprivileged',
  'an unprivileged process opens a container, learns what it offers, and can do nothing more',
  { covers: [VFIO_GET_API_VERSION], source: CONTAINER_IOCTL },
  ({ actor }) => {
    const user = actor({ uid: 65534, gid: 65534, dropCaps: true });
    const program = new Program();
    const fd = program.syscall('openat', -100, program.data('/dev/vfio/vfio'), O_RDWR, 0);
    const version = program.syscall('ioctl', fd, VFIO_GET_API_VERSION.request, 0);
    const extension = program.syscall('ioctl', fd, 0x3b65, VFIO_TYPE1v2_IOMMU);
    const iommu = program.syscall('ioctl', fd, 0x3b66, VFIO_TYPE1v2_IOMMU);
    const map = program.syscall('ioctl', fd, VFIO_IOMMU_MAP_DMA.request, program.data(32));
    const close = program.syscall('close', fd);
    user.run(program);
    expect(program.result(fd)).toBeGreaterThanOrEqual(0);
    expect(program.result(version)).toBe(VFIO_API_VERSION);
    expect(program.result(extension)).toBe(1);
    expect(program.result(iommu)).toBe(EINVAL);
    expect(program.result(map)).toBe(EINVAL);
    expect(program.result(close)).toBe(0);
  },
);

test(
  'container.no-group.iommu-calls',
  'a container without groups refuses every call about an IOMMU',
  { covers: IOMMU_CALLS.map((call) => call.fails('EINVAL')), source: CONTAINER_IOCTL },
  ({ emptyContainer }) => {
    expectAllRefused(emptyContainer());
  },
);

test(
  'container.no-iommu.iommu-calls',
  'before SET_IOMMU a container refuses every call about an IOMMU',
  { covers: IOMMU_CALLS.map((call) => call.fails('EINVAL')), source: CONTAINER_IOCTL },
  ({ emptyContainer, openGroup }) => {
    const container = emptyContainer();
    openGroup().setContainer(container);
    expectAllRefused(container);
  },
);

test(
  'container.no-iommu.map-dma',
  'before SET_IOMMU a correct VFIO_IOMMU_MAP_DMA is refused and locks no memory',
  { covers: [VFIO_IOMMU_MAP_DMA.fails('EINVAL')], source: CONTAINER_IOCTL },
  ({ emptyContainer, openGroup, memory }) => {
    const container = emptyContainer();
    openGroup().setContainer(container);
    const pages = memory({ size: 4096, kind: '4k' });
    const map = { iova: 0n, vaddr: pages.address, size: 4096n };
    expect(container.tryMapDma(map)).toFailWith('EINVAL');
    container.setIommu(VFIO_TYPE1v2_IOMMU);
    expect(container.tryMapDma(map)).toSucceed(0);
  },
);

test(
  'container.unknown-ioctl',
  'a container with an IOMMU answers ENOTTY to what type1 does not know',
  {
    covers: [VFIO_IOMMU_ENABLE.fails('ENOTTY'), VFIO_IOMMU_DISABLE.fails('ENOTTY')],
    source: 'drivers/vfio/vfio_iommu_type1.c vfio_iommu_type1_ioctl()',
  },
  ({ container }) => {
    const unknown = [
      VFIO_IOMMU_ENABLE,
      VFIO_IOMMU_DISABLE,
      VFIO_GROUP_GET_STATUS,
      VFIO_GROUP_UNSET_CONTAINER,
      { name: 'VFIO_IOMMU_SPAPR_UNREGISTER_MEMORY', request: 0x3b76 },
      { name: 'an ioctl that never was', request: 0x3bff },
      { name: 'TCGETS', request: 0x5401 },
    ];
    for (const call of unknown) {
      expect(ioctl(container.fd, call, Buffer.alloc(64))).toFailWith('ENOTTY');
    }
    // The number of VFIO_DEVICE_GET_INFO is free on containers.
    expect(ioctl(container.fd, VFIO_DEVICE_GET_INFO, Buffer.alloc(64))).toFailWith('ENOTTY');
  },
);

test(
  'container.no-file-operations',
  'a container has nothing to read, write or map',
  { source: 'drivers/vfio/container.c vfio_fops' },
  ({ container }) => {
    expect(sys.read(container.fd, Buffer.alloc(16))).toBe(EINVAL);
    expect(sys.write(container.fd, Buffer.alloc(16))).toBe(EINVAL);
    expect(sys.mmap(0n, 4096, PROT_READ, MAP_SHARED, container.fd, 0)).toBe(BigInt(ENODEV));
  },
);

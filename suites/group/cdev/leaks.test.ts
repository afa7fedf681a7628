import {
  AT_FDCWD,
  BIND_SIZE_WITHOUT_TOKEN,
  CDEV,
  ERRNO,
  O_CLOEXEC,
  O_RDWR,
  Program,
  SLABINFO,
  VFIO_DEVICE_BIND_IOMMUFD,
  VFIO_GROUP_SET_CONTAINER,
  VFIO_GROUP_UNSET_CONTAINER,
  deviceNode,
  expect,
  expectNoKernelLeak,
  test,
  vfio_device_bind_iommufd,
  type PciFunction,
  type Ref,
} from '../../../harness/testing/index.ts';

const BIND = 'drivers/vfio/device_cdev.c vfio_df_ioctl_bind_iommufd()';
const UNBIND = 'drivers/vfio/device_cdev.c vfio_df_unbind_iommufd()';
const UNSET = 'drivers/vfio/group.c vfio_group_ioctl_unset_container()';
/** A bind resets the device, which takes its time; what is refused takes none. */
const BINDS = 150;
const ROUNDS = 1000;
const OPTIONS = { timeoutMs: 180_000 };

function open(program: Program, path: string): Ref {
  return program.syscall('openat', AT_FDCWD, program.data(path), O_RDWR | O_CLOEXEC);
}

/** Adds one round: a fresh iommufd, the device bound to it, both closed. The result is that of the bind. */
function addBind(program: Program, pci: PciFunction): { first: Ref; bound: Ref } {
  const iommufd = open(program, '/dev/iommu');
  const device = open(program, deviceNode(pci));
  const argument = program.data(
    vfio_device_bind_iommufd.encode({
      argsz: BIND_SIZE_WITHOUT_TOKEN,
      flags: 0,
      iommufd: 0,
      out_devid: 0,
      token_uuid_ptr: 0n,
    }),
  );
  program.store(32, argument.at(vfio_device_bind_iommufd.offsetof('iommufd')), iommufd);
  const bound = program.syscall('ioctl', device, VFIO_DEVICE_BIND_IOMMUFD.request, argument);
  program.syscall('close', device);
  program.syscall('close', iommufd);
  return { first: iommufd, bound };
}

test(
  'group.cdev.leak.bind',
  'a device bound and closed again and again leaves nothing of its iommufd in the kernel',
  { source: [BIND, UNBIND], device: 'edu', needs: [CDEV, SLABINFO], ...OPTIONS },
  ({ pci }) => {
    const program = new Program();
    const { first, bound } = addBind(program, pci);
    program.repeat(first, BINDS);
    expectNoKernelLeak(BINDS, () => program.run());
    expect(program.result(bound)).toBe(0);
  },
);

test(
  'group.cdev.leak.failed-bind',
  'an iommufd to which a device could not be bound goes with its last fd',
  {
    covers: [VFIO_DEVICE_BIND_IOMMUFD.fails('EPERM')],
    source: BIND,
    device: 'edu-pair-a',
    uses: ['edu-pair-b'],
    needs: [CDEV, SLABINFO],
    ...OPTIONS,
  },
  ({ openCdev, iommufd, bound: boundTo }) => {
    // A sibling in the same group is another iommufd's.
    openCdev().bind(iommufd());
    const program = new Program();
    const sibling = boundTo('edu-pair-b');
    // repeat() ends with the first call that fails.
    const binds = Array.from({ length: ROUNDS }, () => addBind(program, sibling).bound);
    expectNoKernelLeak(ROUNDS, () => program.run());
    expect(binds.filter((bound) => program.result(bound) !== -ERRNO.EPERM)).toEqual([]);
  },
);

test(
  'group.iommufd-as-container.leak',
  'an iommufd that a group entered and left as a container goes with its last fd',
  {
    covers: [VFIO_GROUP_UNSET_CONTAINER],
    source: UNSET,
    device: 'edu',
    needs: [CDEV, SLABINFO],
    ...OPTIONS,
  },
  ({ openGroup }) => {
    const { fd } = openGroup();
    const program = new Program();
    const iommufd = open(program, '/dev/iommu');
    const argument = program.data(4);
    program.store(32, argument, iommufd);
    const set = program.syscall('ioctl', fd, VFIO_GROUP_SET_CONTAINER.request, argument);
    const unset = program.syscall('ioctl', fd, VFIO_GROUP_UNSET_CONTAINER.request);
    program.syscall('close', iommufd);
    program.repeat(iommufd, ROUNDS);
    expectNoKernelLeak(ROUNDS, () => program.run());
    expect([program.result(set), program.result(unset)]).toEqual([0, 0]);
  },
);

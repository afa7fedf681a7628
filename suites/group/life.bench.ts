/** From the first open to the last close, and how it grows with the number of groups. */
import {
  AT_FDCWD,
  O_CLOEXEC,
  O_RDWR,
  VFIO_GROUP_GET_DEVICE_FD,
  VFIO_GROUP_GET_STATUS,
  VFIO_GROUP_SET_CONTAINER,
  VFIO_GROUP_UNSET_CONTAINER,
  VFIO_SET_IOMMU,
  VFIO_TYPE1v2_IOMMU,
  addMapDma,
  addUnmapDma,
  bench,
  groupNode,
  vfio_group_status,
  type Program,
  type Ref,
} from '../../harness/testing/index.ts';

const PAGE = 4096;

function addOpen(program: Program, path: string): Ref {
  return program.syscall('openat', AT_FDCWD, program.data(path), O_RDWR | O_CLOEXEC, 0);
}

function addSetContainer(program: Program, group: Ref | number, container: Ref | number): Ref {
  const argument = program.data(4);
  program.store(32, argument, container);
  return program.syscall('ioctl', group, VFIO_GROUP_SET_CONTAINER.request, argument);
}

bench(
  'group.life',
  'all that a user does from opening a container to closing it again, step by step',
  {
    covers: [
      VFIO_GROUP_SET_CONTAINER,
      VFIO_GROUP_UNSET_CONTAINER,
      VFIO_GROUP_GET_DEVICE_FD,
      VFIO_SET_IOMMU,
    ],
    devices: ['edu', 'nvme'],
    operations: [
      'open-container',
      'open-group',
      'set-container',
      'set-iommu',
      'get-device',
      'close-device',
      'unset-container',
      'close-group',
      'close-container',
      'whole',
    ],
  },
  ({ pci }, measure) =>
    measure((program, timed) => {
      const step = (name: string, ref: Ref): Ref => {
        timed(name, ref);
        return ref;
      };
      const container = step('open-container', addOpen(program, '/dev/vfio/vfio'));
      const group = step('open-group', addOpen(program, groupNode(pci.group!)));
      step('set-container', addSetContainer(program, group, container));
      step(
        'set-iommu',
        program.syscall('ioctl', container, VFIO_SET_IOMMU.request, VFIO_TYPE1v2_IOMMU),
      );
      const name = program.data(pci.bdf);
      const device = step(
        'get-device',
        program.syscall('ioctl', group, VFIO_GROUP_GET_DEVICE_FD.request, name),
      );
      step('close-device', program.syscall('close', device));
      step(
        'unset-container',
        program.syscall('ioctl', group, VFIO_GROUP_UNSET_CONTAINER.request, 0),
      );
      step('close-group', program.syscall('close', group));
      const last = step('close-container', program.syscall('close', container));
      timed('whole', container, last);
    }),
);

bench(
  'group.ioctl.get-status',
  'VFIO_GROUP_GET_STATUS',
  { covers: [VFIO_GROUP_GET_STATUS] },
  ({ group }, measure) =>
    measure((program, timed) => {
      const status = vfio_group_status.encode({ argsz: vfio_group_status.size, flags: 0 });
      timed(
        '',
        program.syscall('ioctl', group.fd, VFIO_GROUP_GET_STATUS.request, program.data(status)),
      );
    }),
);

/** Groups of their own, in the order in which they are added. */
const ROLES = ['edu', 'edu-rp', 'e1000e', 'igb', 'nvme', 'virtio-net', 'xhci', 'vmxnet3'];

for (const count of [2, 4, 8]) {
  bench(
    `group.nth.${count}`,
    `adding group number ${count} to a container and taking it out, and mapping a page for all of them`,
    {
      covers: [VFIO_GROUP_SET_CONTAINER, VFIO_GROUP_UNSET_CONTAINER],
      device: ROLES[0]!,
      uses: ROLES.slice(1, count),
      operations: ['set-container', 'map', 'unmap', 'unset-container'],
      parameters: { groups: count },
    },
    ({ container, openGroup, memory }, measure) => {
      const { address } = memory({ size: PAGE, kind: '4k' });
      for (const role of ROLES.slice(1, count - 1)) openGroup(role).setContainer(container);
      const { fd } = openGroup(ROLES[count - 1]);
      const area = { iova: 0n, size: BigInt(PAGE) };
      measure((program, timed) => {
        timed('set-container', addSetContainer(program, fd, container.fd));
        timed('map', addMapDma(program, container.fd, { ...area, vaddr: address }));
        timed('unmap', addUnmapDma(program, container.fd, area).ref);
        timed(
          'unset-container',
          program.syscall('ioctl', fd, VFIO_GROUP_UNSET_CONTAINER.request, 0),
        );
      });
    },
  );
}

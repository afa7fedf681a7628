import {
  CDEV,
  KVM,
  VirtualMachine,
  debugfsHas,
  eventually,
  expect,
  kernelAtLeast,
  test,
  type Requirement,
  type TestContext,
} from '../../harness/testing/index.ts';

const VALID = 'drivers/vfio/vfio_main.c vfio_file_is_valid()';
const GROUP_KVM = 'drivers/vfio/group.c vfio_device_group_get_kvm_safe()';
const CDEV_KVM = 'drivers/vfio/device_cdev.c vfio_df_get_kvm_safe()';
const GET_PUT = 'drivers/vfio/vfio_main.c vfio_device_get_kvm_safe(), vfio_device_put_kvm()';

/** debugfs, to see which machines there are. */
const KVM_DEBUGFS: Requirement = {
  name: 'kvm in debugfs',
  missing: () => (debugfsHas('kvm') ? null : 'debugfs does not show virtual machines'),
};
const NEEDS = { needs: [KVM, KVM_DEBUGFS], since: '6.2' };

function machine({ defer }: Pick<TestContext, 'defer'>): VirtualMachine {
  const vm = VirtualMachine.create();
  defer(() => vm.close());
  return vm;
}

/** Whether the kernel forgets a machine whose fds are closed. */
function isForgotten(vm: VirtualMachine): boolean {
  return eventually(() => !vm.exists);
}

test(
  'group.kvm.files',
  'a group or device is made known to a virtual machine once, what is neither is not',
  { source: VALID, ...NEEDS },
  (context) => {
    const { group, container, device, eventfd } = context;
    const vm = machine(context);
    for (const fd of [container.fd, eventfd().fd]) expect(vm.tryAdd(fd)).toFailWith('EINVAL');
    for (const fd of [-1, 9999]) expect(vm.tryAdd(fd)).toFailWith('EBADF');
    const files = kernelAtLeast('6.6') ? [group.fd, device.fd] : [group.fd];
    for (const fd of files) {
      expect(vm.tryRemove(fd)).toFailWith('ENOENT');
      expect(vm.tryAdd(fd)).toSucceed(0);
      expect(vm.tryAdd(fd)).toFailWith('EEXIST');
    }
    for (const fd of files) {
      expect(vm.tryRemove(fd)).toSucceed(0);
      expect(vm.tryRemove(fd)).toFailWith('ENOENT');
    }
  },
);

test(
  'group.kvm.device-keeps-machine',
  'a device opened while its group is known to a virtual machine keeps that machine until its last fd is closed',
  { source: [GROUP_KVM, GET_PUT], ...NEEDS },
  (context) => {
    const { group, openDevice } = context;
    for (let round = 0; round < 2; round++) {
      const vm = machine(context);
      expect(vm.tryAdd(group.fd)).toSucceed(0);
      const devices = [openDevice(group), openDevice(group)];
      expect(vm.tryRemove(group.fd)).toSucceed(0);
      vm.close();
      devices[0]!.close();
      expect(vm.exists).toBe(true);
      devices[1]!.close();
      expect(isForgotten(vm)).toBe(true);
    }
  },
);

test(
  'group.kvm.not-known',
  'a virtual machine goes with its fds if no device was opened while it knew the group',
  { source: [GROUP_KVM, 'drivers/vfio/group.c vfio_group_set_kvm()'], ...NEEDS },
  (context) => {
    const { group, openDevice } = context;
    const removed = machine(context);
    expect(removed.tryAdd(group.fd)).toSucceed(0);
    expect(removed.tryRemove(group.fd)).toSucceed(0);
    const device = openDevice(group);
    removed.close();
    expect(isForgotten(removed)).toBe(true);
    // The device is open already.
    const late = machine(context);
    expect(late.tryAdd(group.fd)).toSucceed(0);
    openDevice(group).close();
    late.close();
    expect(isForgotten(late)).toBe(true);
    device.close();
  },
);

test(
  'group.kvm.open-fails',
  'a device that could not be opened keeps no virtual machine',
  { source: 'drivers/vfio/group.c vfio_df_group_open(): vfio_device_put_kvm()', ...NEEDS },
  (context) => {
    const group = context.openGroup();
    group.setContainer(context.emptyContainer());
    const vm = machine(context);
    expect(vm.tryAdd(group.fd)).toSucceed(0);
    // The container has no IOMMU yet.
    expect(group.tryGetDevice(context.pci.bdf)).toFailWith('EINVAL');
    vm.close();
    expect(isForgotten(vm)).toBe(true);
  },
);

test(
  'group.kvm.cdev-keeps-machine',
  'a device bound while its own fd is known to a virtual machine keeps that machine until it is closed',
  { source: [CDEV_KVM, GET_PUT], needs: [KVM, KVM_DEBUGFS, CDEV], since: '6.6' },
  (context) => {
    const { openCdev, iommufd } = context;
    const io = iommufd();
    for (let round = 0; round < 2; round++) {
      const vm = machine(context);
      const device = openCdev();
      expect(vm.tryAdd(device.fd)).toSucceed(0);
      device.bind(io);
      vm.close();
      expect(vm.exists).toBe(true);
      device.close();
      expect(isForgotten(vm)).toBe(true);
    }
  },
);

test(
  'group.kvm.cdev-bind-fails',
  'a device that could not be bound keeps no virtual machine',
  {
    source: 'drivers/vfio/device_cdev.c vfio_df_ioctl_bind_iommufd(): vfio_device_put_kvm()',
    device: 'edu-pair-a',
    uses: ['edu-pair-b'],
    needs: [KVM, KVM_DEBUGFS, CDEV],
    since: '6.6',
  },
  (context) => {
    const { openCdev, iommufd } = context;
    // A sibling in the same group is another iommufd's.
    openCdev('edu-pair-b').bind(iommufd());
    const vm = machine(context);
    const device = openCdev();
    expect(vm.tryAdd(device.fd)).toSucceed(0);
    expect(device.tryBind({ iommufd: iommufd() })).toFailWith('EPERM');
    vm.close();
    expect(isForgotten(vm)).toBe(true);
  },
);

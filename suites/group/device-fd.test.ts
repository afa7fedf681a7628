import { readFileSync, readlinkSync, realpathSync } from 'node:fs';
import {
  ERRNO,
  FD_CLOEXEC,
  F_GETFD,
  F_GETFL,
  OWN_MACHINE,
  O_ACCMODE,
  O_RDWR,
  PCI_COMMAND,
  PCI_COMMAND_MASTER,
  Program,
  RLIMIT_NOFILE,
  SEEK_SET,
  VFIO_GROUP_GET_DEVICE_FD,
  VFIO_TYPE1v2_IOMMU,
  expect,
  moduleUsers,
  setCommand,
  startUnbinding,
  sys,
  test,
} from '../../harness/testing/index.ts';

const GET_FD = 'drivers/vfio/group.c vfio_group_ioctl_get_device_fd()';
const OPEN_FILE = 'drivers/vfio/group.c vfio_device_open_file()';
const FIRST_OPEN = 'drivers/vfio/vfio_main.c vfio_df_device_first_open()';
const LAST_CLOSE = 'drivers/vfio/vfio_main.c vfio_df_device_last_close()';
const DF_OPEN = 'drivers/vfio/vfio_main.c vfio_df_open()';

test(
  'group.get-device.no-iommu',
  'a device cannot be opened before its container has an IOMMU, and can afterwards',
  {
    covers: [VFIO_GROUP_GET_DEVICE_FD.fails('EINVAL')],
    source: [
      'drivers/vfio/group.c vfio_df_group_open()',
      'drivers/vfio/container.c vfio_group_use_container()',
    ],
  },
  ({ openGroup, emptyContainer, pci }) => {
    const group = openGroup();
    const users = moduleUsers('vfio_pci');
    expect(group.tryGetDevice(pci.bdf)).toFailWith('EINVAL');
    const container = emptyContainer();
    group.setContainer(container);
    for (let again = 0; again < 3; again++) {
      expect(group.tryGetDevice(pci.bdf)).toFailWith('EINVAL');
    }
    expect(moduleUsers('vfio_pci')).toBe(users);
    container.setIommu(VFIO_TYPE1v2_IOMMU);
    group.getDevice(pci.bdf).close();
    expect(group.tryUnsetContainer()).toSucceed(0);
    expect(group.tryGetDevice(pci.bdf)).toFailWith('EINVAL');
  },
);

test(
  'group.get-device.no-iommu-no-leak',
  'a device that could not be opened for want of an IOMMU can be unbound at once',
  { covers: [VFIO_GROUP_GET_DEVICE_FD.fails('EINVAL')], source: GET_FD, needs: [OWN_MACHINE] },
  (context) => {
    const writer = context.actor();
    const { openGroup, emptyContainer, pci } = context;
    const group = openGroup();
    for (let again = 0; again < 20; again++) {
      expect(group.tryGetDevice(pci.bdf)).toFailWith('EINVAL');
    }
    group.setContainer(emptyContainer());
    for (let again = 0; again < 20; again++) {
      expect(group.tryGetDevice(pci.bdf)).toFailWith('EINVAL');
    }
    const unbinding = startUnbinding(writer, pci);
    expect(unbinding.ends()).toBe(true);
  },
);

test(
  'group.device-fd.flags',
  'a device fd is readable and writable and is closed on exec',
  { covers: [VFIO_GROUP_GET_DEVICE_FD], source: [GET_FD, OPEN_FILE] },
  ({ device }) => {
    expect(sys.call('fcntl', device.fd, F_GETFD)).toBe(FD_CLOEXEC);
    expect(sys.call('fcntl', device.fd, F_GETFL) & O_ACCMODE).toBe(O_RDWR);
    expect(readlinkSync(`/proc/self/fd/${device.fd}`)).toBe('anon_inode:[vfio-device]');
  },
);

test(
  'group.device-fd.positioned',
  'a device fd is read and written at positions, and has none of its own',
  { covers: [VFIO_GROUP_GET_DEVICE_FD], source: OPEN_FILE },
  ({ device, pci }) => {
    expect(device.config.read16(0)).toBe(pci.vendor);
    expect(sys.call('lseek', device.fd, 0, SEEK_SET)).toBe(-ERRNO.ESPIPE);
  },
);

test(
  'group.device-fd.fdinfo',
  'fdinfo of a device fd names the device',
  {
    source: 'drivers/vfio/vfio_main.c vfio_device_show_fdinfo()',
    since: '6.18',
  },
  ({ device, pci }) => {
    const fdinfo = readFileSync(`/proc/self/fdinfo/${device.fd}`, 'utf8');
    const line = fdinfo.split('\n').find((text) => text.startsWith('vfio-device-syspath:'));
    expect(line?.split(/\s+/)[1]).toBe(realpathSync(pci.path));
  },
);

test(
  'group.device-fd.several',
  'several fds of a device show the same device, and each lives until it is closed',
  { covers: [VFIO_GROUP_GET_DEVICE_FD], source: DF_OPEN },
  ({ group, openDevice }) => {
    const first = openDevice(group);
    const second = openDevice(group);
    const third = openDevice(group);
    expect(new Set([first.fd, second.fd, third.fd]).size).toBe(3);
    setCommand(first, { set: PCI_COMMAND_MASTER });
    expect(second.config.read16(PCI_COMMAND) & PCI_COMMAND_MASTER).toBe(PCI_COMMAND_MASTER);
    first.close();
    second.close();
    // A close that is not the last resets nothing.
    expect(third.config.read16(PCI_COMMAND) & PCI_COMMAND_MASTER).toBe(PCI_COMMAND_MASTER);
    third.close();
    const fresh = openDevice(group);
    expect(fresh.config.read16(PCI_COMMAND) & PCI_COMMAND_MASTER).toBe(0);
  },
);

test(
  'group.device-fd.open-after-close',
  'a device is opened and closed as often as one likes',
  { covers: [VFIO_GROUP_GET_DEVICE_FD], source: [FIRST_OPEN, LAST_CLOSE] },
  ({ group, pci }) => {
    for (let round = 0; round < 5; round++) {
      const device = group.getDevice(pci.bdf);
      expect(device.config.read16(0)).toBe(pci.vendor);
      expect(device.config.read16(2)).toBe(pci.device);
      device.close();
    }
    expect(group.tryUnsetContainer()).toSucceed(0);
  },
);

test(
  'group.device-fd.module-users',
  'an open device keeps its driver from being unloaded, a closed one does not',
  { source: [FIRST_OPEN, LAST_CLOSE], device: 'edu', uses: ['edu-rp'] },
  ({ group, openDevice, openRole }) => {
    const users = moduleUsers('vfio_pci');
    if (users === null) return;
    const first = openDevice(group);
    expect(moduleUsers('vfio_pci')).toBeGreaterThan(users);
    const withOne = moduleUsers('vfio_pci');
    const other = openRole('edu-rp').device;
    expect(moduleUsers('vfio_pci')).toBe(withOne! + withOne! - users);
    first.close();
    expect(moduleUsers('vfio_pci')).toBe(withOne);
    const again = openDevice(group);
    const twice = openDevice(group);
    again.close();
    other.close();
    expect(moduleUsers('vfio_pci')).toBe(withOne);
    twice.close();
    expect(moduleUsers('vfio_pci')).toBe(users);
  },
);

test(
  'group.get-device.no-free-fd',
  'a process with no free fd opens no device, loses no reference, and may try again',
  {
    covers: [VFIO_GROUP_GET_DEVICE_FD.fails('EMFILE')],
    source: GET_FD,
    fixes: ['e324fc82ea45 (GROUP_GET_DEVICE_FD with a wrong name leaks a reference)'],
    needs: [OWN_MACHINE],
  },
  (context) => {
    const writer = context.actor();
    const { group, pci, actor } = context;
    const user = actor({ inheritFds: [group.fd] });
    const program = new Program();
    const old = program.data(16);
    const none = program.data(16);
    const name = program.data(pci.bdf);
    program.syscall('prlimit64', 0, RLIMIT_NOFILE, 0, old);
    // What is open stays open; root may raise the limit again.
    program.syscall('prlimit64', 0, RLIMIT_NOFILE, none, 0);
    const refused = program.syscall('ioctl', group.fd, VFIO_GROUP_GET_DEVICE_FD.request, name);
    program.syscall('prlimit64', 0, RLIMIT_NOFILE, old, 0);
    const opened = program.syscall('ioctl', group.fd, VFIO_GROUP_GET_DEVICE_FD.request, name);
    user.run(program);
    expect(program.result(refused)).toBe(-ERRNO.EMFILE);
    expect(program.result(opened)).toBeGreaterThanOrEqual(0);
    user.close();
    expect(group.tryUnsetContainer()).toSucceed(0);
    const unbinding = startUnbinding(writer, pci);
    expect(unbinding.ends()).toBe(true);
  },
);

test(
  'group.device-fd.other-process',
  'a device fd works in every process that holds it, and keeps the device open there',
  {
    covers: [VFIO_GROUP_GET_DEVICE_FD],
    source: 'drivers/vfio/vfio_main.c vfio_device_fops_release()',
  },
  ({ group, openDevice, actor, pci }) => {
    const device = openDevice(group);
    const { offset } = device.config.info;
    const holder = actor({ inheritFds: [device.fd] });
    device.close();
    expect(group.tryUnsetContainer()).toFailWith('EBUSY');
    const program = new Program();
    const id = program.data(2);
    const read = program.syscall('pread', device.fd, id, 2, offset);
    holder.run(program);
    expect(program.result(read)).toBe(2);
    expect(id.bytes.readUInt16LE()).toBe(pci.vendor);
    holder.close();
    expect(group.tryUnsetContainer()).toSucceed(0);
  },
);

import {
  ERRNO,
  MAP_SHARED,
  PROT_READ,
  SIGKILL,
  Group,
  O_CLOEXEC,
  O_RDWR,
  Program,
  AT_FDCWD,
  VFIO_GROUP_FLAGS_VIABLE,
  expect,
  groupNode,
  sys,
  test,
} from '../../harness/testing/index.ts';

const OPEN = 'drivers/vfio/group.c vfio_group_fops_open()';
const RELEASE = 'drivers/vfio/group.c vfio_group_fops_release()';

test(
  'group.open.exclusive',
  'a group is opened by one user at a time',
  { covers: [], source: OPEN },
  ({ openGroup }) => {
    const group = openGroup();
    for (let again = 0; again < 3; again++) {
      expect(Group.tryOpen(group.number)).toFailWith('EBUSY');
    }
    expect(group.status()).toBe(VFIO_GROUP_FLAGS_VIABLE);
  },
);

test(
  'group.open.other-process',
  'a group that one process has open is busy for every other',
  { source: OPEN },
  ({ openGroup, actor }) => {
    const group = openGroup();
    const other = actor();
    const program = new Program();
    const open = program.syscall('openat', AT_FDCWD, program.data(groupNode(group.number)), O_RDWR);
    other.run(program);
    expect(program.result(open)).toBe(-ERRNO.EBUSY);
  },
);

test(
  'group.open.again',
  'a closed group can be opened again, as often as one likes',
  { source: RELEASE },
  ({ pci }) => {
    const program = new Program();
    const open = program.syscall('openat', AT_FDCWD, program.data(groupNode(pci.group!)), O_RDWR);
    program.syscall('close', open);
    const rounds = program.repeat(open, 50);
    program.run();
    expect(program.result(rounds)).toBe(0);
    expect(program.count(rounds)).toBe(50);
  },
);

test(
  'group.open.dup',
  'a duplicated group fd keeps the group open until the last one is closed',
  { source: RELEASE },
  ({ pci, defer }) => {
    const group = Group.open(pci.group!);
    const copy = new Group(sys.dup(group.fd), group.number);
    defer(() => copy.close());
    group.close();
    expect(Group.tryOpen(group.number)).toFailWith('EBUSY');
    expect(copy.status()).toBe(VFIO_GROUP_FLAGS_VIABLE);
    copy.close();
    Group.open(group.number).close();
  },
);

test(
  'group.open.inherited',
  'a group fd in another process keeps the group open when its opener has closed it',
  { source: RELEASE },
  ({ pci, actor }) => {
    const group = Group.open(pci.group!);
    const other = actor({ inheritFds: [group.fd] });
    group.close();
    expect(Group.tryOpen(group.number)).toFailWith('EBUSY');
    other.close();
    Group.open(group.number).close();
  },
);

test(
  'group.open.killed-owner',
  'a process that is killed lets its group go',
  { source: RELEASE },
  ({ pci, actor }) => {
    const owner = actor();
    const program = new Program();
    const open = program.syscall(
      'openat',
      AT_FDCWD,
      program.data(groupNode(pci.group!)),
      O_RDWR | O_CLOEXEC,
    );
    owner.run(program);
    expect(program.result(open)).toBeGreaterThanOrEqual(0);
    expect(Group.tryOpen(pci.group!)).toFailWith('EBUSY');
    owner.kill(SIGKILL);
    Group.open(pci.group!).close();
  },
);

test(
  'group.open.no-data',
  'a group fd and a container fd carry no data: no read, no write, no mapping',
  { source: ['drivers/vfio/group.c vfio_group_fops', 'drivers/vfio/container.c vfio_fops'] },
  ({ openGroup, emptyContainer }) => {
    for (const fd of [openGroup().fd, emptyContainer().fd]) {
      expect(sys.read(fd, Buffer.alloc(8))).toBe(-ERRNO.EINVAL);
      expect(sys.write(fd, Buffer.alloc(8))).toBe(-ERRNO.EINVAL);
      expect(sys.mmap(0n, 4096, PROT_READ, MAP_SHARED, fd, 0)).toBe(BigInt(-ERRNO.ENODEV));
    }
  },
);

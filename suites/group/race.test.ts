import {
  AT_FDCWD,
  ERRNO,
  OWN_MACHINE,
  O_CLOEXEC,
  O_RDWR,
  Program,
  VFIO_GROUP_GET_DEVICE_FD,
  VFIO_GROUP_SET_CONTAINER,
  VFIO_SET_IOMMU,
  VFIO_TYPE1v2_IOMMU,
  expect,
  groupNode,
  lockedMemory,
  moduleUsers,
  runParallel,
  startUnbinding,
  sys,
  test,
} from '../../harness/testing/index.ts';

const ROUNDS = 20;
const THREADS = 3;

test(
  'group.race.open',
  'of several threads that open a group at once, exactly one gets it',
  { source: 'drivers/vfio/group.c vfio_group_fops_open()' },
  ({ pci }) => {
    for (let round = 0; round < ROUNDS; round++) {
      const programs = Array.from({ length: THREADS }, () => {
        const program = new Program();
        const path = program.data(groupNode(pci.group!));
        return { program, open: program.syscall('openat', AT_FDCWD, path, O_RDWR | O_CLOEXEC) };
      });
      runParallel(programs.map(({ program }) => program));
      const results = programs.map(({ program, open }) => program.result(open));
      for (const fd of results.filter((result) => result >= 0)) sys.close(fd);
      expect(results.filter((result) => result >= 0)).toHaveLength(1);
      expect(results.filter((result) => result === -ERRNO.EBUSY)).toHaveLength(THREADS - 1);
    }
  },
);

test(
  'group.race.set-container',
  'of several threads that put a group into containers at once, exactly one succeeds',
  {
    covers: [VFIO_GROUP_SET_CONTAINER.fails('EINVAL')],
    source: 'drivers/vfio/group.c vfio_group_ioctl_set_container()',
  },
  ({ openGroup, emptyContainer }) => {
    const group = openGroup();
    const containers = Array.from({ length: THREADS }, () => emptyContainer());
    for (let round = 0; round < ROUNDS; round++) {
      const programs = containers.map(({ fd }) => {
        const program = new Program();
        const argument = Buffer.alloc(4);
        argument.writeInt32LE(fd);
        const set = program.syscall(
          'ioctl',
          group.fd,
          VFIO_GROUP_SET_CONTAINER.request,
          program.data(argument),
        );
        return { program, set };
      });
      runParallel(programs.map(({ program }) => program));
      const results = programs.map(({ program, set }) => program.result(set));
      expect([...results].sort((a, b) => b - a)).toEqual([0, -ERRNO.EINVAL, -ERRNO.EINVAL]);
      const winner = containers[results.indexOf(0)]!;
      winner.setIommu(VFIO_TYPE1v2_IOMMU);
      group.unsetContainer();
    }
  },
);

test(
  'group.race.set-iommu',
  'of several threads that set the IOMMU of a container at once, exactly one succeeds',
  {
    covers: [VFIO_SET_IOMMU.fails('EINVAL')],
    source: 'drivers/vfio/container.c vfio_ioctl_set_iommu()',
    peer: ['L3'],
  },
  ({ openGroup, emptyContainer }) => {
    const group = openGroup();
    const container = emptyContainer();
    for (let round = 0; round < ROUNDS; round++) {
      group.setContainer(container);
      const programs = Array.from({ length: THREADS }, () => {
        const program = new Program();
        const { request } = VFIO_SET_IOMMU;
        return {
          program,
          set: program.syscall('ioctl', container.fd, request, VFIO_TYPE1v2_IOMMU),
        };
      });
      runParallel(programs.map(({ program }) => program));
      const results = programs.map(({ program, set }) => program.result(set));
      expect(results.sort((a, b) => b - a)).toEqual([0, -ERRNO.EINVAL, -ERRNO.EINVAL]);
      group.unsetContainer();
    }
  },
);

test(
  'group.race.open-close-device',
  'threads that open and close a device at once leave no count behind: it leaves and unbinds at once',
  {
    covers: [VFIO_GROUP_GET_DEVICE_FD],
    source: ['drivers/vfio/vfio_main.c vfio_df_open()', 'drivers/vfio/vfio_main.c vfio_df_close()'],
    needs: [OWN_MACHINE],
  },
  (context) => {
    const writer = context.actor();
    const { group, container, memory, pci } = context;
    const users = moduleUsers('vfio_pci');
    const pages = memory({ size: 4096, kind: '4k' });
    const before = lockedMemory();
    container.mapDma({ iova: 0n, vaddr: pages.address, size: 4096n });
    const programs = Array.from({ length: THREADS }, () => {
      const program = new Program();
      const name = program.data(pci.bdf);
      const open = program.syscall('ioctl', group.fd, VFIO_GROUP_GET_DEVICE_FD.request, name);
      program.syscall('close', open);
      return { program, rounds: program.repeat(open, ROUNDS) };
    });
    runParallel(programs.map(({ program }) => program));
    for (const { program, rounds } of programs) {
      expect(program.result(rounds)).toBe(0);
      expect(program.count(rounds)).toBe(ROUNDS);
    }
    expect(moduleUsers('vfio_pci')).toBe(users);
    expect(group.tryUnsetContainer()).toSucceed(0);
    expect(lockedMemory()).toEqual(before);
    const unbinding = startUnbinding(writer, pci);
    expect(unbinding.ends()).toBe(true);
  },
);

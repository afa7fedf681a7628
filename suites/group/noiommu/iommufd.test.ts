import {
  CDEV,
  Container,
  ERRNO,
  IOMMU_VFIO_IOAS_CLEAR,
  IOMMU_VFIO_IOAS_SET,
  NOIOMMU,
  NO_IOMMU_ROLE,
  OWN_MACHINE,
  Program,
  VFIO_GROUP_GET_DEVICE_FD,
  VFIO_GROUP_SET_CONTAINER,
  VFIO_NOIOMMU_IOMMU,
  VFIO_SET_IOMMU,
  VFIO_TYPE1v2_IOMMU,
  bindWithoutIommu,
  expect,
  openNoIommuGroup,
  test,
  type Group,
  type Iommufd,
  type PciFunction,
  type TestContext,
} from '../../../harness/testing/index.ts';

const SET_CONTAINER = 'drivers/vfio/group.c vfio_group_ioctl_set_container()';
const COMPAT = 'drivers/iommu/iommufd/vfio_compat.c iommufd_vfio_compat_set_no_iommu()';
const GROUP_OPEN = 'drivers/vfio/group.c vfio_df_group_open()';
const NEEDS = { device: NO_IOMMU_ROLE, needs: [NOIOMMU, CDEV, OWN_MACHINE] };
const NOBODY = 65534;

/** The device without an IOMMU, its group in an iommufd. */
function inIommufd(context: TestContext): { pci: PciFunction; group: Group; io: Iommufd } {
  const pci = bindWithoutIommu(context);
  const group = openNoIommuGroup(context, pci);
  const io = context.iommufd();
  group.trySetContainer(io.fd).must();
  return { pci, group, io };
}

test(
  'group.noiommu.iommufd-as-container',
  'an iommufd stands in for the container of a group without an IOMMU, and then for no other',
  {
    covers: [VFIO_GROUP_SET_CONTAINER, VFIO_SET_IOMMU.value('VFIO_NOIOMMU_IOMMU')],
    source: [SET_CONTAINER, COMPAT, GROUP_OPEN],
    ...NEEDS,
    uses: ['edu'],
  },
  (context) => {
    const { pci, group, io } = inIommufd(context);
    const container = new Container(io.fd);
    expect(container.checkExtension(VFIO_NOIOMMU_IOMMU)).toBe(1);
    expect(container.checkExtension(VFIO_TYPE1v2_IOMMU)).toBe(0);
    expect(container.trySetIommu(VFIO_TYPE1v2_IOMMU)).toFailWith('EINVAL');
    expect(container.trySetIommu(VFIO_NOIOMMU_IOMMU)).toSucceed(0);
    expect(context.openDevice(group, pci.bdf).config.read16(0)).toBe(pci.vendor);
    const real = context.openGroup('edu');
    expect(real.trySetContainer(io.fd)).toFailWith('EINVAL');
    const other = context.iommufd();
    expect(real.trySetContainer(other.fd)).toSucceed(0);
    expect(new Container(other.fd).trySetIommu(VFIO_NOIOMMU_IOMMU)).toFailWith('EINVAL');
  },
);

test(
  'group.noiommu.iommufd-refused',
  'an iommufd that already has an address space for containers takes no group without an IOMMU',
  { covers: [VFIO_GROUP_SET_CONTAINER.fails('EINVAL')], source: COMPAT, ...NEEDS },
  (context) => {
    const pci = bindWithoutIommu(context);
    const group = openNoIommuGroup(context, pci);
    const io = context.iommufd();
    const ioas = io.allocIoas();
    expect(io.tryCompatIoas(IOMMU_VFIO_IOAS_SET, ioas)).toSucceed(0);
    expect(group.trySetContainer(io.fd)).toFailWith('EINVAL');
    expect(io.tryCompatIoas(IOMMU_VFIO_IOAS_CLEAR)).toSucceed(0);
    expect(group.trySetContainer(io.fd)).toSucceed(0);
  },
);

test(
  'group.noiommu.iommufd-translation',
  'whoever gave the iommufd an address space meanwhile expects translation, and does not get the device',
  { covers: [VFIO_GROUP_GET_DEVICE_FD.fails('EPERM')], source: GROUP_OPEN, ...NEEDS },
  (context) => {
    const { pci, group, io } = inIommufd(context);
    expect(io.tryCompatIoas(IOMMU_VFIO_IOAS_SET, io.allocIoas())).toSucceed(0);
    expect(group.tryGetDevice(pci.bdf)).toFailWith('EPERM');
    expect(io.tryCompatIoas(IOMMU_VFIO_IOAS_CLEAR)).toSucceed(0);
    const device = context.openDevice(group, pci.bdf);
    expect(device.config.read16(0)).toBe(pci.vendor);
    expect(group.tryUnsetContainer()).toSucceed(0);
  },
);

test(
  'group.noiommu.iommufd-privilege',
  'a group without an IOMMU in an iommufd gives its device to no process without CAP_SYS_RAWIO',
  { covers: [VFIO_GROUP_GET_DEVICE_FD.fails('EPERM')], source: GROUP_OPEN, ...NEEDS },
  (context) => {
    const { pci, group } = inIommufd(context);
    const user = context.actor({
      uid: NOBODY,
      gid: NOBODY,
      dropCaps: true,
      inheritFds: [group.fd],
    });
    const program = new Program();
    const name = program.data(Buffer.from(`${pci.bdf}\0`));
    const opened = program.syscall('ioctl', group.fd, VFIO_GROUP_GET_DEVICE_FD.request, name);
    user.run(program);
    expect(program.result(opened)).toBe(-ERRNO.EPERM);
  },
);

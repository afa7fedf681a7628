import {
  CDEV,
  OWN_MACHINE,
  VFIO_GROUP_FLAGS_CONTAINER_SET,
  VFIO_GROUP_FLAGS_VIABLE,
  VFIO_GROUP_GET_DEVICE_FD,
  VFIO_GROUP_GET_STATUS,
  bindTo,
  clearOverride,
  expect,
  kernelModule,
  loadModule,
  test,
  tryWriteAttribute,
  unbind,
} from '../../../harness/testing/index.ts';

const IN_CONTAINER = VFIO_GROUP_FLAGS_VIABLE | VFIO_GROUP_FLAGS_CONTAINER_SET;

test(
  'group.iommufd-as-container.viability',
  'a group in an iommufd is taken from the host with the open of a device, not with SET_CONTAINER',
  {
    covers: [
      VFIO_GROUP_GET_STATUS.flag('VFIO_GROUP_FLAGS_VIABLE'),
      VFIO_GROUP_GET_STATUS.flag('VFIO_GROUP_FLAGS_CONTAINER_SET'),
      VFIO_GROUP_GET_DEVICE_FD.fails('EPERM'),
    ],
    source: [
      'drivers/vfio/group.c vfio_group_ioctl_get_status()',
      'drivers/vfio/group.c vfio_group_ioctl_set_container()',
      'drivers/iommu/iommu.c iommu_device_claim_dma_owner()',
    ],
    device: 'mf-a',
    uses: ['mf-b'],
    needs: [CDEV, OWN_MACHINE, kernelModule('e1000e')],
    provokes: [/probe (with driver e1000e|of .*) failed with error -16/],
  },
  ({ bound, openGroup, iommufd, openDevice, pci }) => {
    const sibling = bound('mf-b');
    const toHost = () => tryWriteAttribute('/sys/bus/pci/drivers/e1000e/bind', sibling.bdf);
    loadModule('e1000e');
    bindTo(sibling, 'e1000e');
    const group = openGroup();
    expect(group.status()).toBe(0);
    expect(group.trySetContainer(iommufd().fd)).toSucceed(0);
    expect(group.status()).toBe(IN_CONTAINER);
    expect(group.tryGetDevice(pci.bdf)).toFailWith('EPERM');
    expect(group.status()).toBe(IN_CONTAINER);
    unbind(sibling);
    clearOverride(sibling);
    const device = openDevice(group);
    expect(toHost()).toFailWith('EBUSY');
    expect(sibling.driver).toBe(null);
    expect(device.config.read16(0)).toBe(pci.vendor);
    device.close();
    expect(group.status()).toBe(IN_CONTAINER);
    expect(toHost()).toSucceed();
    expect(group.tryGetDevice(pci.bdf)).toFailWith('EPERM');
    group.unsetContainer();
    expect(group.status()).toBe(0);
    unbind(sibling);
    expect(group.status()).toBe(VFIO_GROUP_FLAGS_VIABLE);
  },
);

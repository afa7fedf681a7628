import {
  OWN_MACHINE,
  VFIO_GROUP_FLAGS_CONTAINER_SET,
  VFIO_GROUP_FLAGS_VIABLE,
  VFIO_GROUP_GET_DEVICE_FD,
  VFIO_GROUP_GET_STATUS,
  VFIO_GROUP_SET_CONTAINER,
  bindTo,
  clearOverride,
  expect,
  functionInRole,
  kernelModule,
  loadModule,
  removeFunction,
  rescan,
  rescanForDrivers,
  test,
  tryWriteAttribute,
  unbind,
  type PciFunction,
} from '../../../harness/testing/index.ts';

const SOURCE = [
  'Documentation/driver-api/vfio.rst',
  'drivers/iommu/iommu.c iommu_group_claim_dma_owner()',
  'drivers/vfio/container.c vfio_group_detach_container()',
];
const IN_CONTAINER = VFIO_GROUP_FLAGS_VIABLE | VFIO_GROUP_FLAGS_CONTAINER_SET;
const PAIR = {
  device: 'mf-a',
  uses: ['mf-b'],
  needs: [OWN_MACHINE, kernelModule('e1000e')],
  provokes: [/probe (with driver e1000e|of .*) failed with error -16/],
};

/** Leaves the function without a driver, and open to e1000e. */
function prepare(sibling: PciFunction): void {
  loadModule('e1000e');
  unbind(sibling);
  clearOverride(sibling);
}

const BIND = '/sys/bus/pci/drivers/e1000e/bind';

test(
  'group.viability.in-use.host-driver',
  'while a group is in a container, no driver of the host gets one of its devices',
  { covers: [VFIO_GROUP_GET_STATUS], source: SOURCE, ...PAIR },
  ({ bound, group, device }) => {
    const sibling = bound('mf-b');
    prepare(sibling);
    expect(tryWriteAttribute(BIND, sibling.bdf)).toFailWith('EBUSY');
    expect(sibling.driver).toBe(null);
    expect(group.status()).toBe(IN_CONTAINER);
    expect(device.info().num_regions).toBeGreaterThan(0);
    device.close();
    expect(tryWriteAttribute(BIND, sibling.bdf)).toFailWith('EBUSY');
    expect(sibling.driver).toBe(null);
  },
);

test(
  'group.viability.in-use.driver-override',
  'driver_override gives no device of a group in use to a driver of the host either',
  { covers: [VFIO_GROUP_GET_STATUS], source: SOURCE, ...PAIR },
  ({ bound, group, device }) => {
    const sibling = bound('mf-b');
    prepare(sibling);
    expect(tryWriteAttribute(`${sibling.path}/driver_override`, 'e1000e')).toSucceed();
    tryWriteAttribute('/sys/bus/pci/drivers_probe', sibling.bdf);
    expect(sibling.driver).toBe(null);
    expect(group.status()).toBe(IN_CONTAINER);
    expect(device.info().num_regions).toBeGreaterThan(0);
  },
);

test(
  'group.viability.in-use.no-iommu-yet',
  'a group is taken from the host with SET_CONTAINER already, before SET_IOMMU',
  { source: SOURCE, ...PAIR },
  ({ bound, openGroup, emptyContainer }) => {
    const sibling = bound('mf-b');
    prepare(sibling);
    const group = openGroup();
    group.setContainer(emptyContainer());
    expect(tryWriteAttribute(BIND, sibling.bdf)).toFailWith('EBUSY');
    expect(sibling.driver).toBe(null);
  },
);

for (const [how, title] of [
  ['unset', 'UNSET_CONTAINER'],
  ['close', 'closing it'],
] as const) {
  test(
    `group.viability.after-${how}`,
    `a group is given back to the host with ${title}`,
    { source: SOURCE, ...PAIR },
    ({ bound, group, device }) => {
      const sibling = bound('mf-b');
      prepare(sibling);
      device.close();
      if (how === 'unset') group.unsetContainer();
      else group.close();
      expect(tryWriteAttribute(BIND, sibling.bdf)).toSucceed();
      expect(sibling.driver).toBe('e1000e');
      if (how === 'unset') expect(group.status()).toBe(0);
    },
  );
}

test(
  'group.viability.in-use.to-vfio',
  'a member may come to VFIO while its group is in use, and is opened through the open group',
  {
    covers: [VFIO_GROUP_GET_DEVICE_FD],
    source: [...SOURCE, 'drivers/vfio/vfio_main.c __vfio_register_dev()'],
    device: 'edu-pair-a',
    uses: ['edu-pair-b'],
    needs: [OWN_MACHINE],
  },
  ({ bound, group, device, openDevice }) => {
    const sibling = bound('edu-pair-b');
    unbind(sibling);
    expect(group.tryGetDevice(sibling.bdf)).toFailWith('ENODEV');
    bindTo(sibling, 'vfio-pci');
    expect(openDevice(group, sibling.bdf).config.read16(2)).toBe(sibling.device);
    expect(device.info().num_regions).toBeGreaterThan(0);
    expect(group.status()).toBe(IN_CONTAINER);
  },
);

test(
  'group.viability.in-use.hot-added',
  'a device that is added to a group in use joins it and is opened through the open group',
  {
    covers: [VFIO_GROUP_GET_DEVICE_FD],
    source: [...SOURCE, 'drivers/iommu/iommu.c iommu_group_add_device()'],
    device: 'bridge-child-a',
    uses: ['bridge-child-b', 'bridge'],
    needs: [OWN_MACHINE],
  },
  (context) => {
    unbind(functionInRole('bridge')!);
    const { bound, group, device, openDevice, defer, pci } = context;
    const sibling = bound('bridge-child-b');
    removeFunction(sibling);
    defer(rescan);
    expect(functionInRole('bridge-child-b')).toBe(null);
    expect(group.tryGetDevice(sibling.bdf)).toFailWith('ENODEV');
    expect(device.info().num_regions).toBeGreaterThan(0);
    rescan();
    expect(sibling.group).toBe(pci.group);
    expect(group.status()).toBe(IN_CONTAINER);
    expect(group.tryGetDevice(sibling.bdf)).toFailWith('ENODEV');
    bindTo(sibling, 'vfio-pci');
    expect(openDevice(group, sibling.bdf).config.read16(2)).toBe(sibling.device);
    expect(group.status()).toBe(IN_CONTAINER);
  },
);

test(
  'group.viability.hot-added',
  'a device that a driver of the host takes as it is added makes its group not viable',
  {
    covers: [VFIO_GROUP_GET_STATUS, VFIO_GROUP_SET_CONTAINER.fails('EPERM')],
    source: [...SOURCE, 'drivers/iommu/iommu.c iommu_device_use_default_domain()'],
    device: 'bridge-child-a',
    uses: ['bridge-child-b', 'bridge'],
    needs: [OWN_MACHINE, kernelModule('e1000')],
  },
  ({ bound, defer, emptyContainer, openGroup }) => {
    unbind(functionInRole('bridge')!);
    loadModule('e1000');
    const sibling = bound('bridge-child-b');
    defer(() => unbind(sibling));
    defer(rescan);
    removeFunction(sibling);
    const group = openGroup();
    expect(group.status()).toBe(VFIO_GROUP_FLAGS_VIABLE);
    rescanForDrivers();
    expect(sibling.driver).toBe('e1000');
    expect(group.status()).toBe(0);
    const container = emptyContainer();
    expect(group.trySetContainer(container)).toFailWith('EPERM');
    unbind(sibling);
    expect(group.status()).toBe(VFIO_GROUP_FLAGS_VIABLE);
    expect(group.trySetContainer(container)).toSucceed(0);
  },
);

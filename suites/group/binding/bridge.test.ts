import {
  OWN_MACHINE,
  VFIO_GROUP_FLAGS_CONTAINER_SET,
  VFIO_GROUP_FLAGS_VIABLE,
  VFIO_GROUP_GET_DEVICE_FD,
  VFIO_GROUP_SET_CONTAINER,
  bindAnew,
  bindTo,
  expect,
  functionInRole,
  groupMembers,
  hasGroupNode,
  kernelModule,
  loadModule,
  test,
  tryWriteAttribute,
  unbind,
  vfioDevName,
  type PciFunction,
} from '../../../harness/testing/index.ts';

const SOURCE = ['Documentation/driver-api/vfio.rst', 'drivers/iommu/iommu.c pci_device_group()'];
const IN_CONTAINER = VFIO_GROUP_FLAGS_VIABLE | VFIO_GROUP_FLAGS_CONTAINER_SET;
const BEHIND_BRIDGE = {
  device: 'bridge-child-a',
  uses: ['bridge-child-b'],
  needs: [OWN_MACHINE],
};

/** The bridge of the group, without the hotplug driver that would make the group not viable. */
function freedBridge(): PciFunction {
  const bridge = functionInRole('bridge')!;
  unbind(bridge);
  return bridge;
}

test(
  'group.bridge.members',
  'a conventional bridge and all devices behind it are one group',
  { source: SOURCE, ...BEHIND_BRIDGE },
  ({ bound, pci }) => {
    const bridge = freedBridge();
    const sibling = bound('bridge-child-b');
    const members = groupMembers(pci.group!).map(({ bdf }) => bdf);
    expect(members).toEqual([bridge.bdf, pci.bdf, sibling.bdf].sort());
  },
);

test(
  'group.bridge.viable',
  'a group is viable whose bridge has no driver, and gives each of its devices',
  {
    covers: [VFIO_GROUP_SET_CONTAINER, VFIO_GROUP_GET_DEVICE_FD],
    source: SOURCE,
    ...BEHIND_BRIDGE,
  },
  ({ bound, openGroup, containerWith, openDevice, pci }) => {
    const bridge = freedBridge();
    const sibling = bound('bridge-child-b');
    const group = openGroup();
    expect(group.status()).toBe(VFIO_GROUP_FLAGS_VIABLE);
    containerWith(group);
    for (const child of [pci, sibling]) {
      expect(openDevice(group, child.bdf).config.read16(2)).toBe(child.device);
    }
    expect(group.tryGetDevice(bridge.bdf)).toFailWith('ENODEV');
  },
);

test(
  'group.bridge.refused',
  'vfio-pci takes no bridge',
  {
    source: 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_core_register_device()',
    provokes: [/probe (with driver vfio-pci|of .*) failed with error -22/],
    ...BEHIND_BRIDGE,
  },
  ({ openGroup, defer, pci }) => {
    const bridge = freedBridge();
    const group = openGroup();
    tryWriteAttribute(`${bridge.path}/driver_override`, 'vfio-pci');
    defer(() => void tryWriteAttribute(`${bridge.path}/driver_override`, '\n'));
    expect(tryWriteAttribute('/sys/bus/pci/drivers/vfio-pci/bind', bridge.bdf)).toFailWith(
      'EINVAL',
    );
    expect(bridge.driver).toBe(null);
    expect(group.status()).toBe(VFIO_GROUP_FLAGS_VIABLE);
    // Each attempt gives back what it had taken: the next device gets the index that is free.
    bindAnew(pci, 'vfio-pci');
    const index = vfioDevName(pci);
    unbind(pci);
    for (let again = 0; again < 3; again++) {
      expect(tryWriteAttribute('/sys/bus/pci/drivers/vfio-pci/bind', bridge.bdf)).toFailWith(
        'EINVAL',
      );
    }
    bindTo(pci, 'vfio-pci');
    expect(vfioDevName(pci)).toBe(index);
  },
);

test(
  'group.bridge.one-child',
  'one child of a bridge on VFIO is enough, its sibling without a driver is no obstacle',
  { covers: [VFIO_GROUP_GET_DEVICE_FD.fails('ENODEV')], source: SOURCE, ...BEHIND_BRIDGE },
  ({ bound, openGroup, containerWith, openDevice, pci }) => {
    freedBridge();
    const sibling = bound('bridge-child-b');
    unbind(sibling);
    expect(hasGroupNode(pci.group!)).toBe(true);
    const group = openGroup();
    containerWith(group);
    const device = openDevice(group);
    expect(device.config.read16(0)).toBe(pci.vendor);
    expect(group.tryGetDevice(sibling.bdf)).toFailWith('ENODEV');
    bindTo(sibling, 'vfio-pci');
    expect(openDevice(group, sibling.bdf).config.read16(0)).toBe(sibling.vendor);
    expect(group.status()).toBe(IN_CONTAINER);
  },
);

test(
  'group.bridge.child-on-host-driver',
  'a child of the bridge on a driver of the host makes the group not viable',
  {
    covers: [VFIO_GROUP_SET_CONTAINER.fails('EPERM')],
    source: SOURCE,
    ...BEHIND_BRIDGE,
    needs: [OWN_MACHINE, kernelModule('e1000')],
  },
  ({ bound, openGroup, emptyContainer }) => {
    freedBridge();
    const sibling = bound('bridge-child-b');
    loadModule('e1000');
    bindTo(sibling, 'e1000');
    const group = openGroup();
    expect(group.status()).toBe(0);
    expect(group.trySetContainer(emptyContainer())).toFailWith('EPERM');
    bindTo(sibling, 'vfio-pci');
    expect(group.status()).toBe(VFIO_GROUP_FLAGS_VIABLE);
    expect(group.trySetContainer(emptyContainer())).toSucceed(0);
  },
);

test(
  'group.bridge.port-on-its-driver',
  'a port in the group keeps its driver, which does no DMA: the group is viable, the port is not for VFIO',
  {
    covers: [VFIO_GROUP_SET_CONTAINER, VFIO_GROUP_GET_DEVICE_FD.fails('ENODEV')],
    source: [...SOURCE, 'drivers/pci/pcie/portdrv.c pcie_portdriver (driver_managed_dma)'],
    device: 'switch-edu-a',
    uses: ['switch-port-a'],
    needs: [OWN_MACHINE],
  },
  ({ openGroup, containerWith, openDevice, pci }) => {
    const port = functionInRole('switch-port-a')!;
    expect(port.driver).toBe('pcieport');
    expect(groupMembers(pci.group!).map(({ bdf }) => bdf)).toEqual([port.bdf, pci.bdf].sort());
    const group = openGroup();
    expect(group.status()).toBe(VFIO_GROUP_FLAGS_VIABLE);
    containerWith(group);
    expect(group.status()).toBe(IN_CONTAINER);
    expect(group.tryGetDevice(port.bdf)).toFailWith('ENODEV');
    expect(openDevice(group).config.read16(0)).toBe(pci.vendor);
    expect(port.driver).toBe('pcieport');
  },
);

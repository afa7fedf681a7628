import {
  CLOSE_ORDERS,
  BEHIND_PORT,
  BackgroundWrite,
  Group,
  Irqs,
  OWN_MACHINE,
  VFIO_PCI_REQ_IRQ_INDEX,
  VFIO_TYPE1v2_IOMMU,
  ability,
  bindIfBack,
  eventually,
  expect,
  functionInRole,
  hasGroupNode,
  lockedMemory,
  plugIn,
  pressButton,
  removeFunction,
  remover,
  rescan,
  test,
} from '../../../harness/testing/index.ts';

const SOURCE = [
  'drivers/vfio/pci/vfio_pci.c vfio_pci_remove()',
  'drivers/vfio/vfio_main.c vfio_unregister_group_dev()',
];
const ANYBODY = /No device request channel registered, blocked until released by user/;
const RELAYING = /Relaying device request to user/;
/** Native hotplug gives the guest five seconds to object; a loaded machine takes longer. */
const UNPLUGGED = 40_000;

/** Binds the function in `role` and opens its group once, as a new user would. */
function useAgain(role: string): void {
  expect(eventually(() => bindIfBack(role))).toBe(true);
  const pci = functionInRole(role)!;
  const group = Group.open(pci.group!);
  group.close();
}

test(
  'group.remove.idle',
  'a device that nobody has open is removed at once, and is found and usable after a rescan',
  { source: SOURCE, device: 'edu-rp', needs: [OWN_MACHINE] },
  ({ pci, defer }) => {
    const { group } = pci;
    defer(rescan);
    removeFunction(pci);
    expect(pci.exists).toBe(false);
    expect(hasGroupNode(group!)).toBe(false);
    rescan();
    expect(pci.exists).toBe(true);
    useAgain('edu-rp');
  },
);

test(
  'group.remove.open',
  'removing an open device asks its user for it and waits for the close',
  { source: SOURCE, device: 'edu-rp', needs: [OWN_MACHINE], provokes: [RELAYING] },
  (context) => {
    const writer = remover(context);
    const { container, group, device, eventfd, memory, pci } = context;
    const pages = memory({ size: 4096, kind: '4k' });
    const before = lockedMemory();
    container.mapDma({ iova: 0n, vaddr: pages.address, size: 4096n });
    const signal = eventfd();
    new Irqs(device, VFIO_PCI_REQ_IRQ_INDEX).enable([signal]);
    const removing = new BackgroundWrite(writer, `${pci.path}/remove`, '1');
    expect(signal.soon()).toBe(1);
    expect(removing.blocks()).toBe(true);
    expect(device.config.read16(0)).toBe(pci.vendor);
    device.close();
    expect(removing.ends()).toBe(true);
    expect(pci.exists).toBe(false);
    expect(group.tryGetStatus()).toFailWith('ENODEV');
    expect(group.tryGetDevice(pci.bdf)).toFailWith('ENODEV');
    expect(container.trySetIommu(VFIO_TYPE1v2_IOMMU)).toFailWith('EINVAL');
    expect(lockedMemory()).toEqual(before);
    rescan();
    useAgain('edu-rp');
  },
);

for (const order of CLOSE_ORDERS) {
  test(
    `group.remove.close-order.${order.join('-')}`,
    'a removal ends with the close of the device, and what is open longer has lost it',
    { source: SOURCE, device: 'edu-rp', needs: [OWN_MACHINE], provokes: [ANYBODY] },
    (context) => {
      const writer = remover(context);
      const { container, group, device, memory, pci } = context;
      const pages = memory({ size: 4096, kind: '4k' });
      const before = lockedMemory();
      container.mapDma({ iova: 0n, vaddr: pages.address, size: 4096n });
      const removing = new BackgroundWrite(writer, `${pci.path}/remove`, '1');
      const parts = { container, group, device };
      const open = new Set<string>(order);
      for (const name of order) {
        expect(removing.blocks()).toBe(open.has('device'));
        parts[name].close();
        open.delete(name);
        if (open.has('device')) {
          expect(device.config.read16(0)).toBe(pci.vendor);
          continue;
        }
        expect(removing.ends()).toBe(true);
        expect(pci.exists).toBe(false);
        expect(lockedMemory()).toEqual(before);
        if (open.has('group')) expect(group.tryGetStatus()).toFailWith('ENODEV');
        if (open.has('container')) {
          expect(container.trySetIommu(VFIO_TYPE1v2_IOMMU)).toFailWith('EINVAL');
        }
      }
      rescan();
      useAgain('edu-rp');
    },
  );
}

test(
  'group.remove.bus-above',
  'removing the port above an open device waits for the device as well',
  { source: SOURCE, device: 'edu-rp', needs: [OWN_MACHINE, BEHIND_PORT], provokes: [RELAYING] },
  (context) => {
    const writer = remover(context);
    const { device, eventfd, pci } = context;
    const signal = eventfd();
    new Irqs(device, VFIO_PCI_REQ_IRQ_INDEX).enable([signal]);
    const port = pci.parent!;
    const removing = new BackgroundWrite(writer, `${port.path}/remove`, '1');
    expect(signal.soon()).toBe(1);
    expect(removing.blocks()).toBe(true);
    device.close();
    expect(removing.ends()).toBe(true);
    expect(port.exists).toBe(false);
    rescan();
    expect(functionInRole('edu-rp')).not.toBe(null);
    useAgain('edu-rp');
  },
);

test(
  'group.unplug.open',
  'unplugging an open device asks its user for it, and the device goes with the close',
  {
    source: SOURCE,
    device: 'hotplug',
    needs: [OWN_MACHINE, ability('device_del')],
    provokes: [RELAYING],
    timeoutMs: 120_000,
  },
  ({ defer, container, group, device, eventfd, memory, pci }) => {
    const pages = memory({ size: 4096, kind: '4k' });
    const before = lockedMemory();
    container.mapDma({ iova: 0n, vaddr: pages.address, size: 4096n });
    const signal = eventfd();
    new Irqs(device, VFIO_PCI_REQ_IRQ_INDEX).enable([signal]);
    pressButton('hotplug');
    defer(() => plugIn('hotplug'));
    defer(() => {
      device.close();
      eventually(() => !pci.exists, UNPLUGGED);
    });
    expect(signal.wait(UNPLUGGED)).toBeGreaterThan(0);
    expect(device.config.read16(0)).toBe(pci.vendor);
    expect(pci.exists).toBe(true);
    device.close();
    expect(eventually(() => !pci.exists, UNPLUGGED)).toBe(true);
    expect(group.tryGetStatus()).toFailWith('ENODEV');
    expect(lockedMemory()).toEqual(before);
  },
);

test(
  'group.unplug.open-group',
  'a device is unplugged while only its group is open, and the group is dead afterwards',
  {
    source: SOURCE,
    device: 'hotplug',
    needs: [OWN_MACHINE, ability('device_del')],
    timeoutMs: 120_000,
  },
  ({ defer, container, group, pci }) => {
    pressButton('hotplug');
    defer(() => plugIn('hotplug'));
    expect(eventually(() => !pci.exists, UNPLUGGED)).toBe(true);
    expect(group.tryGetStatus()).toFailWith('ENODEV');
    expect(container.trySetIommu(VFIO_TYPE1v2_IOMMU)).toFailWith('EINVAL');
    plugIn('hotplug');
    useAgain('hotplug');
  },
);

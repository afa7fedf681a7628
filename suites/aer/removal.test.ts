import {
  BackgroundWrite,
  Edu,
  Group,
  Igb,
  Irqs,
  KernelErrors,
  OWN_MACHINE,
  PCI_CAP_ID_PM,
  PCI_ERR_UNC_COMP_ABORT,
  PCI_PM_CTRL,
  REMAPPED_DMA,
  Recoveries,
  VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY,
  VFIO_DEVICE_FEATURE_SET,
  VFIO_PCI_ERR_IRQ_INDEX,
  VFIO_PCI_INTX_IRQ_INDEX,
  VFIO_PCI_MSIX_IRQ_INDEX,
  VFIO_PCI_REQ_IRQ_INDEX,
  ability,
  bindTo,
  enableDevice,
  eventually,
  expect,
  findCapability,
  functionInRole,
  hasGroupNode,
  AER_INJECT,
  lockedMemory,
  plugIn,
  pressButton,
  remover,
  rescan,
  slotPower,
  startUnbinding,
  test,
  type Device,
  type TestContext,
} from '../../harness/testing/index.ts';

const SOURCE = [
  'drivers/vfio/pci/vfio_pci.c vfio_pci_remove()',
  'drivers/vfio/pci/vfio_pci_core.c vfio_pci_core_request()',
  'drivers/vfio/vfio_main.c vfio_unregister_group_dev()',
];
const REQUESTS = [
  /Relaying device request to user/,
  /No device request channel registered, blocked until released by user/,
];
const NEEDS = { source: SOURCE, needs: [OWN_MACHINE], provokes: REQUESTS };
const QUIET = 50;
const UNPLUGGED = 60_000;

/** Opens the function in `role` as a new user and looks at its config space. */
function useAgain(context: TestContext, role: string): Device {
  const pci = functionInRole(role)!;
  bindTo(pci, 'vfio-pci');
  const group = Group.open(pci.group!);
  context.defer(() => group.close());
  const container = context.emptyContainer();
  group.setContainer(container);
  container.setIommu(3);
  const device = context.openDevice(group, pci.bdf);
  expect(device.config.read16(0)).toBe(pci.vendor);
  return device;
}

/** What the user of a device does before it is removed; returns what it does while the removal waits. */
type Use = (context: TestContext) => () => void;

/** Removes the open device: its user is asked, gives it up, and the next finds it again. */
function removeAndReturn(context: TestContext, use: Use): Device {
  const writer = remover(context);
  const whileWaiting = use(context);
  const { device, eventfd, pci, role } = context;
  const request = eventfd();
  new Irqs(device, VFIO_PCI_REQ_IRQ_INDEX).enable([request]);
  const group = pci.group!;
  const removing = new BackgroundWrite(writer, `${pci.path}/remove`, '1');
  expect(request.soon()).toBe(1);
  expect(removing.blocks()).toBe(true);
  expect(device.config.read16(0), 'the fd works until it is closed').toBe(pci.vendor);
  whileWaiting();
  device.close();
  expect(removing.answer()).toSucceed(1);
  expect(pci.exists).toBe(false);
  expect(hasGroupNode(group)).toBe(false);
  rescan();
  expect(request.take()).toBe(0);
  return useAgain(context, role);
}

test(
  'aer.removal.open',
  'a device that is to be removed is asked for, works until it is closed, and is as new after a rescan',
  {
    ...NEEDS,
    devices: [
      'e1000e',
      'nvme',
      'virtio-net',
      'virtio-rng',
      'xhci',
      'vmxnet3',
      'pci-testdev',
      'ahci',
    ],
  },
  (context) => {
    let header: Buffer | undefined;
    const next = removeAndReturn(context, ({ device }) => {
      header = device.config.read(0, 16);
      return () => {};
    });
    expect(next.config.read(0, 16)).toEqual(header);
  },
);

/** What the user may be in the middle of. */
const STATES: Record<string, [title: string, enter: Use]> = {
  interrupts: [
    'with interrupts enabled, which are delivered until the close',
    (context) => {
      const { device, eventfd } = context;
      const vector = eventfd();
      new Irqs(device, VFIO_PCI_MSIX_IRQ_INDEX).enable([vector]);
      const nic = new Igb(device);
      context.defer(() => nic.unmap());
      return () => {
        nic.raise(0);
        expect(vector.soon()).toBe(1);
        nic.unmap();
      };
    },
  ],
  intx: [
    'with INTx enabled and masked',
    ({ device, eventfd }) => {
      const intx = new Irqs(device, VFIO_PCI_INTX_IRQ_INDEX);
      intx.enable([eventfd()]);
      intx.mask();
      return () => {};
    },
  ],
  'dma-mapped': [
    'with memory mapped for DMA, which stays mapped until the group is closed',
    ({ container, memory }) => {
      const pages = memory({ size: 8192, kind: '4k' });
      container.mapDma({ iova: 0n, vaddr: pages.address, size: 8192n });
      return () => expect(container.unmapDma({ iova: 0n, size: 8192n })).toBe(8192n);
    },
  ],
  d3hot: [
    'in D3hot',
    ({ device }) => {
      const control = findCapability(device.config, PCI_CAP_ID_PM)! + PCI_PM_CTRL;
      device.config.write16(control, 3);
      return () => expect(device.config.read16(control) & 3).toBe(3);
    },
  ],
  'low-power': [
    'in the low power state of VFIO_DEVICE_FEATURE',
    ({ device, pci }) => {
      const feature = VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY;
      expect(device.tryFeature(feature)).toSucceed();
      eventually(() => pci.attribute('power/runtime_status') === 'suspended', 1000);
      return () => {};
    },
  ],
  'error-eventfd': [
    'with an eventfd on its errors',
    ({ device, eventfd }) => {
      const signal = eventfd();
      new Irqs(device, VFIO_PCI_ERR_IRQ_INDEX).enable([signal]);
      return () => expect(signal.take()).toBe(0);
    },
  ],
};

for (const [state, [title, enter]] of Object.entries(STATES)) {
  test(
    `aer.removal.${state}`,
    `a device is removed ${title}, and the next user finds it usable`,
    { ...NEEDS, device: 'igb' },
    (context) => {
      const locked = lockedMemory();
      const next = removeAndReturn(context, enter);
      enableDevice(next);
      expect(next.region(0).read32(8)).not.toBe(0xffff_ffff);
      next.reset();
      expect(lockedMemory().VmPin).toBe(locked.VmPin);
    },
  );
}

test(
  'aer.removal.error-meanwhile',
  'an error of a device that is being removed waits for the removal; its user is not told any more',
  {
    ...NEEDS,
    device: 'igb',
    needs: [OWN_MACHINE, AER_INJECT],
    source: [...SOURCE, 'drivers/pci/pcie/err.c report_error_detected()'],
  },
  (context) => {
    const writer = context.actor();
    const { device, eventfd, pci } = context;
    const [request, error] = [eventfd(), eventfd()];
    new Irqs(device, VFIO_PCI_REQ_IRQ_INDEX).enable([request]);
    new Irqs(device, VFIO_PCI_ERR_IRQ_INDEX).enable([error]);
    const recoveries = new Recoveries(context);
    const errors = new KernelErrors(context, pci);
    const unbinding = startUnbinding(writer, pci);
    expect(request.soon()).toBe(1);
    errors.inject({ uncorrectable: PCI_ERR_UNC_COMP_ABORT });
    expect(recoveries.tryNext(QUIET), 'the device is locked').toBe(null);
    expect(device.config.read16(0)).toBe(pci.vendor);
    device.close();
    expect(unbinding.ends()).toBe(true);
    expect(recoveries.next().outcome, 'no driver any more').toBe('failed');
    expect(error.take()).toBe(0);
    bindTo(pci, 'vfio-pci');
    errors.inject({ uncorrectable: PCI_ERR_UNC_COMP_ABORT });
    expect(recoveries.next().outcome).toBe('successful');
    expect(error.take()).toBe(0);
  },
);

const HOTPLUG = {
  ...NEEDS,
  device: 'hotplug',
  needs: [OWN_MACHINE, ability('device_del'), ability('device_add')],
  timeoutMs: 240_000,
};

test(
  'aer.unplug.idle',
  'a device that VFIO has but nobody opened is unplugged, and usable when it is plugged again',
  HOTPLUG,
  (context) => {
    const { pci } = context;
    context.defer(() => plugIn('hotplug'));
    pressButton('hotplug');
    expect(eventually(() => !pci.exists, UNPLUGGED)).toBe(true);
    plugIn('hotplug');
    const edu = new Edu(useAgain(context, 'hotplug'));
    expect(edu.identification()).toBe(0x0100_00ed);
    edu.unmap();
  },
);

test(
  'aer.unplug.busy',
  'unplugging a device with its BAR mapped, memory mapped and interrupts enabled waits for all of it',
  { ...HOTPLUG, needs: [...HOTPLUG.needs, REMAPPED_DMA] },
  (context) => {
    context.defer(() => plugIn('hotplug'));
    const { container, device, eventfd, memory, pci } = context;
    const pages = memory({ size: 8192, kind: '4k' });
    container.mapDma({ iova: 0n, vaddr: pages.address, size: 8192n });
    const [request, line] = [eventfd(), eventfd()];
    new Irqs(device, VFIO_PCI_REQ_IRQ_INDEX).enable([request]);
    new Irqs(device, VFIO_PCI_INTX_IRQ_INDEX).enable([line]);
    const edu = new Edu(device);
    context.defer(() => edu.unmap());
    pressButton('hotplug');
    expect(request.wait(UNPLUGGED)).toBe(1);
    edu.raise();
    expect(line.soon(), 'interrupts still work').toBe(1);
    pages.fill(3, 0, 4096);
    edu.readMemory(0n, 4096);
    edu.writeMemory(4096n, 4096);
    expect(pages.verify(3, 4096, 4096), 'DMA still works').toBe(-1);
    device.close();
    expect(pci.exists, 'the mapping of the BAR holds the device').toBe(true);
    expect(edu.identification()).toBe(0x0100_00ed);
    edu.unmap();
    expect(eventually(() => !pci.exists, UNPLUGGED)).toBe(true);
    expect(request.take()).toBe(0);
  },
);

test(
  'aer.slot-power.off',
  'switching off the power of a slot asks the user for the device and waits for the close',
  HOTPLUG,
  (context) => {
    const writer = context.actor();
    context.defer(() => plugIn('hotplug'));
    const { device, eventfd, pci } = context;
    const request = eventfd();
    new Irqs(device, VFIO_PCI_REQ_IRQ_INDEX).enable([request]);
    const power = slotPower(pci);
    expect(power, 'the slot has a power switch').not.toBe(null);
    const switching = new BackgroundWrite(writer, power!, '0');
    expect(request.wait(UNPLUGGED)).toBe(1);
    expect(switching.blocks()).toBe(true);
    expect(device.config.read16(0)).toBe(pci.vendor);
    device.close();
    expect(switching.answer(UNPLUGGED)).toSucceed(1);
    expect(pci.exists).toBe(false);
    plugIn('hotplug');
    const edu = new Edu(useAgain(context, 'hotplug'));
    expect(edu.liveness(0x1234)).toBe(0xffff_edcb);
    edu.unmap();
  },
);

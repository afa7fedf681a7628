import {
  OWN_MACHINE,
  PCI_VENDOR_ID,
  VFIO_DEVICE_FEATURE,
  VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY,
  VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP,
  VFIO_DEVICE_FEATURE_LOW_POWER_EXIT,
  VFIO_DEVICE_FEATURE_SET,
  enableDevice,
  eventually,
  expect,
  keepAwake,
  runtimeStatus,
  scratchRegisters,
  test,
  tryHotReset,
  type Answer,
  type Device,
  type TestContext,
} from '../../../harness/testing/index.ts';

const ENTRY = 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_core_pm_entry()';
const WAKEUP = 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_core_pm_entry_with_wakeup()';
const EXIT = 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_core_pm_exit()';
const RESUME = 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_core_runtime_resume()';
const HOT_RESET = 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_dev_set_hot_reset()';
const DISABLE = 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_core_disable()';
const COVERS = [
  VFIO_DEVICE_FEATURE.value('VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY'),
  VFIO_DEVICE_FEATURE.value('VFIO_DEVICE_FEATURE_LOW_POWER_EXIT'),
];
const COVERS_WAKEUP = [
  VFIO_DEVICE_FEATURE.value('VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP'),
];
const DEVICES = ['edu', 'igb', 'nvme', 'e1000e'];
/** Two functions that are reset together but are two groups. */
const SIBLINGS = { device: 'igb-multi-0', uses: ['igb-multi-1'] };

function tryEnter(device: Device): Answer<Buffer> {
  return device.tryFeature(VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY);
}

function tryEnterWithWakeup(device: Device, fd: number): Answer<Buffer> {
  const data = Buffer.alloc(8);
  data.writeInt32LE(fd);
  return device.tryFeature(
    VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP,
    data,
  );
}

function tryExit(device: Device): Answer<Buffer> {
  return device.tryFeature(VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_LOW_POWER_EXIT);
}

test(
  'device.low-power.mapping',
  'in the low power state a mapping is not usable, until the state is left',
  { covers: COVERS, source: [ENTRY, EXIT], devices: DEVICES },
  ({ device, map, role }) => {
    enableDevice(device);
    const { region, offset } = scratchRegisters(role);
    const mapping = map(device.region(region));
    mapping.store32(offset, 0x3131_3000);
    expect(tryEnter(device)).toSucceed(0);
    expect(mapping.tryLoad(32, offset)).toFailWith('EIO');
    expect(mapping.tryStore(32, offset, 0)).toFailWith('EIO');
    expect(tryExit(device)).toSucceed(0);
    expect(mapping.tryLoad(32, offset)).toSucceed();
    mapping.store32(offset, 0x3232_3000);
    expect(mapping.load32(offset)).toBe(0x3232_3000);
  },
);

test(
  'device.low-power.suspends',
  'in the low power state the device is suspended, and afterwards awake',
  { covers: COVERS, source: ENTRY, devices: DEVICES },
  ({ device, pci }) => {
    expect(runtimeStatus(pci)).toBe('active');
    expect(tryEnter(device)).toSucceed(0);
    expect(eventually(() => runtimeStatus(pci) === 'suspended')).toBe(true);
    expect(tryExit(device)).toSucceed(0);
    expect(runtimeStatus(pci)).toBe('active');
    expect(eventually(() => runtimeStatus(pci) === 'suspended', 50)).toBe(false);
  },
);

test(
  'device.low-power.access',
  'an access through the fd wakes the device for its time only: the state is not left',
  {
    covers: COVERS,
    source: 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_rw()',
    devices: ['edu', 'igb'],
  },
  ({ device, pci, map, role }) => {
    enableDevice(device);
    const { region: index, offset } = scratchRegisters(role);
    const region = device.region(index);
    const mapping = map(region);
    region.write32(offset, 0x2525_0000);
    expect(tryEnter(device)).toSucceed(0);
    expect(eventually(() => runtimeStatus(pci) === 'suspended')).toBe(true);
    expect(device.config.read16(PCI_VENDOR_ID)).toBe(pci.vendor);
    region.write32(offset, 0x2626_0000);
    expect(region.read32(offset)).toBe(0x2626_0000);
    expect(device.info().num_regions).toBe(9);
    expect(mapping.tryLoad(32, offset)).toFailWith('EIO');
    expect(eventually(() => runtimeStatus(pci) === 'suspended')).toBe(true);
    expect(tryEnter(device)).toFailWith('EINVAL');
    expect(tryExit(device)).toSucceed(0);
    expect(mapping.load32(offset)).toBe(0x2626_0000);
  },
);

test(
  'device.low-power.twice',
  'the low power state cannot be entered twice, and leaving it is always possible',
  {
    covers: [...COVERS, VFIO_DEVICE_FEATURE.fails('EINVAL')],
    source: [ENTRY, EXIT],
    devices: ['edu', 'igb'],
  },
  ({ device, eventfd }) => {
    const wakeup = eventfd();
    expect(tryExit(device)).toSucceed(0);
    expect(tryEnter(device)).toSucceed(0);
    expect(tryEnter(device)).toFailWith('EINVAL');
    expect(tryEnterWithWakeup(device, wakeup.fd)).toFailWith('EINVAL');
    expect(tryExit(device)).toSucceed(0);
    expect(tryExit(device)).toSucceed(0);
    expect(tryEnter(device)).toSucceed(0);
    expect(tryExit(device)).toSucceed(0);
    expect(wakeup.take()).toBe(0);
  },
);

test(
  'device.low-power.wakeup-fd',
  'the eventfd for wake-ups must be one',
  {
    covers: [
      ...COVERS_WAKEUP,
      VFIO_DEVICE_FEATURE.fails('EBADF'),
      VFIO_DEVICE_FEATURE.fails('EINVAL'),
    ],
    source: WAKEUP,
  },
  ({ device, eventfd }) => {
    for (const fd of [-1, -2, -2147483648]) {
      expect(tryEnterWithWakeup(device, fd), `fd ${fd}`).toFailWith('EINVAL');
    }
    expect(tryEnterWithWakeup(device, 9999)).toFailWith('EBADF');
    expect(tryEnterWithWakeup(device, device.fd)).toFailWith('EINVAL');
    // None of them entered the state.
    expect(tryEnterWithWakeup(device, eventfd().fd)).toSucceed(0);
    expect(tryExit(device)).toSucceed(0);
  },
);

for (const [name, wake] of [
  ['read', (device: Device) => device.config.read16(PCI_VENDOR_ID)],
  ['write', (device: Device) => device.config.write8(0x3c, 1)],
  ['ioctl', (device: Device) => device.info()],
] as const) {
  test(
    `device.low-power.wakeup.${name}`,
    `a ${name} of a suspended device signals the wake-up once and leaves the low power state`,
    { covers: COVERS_WAKEUP, source: RESUME, devices: ['edu', 'igb'] },
    ({ device, pci, map, eventfd, role }) => {
      enableDevice(device);
      const { region, offset } = scratchRegisters(role);
      const mapping = map(device.region(region));
      const wakeup = eventfd();
      expect(tryEnterWithWakeup(device, wakeup.fd)).toSucceed(0);
      expect(mapping.tryLoad(32, offset)).toFailWith('EIO');
      expect(eventually(() => runtimeStatus(pci) === 'suspended')).toBe(true);
      expect(wakeup.take()).toBe(0);
      wake(device);
      expect(wakeup.soon()).toBe(1);
      expect(mapping.tryLoad(32, offset)).toSucceed();
      expect(runtimeStatus(pci)).toBe('active');
      wake(device);
      expect(eventually(() => runtimeStatus(pci) === 'suspended', 50)).toBe(false);
      expect(wakeup.take()).toBe(0);
      // Left it is: the next entry is a new one.
      expect(tryEnter(device)).toSucceed(0);
      expect(tryExit(device)).toSucceed(0);
    },
  );
}

test(
  'device.low-power.wakeup.exit',
  'leaving the low power state by the feature wakes a suspended device and signals it too',
  { covers: COVERS_WAKEUP, source: [EXIT, RESUME], device: 'igb' },
  ({ device, pci, eventfd }) => {
    const wakeup = eventfd();
    expect(tryEnterWithWakeup(device, wakeup.fd)).toSucceed(0);
    expect(eventually(() => runtimeStatus(pci) === 'suspended')).toBe(true);
    expect(tryExit(device)).toSucceed(0);
    expect(wakeup.soon()).toBe(1);
    expect(runtimeStatus(pci)).toBe('active');
    expect(tryExit(device)).toSucceed(0);
    expect(wakeup.take()).toBe(0);
  },
);

test(
  'device.low-power.wakeup.never-asleep',
  'a device that something else keeps awake wakes nobody: the low power state lasts until it is left',
  {
    covers: COVERS_WAKEUP,
    source: [RESUME, EXIT],
    devices: ['edu', 'igb'],
    needs: [OWN_MACHINE],
  },
  ({ device, pci, map, eventfd, role, defer }) => {
    enableDevice(device);
    const { region, offset } = scratchRegisters(role);
    const mapping = map(device.region(region));
    const wakeup = eventfd();
    defer(keepAwake(pci));
    expect(tryEnterWithWakeup(device, wakeup.fd)).toSucceed(0);
    expect(device.config.read16(PCI_VENDOR_ID)).toBe(pci.vendor);
    expect(device.info().num_regions).toBe(9);
    expect(mapping.tryLoad(32, offset)).toFailWith('EIO');
    expect(tryEnter(device)).toFailWith('EINVAL');
    expect(tryExit(device)).toSucceed(0);
    expect(mapping.tryLoad(32, offset)).toSucceed();
    expect(wakeup.quiet()).toBe(0);
  },
);

test(
  'device.low-power.close',
  'closing the device leaves the low power state: the next user finds it awake and usable',
  { covers: COVERS, source: DISABLE, devices: ['edu', 'igb'] },
  ({ group, pci, openDevice, eventfd, map, role }) => {
    const wakeup = eventfd();
    for (const enter of [tryEnter, (device: Device) => tryEnterWithWakeup(device, wakeup.fd)]) {
      const first = openDevice(group, pci.bdf);
      expect(enter(first)).toSucceed(0);
      expect(eventually(() => runtimeStatus(pci) === 'suspended')).toBe(true);
      first.close();
      expect(eventually(() => runtimeStatus(pci) === 'suspended')).toBe(true);
      const second = openDevice(group, pci.bdf);
      expect(runtimeStatus(pci)).toBe('active');
      enableDevice(second);
      const { region, offset } = scratchRegisters(role);
      const mapping = map(second.region(region));
      expect(mapping.tryLoad(32, offset)).toSucceed();
      mapping.unmap();
      expect(tryEnter(second)).toSucceed(0);
      expect(tryExit(second)).toSucceed(0);
      second.close();
    }
  },
);

test(
  'device.low-power.second-fd',
  'the state belongs to the device: what one fd entered another leaves',
  { covers: COVERS, source: ENTRY, device: 'edu' },
  ({ device, group, openDevice }) => {
    const second = openDevice(group);
    expect(tryEnter(device)).toSucceed(0);
    expect(tryEnter(second)).toFailWith('EINVAL');
    expect(tryExit(second)).toSucceed(0);
    expect(tryEnter(device)).toSucceed(0);
    expect(tryExit(device)).toSucceed(0);
  },
);

test(
  'device.low-power.reset',
  'a reset works in the low power state, and does not leave it',
  {
    covers: COVERS,
    source: 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_ioctl_reset()',
    device: 'igb',
  },
  ({ device, map }) => {
    enableDevice(device);
    const { offset } = scratchRegisters('igb');
    const mapping = map(device.region(0));
    mapping.store32(offset, 0x99);
    expect(tryEnter(device)).toSucceed(0);
    expect(device.tryReset()).toSucceed(0);
    expect(mapping.tryLoad(32, offset)).toFailWith('EIO');
    expect(tryEnter(device)).toFailWith('EINVAL');
    expect(tryExit(device)).toSucceed(0);
    expect(mapping.load32(offset)).toBe(0);
  },
);

/** Two functions behind one port; the second is asleep in the low power state that `enter` puts it in. */
function sleepingSibling(context: TestContext, enter: (device: Device) => Answer<Buffer>) {
  const { device, group, map, openRole } = context;
  const sibling = openRole('igb-multi-1');
  const { offset } = scratchRegisters('igb');
  enableDevice(device);
  enableDevice(sibling.device);
  const mapping = map(sibling.device.region(0));
  mapping.store32(offset, 0x4747);
  expect(enter(sibling.device)).toSucceed(0);
  const asleep = () => runtimeStatus(sibling.pci) === 'suspended';
  expect(eventually(asleep)).toBe(true);
  return {
    sibling: sibling.device,
    asleep,
    tryRegister: () => mapping.tryLoad(32, offset),
    register: () => mapping.load32(offset),
    tryReset: (...others: number[]) => tryHotReset(device, [group.fd, ...others]),
    theirs: sibling.group.fd,
  };
}

test(
  'device.low-power.hot-reset',
  'a hot reset wakes a function in the low power state for its time only, whether it is refused or not',
  { covers: COVERS, source: HOT_RESET, ...SIBLINGS },
  (context) => {
    const { sibling, asleep, tryRegister, register, tryReset, theirs } = sleepingSibling(
      context,
      tryEnter,
    );
    for (let round = 0; round < 2; round++) {
      expect(tryReset()).toFailWith('EINVAL');
      expect(eventually(asleep), 'refused').toBe(true);
      expect(tryReset(theirs)).toSucceed(0);
      expect(eventually(asleep), 'reset').toBe(true);
      expect(tryRegister()).toFailWith('EIO');
      expect(tryEnter(sibling)).toFailWith('EINVAL');
    }
    expect(tryExit(sibling)).toSucceed(0);
    expect(register()).toBe(0);
  },
);

test(
  'device.low-power.hot-reset.wakeup',
  'a hot reset signals the wake-up of a function that sleeps, which leaves the low power state',
  { covers: COVERS_WAKEUP, source: [HOT_RESET, RESUME], ...SIBLINGS },
  (context) => {
    const wakeup = context.eventfd();
    const { sibling, asleep, register, tryReset, theirs } = sleepingSibling(context, (device) =>
      tryEnterWithWakeup(device, wakeup.fd),
    );
    expect(wakeup.take()).toBe(0);
    expect(tryReset(theirs)).toSucceed(0);
    expect(wakeup.soon()).toBe(1);
    expect(register()).toBe(0);
    expect(eventually(asleep, 50)).toBe(false);
    expect(tryReset(theirs)).toSucceed(0);
    expect(wakeup.take()).toBe(0);
    expect(tryEnter(sibling)).toSucceed(0);
    expect(tryExit(sibling)).toSucceed(0);
  },
);

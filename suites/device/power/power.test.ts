import {
  PCI_CAP_ID_PM,
  PCI_COMMAND,
  enableDevice,
  eventually,
  expect,
  findCapability,
  runtimeStatus,
  scratchRegisters,
  setMemoryEnabled,
  test,
  tryHotReset,
  type Device,
} from '../../../harness/testing/index.ts';

const CONFIG = 'drivers/vfio/pci/vfio_pci_config.c vfio_pm_config_write()';
const STATE = 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_set_power_state()';
const ENABLE = 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_core_enable()';
const DISABLE = 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_core_disable()';
/** Devices with a power management capability; nvme keeps its state in D3hot, the others need not. */
const DEVICES = ['e1000e', 'igb', 'nvme'];
const PM_CONTROL = 4;
const D0 = 0;
const D3HOT = 3;

/** Offset of PMCSR (PCI Bus Power Management 1.2, 3.2.4). */
function control(device: Device): number {
  return findCapability(device.config, PCI_CAP_ID_PM)! + PM_CONTROL;
}

/** Asks for a power state as a guest does, and returns the one that is read back. */
function setPower(device: Device, state: number): number {
  const at = control(device);
  device.config.write16(at, (device.config.read16(at) & ~3) | state);
  return device.config.read16(at) & 3;
}

test(
  'device.power.d3hot',
  'a device sent to D3hot shows no memory, and all of it again in D0',
  {
    covers: [],
    source: [CONFIG, STATE, 'drivers/vfio/pci/vfio_pci_config.c __vfio_pci_memory_enabled()'],
    devices: DEVICES,
  },
  ({ device, map, role }) => {
    enableDevice(device);
    const { region: index, offset } = scratchRegisters(role);
    const region = device.region(index);
    const mapping = map(region);
    expect(mapping.tryLoad(32, offset)).toSucceed();
    expect(setPower(device, D3HOT)).toBe(D3HOT);
    for (const length of [1, 4, 8]) {
      expect(region.tryRead(offset, length)).toFailWith('EIO');
      expect(region.tryWrite(offset, Buffer.alloc(length))).toFailWith('EIO');
    }
    expect(mapping.tryLoad(32, offset)).toFailWith('EIO');
    expect(mapping.tryStore(32, offset, 0)).toFailWith('EIO');
    expect(setPower(device, D0)).toBe(D0);
    region.write32(offset, 0x4545_4000);
    expect([region.read32(offset), mapping.load32(offset)]).toEqual([0x4545_4000, 0x4545_4000]);
  },
);

test(
  'device.power.d3hot.config',
  'the configuration space stays readable in D3hot and is the same again in D0',
  { covers: [], source: STATE, devices: DEVICES },
  ({ device, pci }) => {
    enableDevice(device);
    device.config.write8(0x3c, 0x77);
    const fixed = (bytes: Buffer) => [...bytes.subarray(0, 6), ...bytes.subarray(8, 64)];
    const before = [fixed(device.config.read(0, 64)), fixed(pci.config())];
    for (let round = 0; round < 3; round++) {
      expect(setPower(device, D3HOT)).toBe(D3HOT);
      expect(device.config.read16(0)).toBe(pci.vendor);
      expect(setPower(device, D0)).toBe(D0);
      expect([fixed(device.config.read(0, 64)), fixed(pci.config())]).toEqual(before);
    }
  },
);

test(
  'device.power.d3hot.hardware',
  'the state that the user asks for is the one that the hardware is in',
  { covers: [], source: CONFIG, devices: DEVICES },
  ({ device, pci }) => {
    const at = control(device);
    const real = () => pci.config().readUInt16LE(at) & 3;
    expect(real()).toBe(D0);
    setPower(device, D3HOT);
    expect(real()).toBe(D3HOT);
    setPower(device, D0);
    expect(real()).toBe(D0);
  },
);

test(
  'device.power.d3hot.memory-bit',
  'memory that is disabled in D3hot stays disabled in D0, on a device that keeps its state',
  { covers: [], source: STATE, device: 'nvme' },
  ({ device, role }) => {
    enableDevice(device);
    const { region, offset } = scratchRegisters(role);
    setPower(device, D3HOT);
    setMemoryEnabled(device, false);
    setPower(device, D0);
    expect(device.config.read16(PCI_COMMAND) & 2).toBe(0);
    expect(device.region(region).tryRead(offset, 4)).toFailWith('EIO');
    setMemoryEnabled(device, true);
    expect(device.region(region).tryRead(offset, 4)).toSucceed(4);
  },
);

test(
  'device.power.d3hot.reset',
  'a reset wakes a device up from D3hot, with its configuration',
  {
    covers: [],
    source: 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_ioctl_reset(): vfio_pci_set_power_state()',
    fixes: ['26a17b12d7f3 (reset in D3hot loses config space)'],
    devices: DEVICES,
  },
  ({ device, role }) => {
    enableDevice(device);
    const { region, offset } = scratchRegisters(role);
    const command = device.config.read16(PCI_COMMAND);
    const bars = device.config.read(0x10, 24);
    setPower(device, D3HOT);
    expect(device.tryReset()).toSucceed(0);
    expect(device.config.read16(control(device)) & 3).toBe(D0);
    expect(device.config.read16(PCI_COMMAND)).toBe(command);
    expect(device.config.read(0x10, 24).equals(bars)).toBe(true);
    expect(device.region(region).tryRead(offset, 4)).toSucceed(4);
  },
);

test(
  'device.power.d3hot.hot-reset',
  'a hot reset wakes every function up, whatever state each was in',
  {
    covers: [],
    source:
      'drivers/vfio/pci/vfio_pci_core.c vfio_pci_dev_set_hot_reset(): vfio_pci_set_power_state()',
    device: 'igb-multi-0',
    uses: ['igb-multi-1'],
    risks: ['hot-reset'],
  },
  ({ device, group, openRole, pci }) => {
    const other = openRole('igb-multi-1');
    enableDevice(device);
    enableDevice(other.device);
    const real = () =>
      [pci, other.pci].map((one) => one.config().subarray(0x10, 0x28).toString('hex'));
    const bars = real();
    setPower(other.device, D3HOT);
    expect(tryHotReset(device, [group.fd, other.group.fd])).toSucceed(0);
    for (const one of [device, other.device]) {
      expect(one.config.read16(control(one)) & 3).toBe(D0);
      expect(one.region(0).tryRead(0, 4)).toSucceed(4);
    }
    expect(real()).toEqual(bars);
  },
);

test(
  'device.power.d3hot.close',
  'a device that its user left in D3hot is in order for the next one',
  { covers: [], source: `${DISABLE}: vfio_pci_set_power_state()`, devices: DEVICES },
  ({ group, pci, openDevice, role }) => {
    const first = openDevice(group, pci.bdf);
    enableDevice(first);
    const fixed = () => [...pci.config().subarray(8, 64)];
    const before = fixed();
    setPower(first, D3HOT);
    first.close();
    const second = openDevice(group, pci.bdf);
    expect(second.config.read16(control(second)) & 3).toBe(D0);
    expect(fixed()).toEqual(before);
    enableDevice(second);
    const { region, offset } = scratchRegisters(role);
    expect(second.region(region).tryRead(offset, 4)).toSucceed(4);
  },
);

test(
  'device.power.runtime',
  'a device sleeps while nobody has it open, and is awake while somebody has',
  { covers: [], source: [ENABLE, DISABLE], devices: ['edu', ...DEVICES] },
  ({ group, pci, openDevice }) => {
    expect(eventually(() => runtimeStatus(pci) === 'suspended')).toBe(true);
    const device = openDevice(group, pci.bdf);
    expect(runtimeStatus(pci)).toBe('active');
    const second = openDevice(group, pci.bdf);
    second.close();
    expect(eventually(() => runtimeStatus(pci) === 'suspended', 50)).toBe(false);
    device.close();
    expect(eventually(() => runtimeStatus(pci) === 'suspended')).toBe(true);
  },
);

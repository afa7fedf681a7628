import {
  ConfigPair,
  OWN_MACHINE,
  PCI_CACHE_LINE_SIZE,
  PCI_COMMAND,
  PCI_COMMAND_MEMORY,
  PCI_INTERRUPT_LINE,
  PCI_PM_CTRL,
  PCI_PM_CTRL_NO_SOFT_RESET,
  PCI_PM_CTRL_PME_ENABLE,
  PCI_PM_CTRL_PME_STATUS,
  PCI_PM_CTRL_STATE_MASK,
  PCI_PM_CAP_D1,
  PCI_PM_CAP_D2,
  PCI_PM_CAP_PME_MASK,
  PCI_PM_PMC,
  enableDevice,
  expect,
  keepAwake,
  setResetMethods,
  test,
  type TestContext,
} from '../../../harness/testing/index.ts';

const CONFIG = 'drivers/vfio/pci/vfio_pci_config.c';
const WRITE = `${CONFIG} vfio_pm_config_write()`;
const CORE = 'drivers/vfio/pci/vfio_pci_core.c';
const KINDS = ['e1000e', 'igb', 'nvme', 'virtio-net'];
/** A memory BAR of each. */
const BAR: Record<string, number> = { e1000e: 0, igb: 0, nvme: 0, 'virtio-net': 4, i82550: 0 };
const D3HOT = 3;

function open(context: TestContext) {
  const { device, pci, defer, role } = context;
  const pair = new ConfigPair(device, pci);
  defer(() => pair.close());
  const { view, hardware } = pair;
  const { start } = pair.structure('PM');
  const control = start + PCI_PM_CTRL;
  enableDevice(device);
  return {
    view,
    hardware,
    start,
    control,
    bar: device.region(BAR[role]!),
    /** The power state as the user and as the hardware has it. */
    states: () => [
      view.read16(control) & PCI_PM_CTRL_STATE_MASK,
      hardware.read16(control) & PCI_PM_CTRL_STATE_MASK,
    ],
  };
}

test(
  'device.config.pm.d3hot',
  'D3hot written to the power state puts the device to sleep, its memory with it, and D0 wakes both',
  { source: [WRITE, `${CONFIG} __vfio_pci_memory_enabled()`], devices: KINDS },
  (context) => {
    const { view, control, bar, states } = open(context);
    const mapping = bar.map({ size: 4096n });
    context.defer(() => mapping.unmap());
    const value = mapping.load32(0);
    expect(states()).toEqual([0, 0]);
    view.write16(control, D3HOT);
    expect(states()).toEqual([D3HOT, D3HOT]);
    expect(bar.tryRead(0, 4)).toFailWith('EIO');
    expect(bar.tryWrite(0, Buffer.alloc(4))).toFailWith('EIO');
    expect(mapping.tryLoad(32, 0)).toFailWith('EIO');
    expect(view.read16(0), 'config space answers').toBe(context.pci.vendor);
    view.write16(PCI_COMMAND, view.read16(PCI_COMMAND) | PCI_COMMAND_MEMORY);
    expect(bar.tryRead(0, 4), 'memory decoding does not help').toFailWith('EIO');
    view.write16(control, 0);
    expect(states()).toEqual([0, 0]);
    expect(bar.read32(0)).toBe(value);
    expect(mapping.load32(0)).toBe(value);
  },
);

test(
  'device.config.pm.widths',
  'the power state changes by a write of any width that begins at its register, and by no other',
  { source: WRITE, devices: ['e1000e', 'nvme'] },
  (context) => {
    const { view, start, control, states } = open(context);
    for (const width of [1, 2, 4]) {
      const sleep = Buffer.alloc(width);
      sleep[0] = D3HOT;
      view.write(control, sleep);
      expect(states(), `${width} bytes`).toEqual([D3HOT, D3HOT]);
      view.write(control, Buffer.alloc(width));
      expect(states(), `${width} bytes`).toEqual([0, 0]);
    }
    view.write8(control + 1, D3HOT);
    view.write16(start + PCI_PM_PMC, D3HOT);
    view.write16(control + 2, D3HOT);
    expect(states()).toEqual([0, 0]);
    const whole = Buffer.alloc(8);
    whole[PCI_PM_CTRL] = D3HOT;
    view.write(start, whole);
    expect(states()).toEqual([D3HOT, D3HOT]);
    view.write(start, Buffer.alloc(8));
    expect(states()).toEqual([0, 0]);
  },
);

test(
  'device.config.pm.unsupported-states',
  'a power state that the device does not have leaves it in D0 and its memory accessible',
  { source: WRITE, devices: KINDS },
  (context) => {
    const { view, control, bar, states } = open(context);
    const value = bar.read32(0);
    for (const state of [1, 2]) {
      view.write16(control, state);
      expect(states(), `D${state}`).toEqual([0, 0]);
      expect(bar.read32(0)).toBe(value);
    }
  },
);

test(
  'device.config.pm.refused',
  'a power state that the device claims to have and does not go to leaves it in D0 and its memory accessible',
  {
    source: [WRITE, `${CORE} vfio_pci_set_power_state(): D3 might be unsupported`],
    device: 'i82550',
    provokes: [/Refused to change power state from D0 to D[123]/],
  },
  (context) => {
    const { view, hardware, start, control, bar, states } = open(context);
    const claimed = hardware.read16(start + PCI_PM_PMC) & (PCI_PM_CAP_D1 | PCI_PM_CAP_D2);
    expect(claimed).toBe(PCI_PM_CAP_D1 | PCI_PM_CAP_D2);
    const mapping = context.map(bar, { size: 4096n });
    const value = mapping.load32(4);
    const header = view.read(0, 0x40);
    for (const state of [1, 2, D3HOT, D3HOT, 0]) {
      view.write16(control, state);
      expect(states(), `D${state}`).toEqual([0, 0]);
      expect(bar.read32(4)).toBe(value);
      expect(mapping.load32(4)).toBe(value);
      expect(view.read(0, 0x40)).toEqual(header);
    }
  },
);

test(
  'device.config.pm.unsupported-states-asleep',
  'a power state that the device does not have leaves it in D3hot',
  { source: WRITE, devices: KINDS },
  (context) => {
    const { view, control, states } = open(context);
    view.write16(control, D3HOT);
    for (const state of [1, 2]) {
      view.write16(control, state);
      expect(states(), `D${state}`).toEqual([D3HOT, D3HOT]);
    }
    view.write16(control, 0);
    expect(states()).toEqual([0, 0]);
  },
);

test(
  'device.config.pm.repeated',
  'a power state written twice and in turns is the one written last',
  { source: `${CORE} vfio_pci_set_power_state()`, devices: ['e1000e', 'nvme'] },
  (context) => {
    const { view, hardware, control, bar, states } = open(context);
    const value = bar.read32(0);
    const before = hardware.read(0, 0x40);
    for (const state of [D3HOT, D3HOT, 0, 0, D3HOT, 0]) {
      view.write16(control, state);
      expect(states()).toEqual([state, state]);
    }
    expect(bar.read32(0)).toBe(value);
    expect(hardware.read(0, 0x40)).toEqual(before);
  },
);

test(
  'device.config.pm.soft-reset',
  'config space of a device that resets itself on waking is restored, of one that does not is left alone',
  {
    source: `${CORE} vfio_pci_set_power_state()`,
    devices: KINDS,
    needs: [OWN_MACHINE],
  },
  (context) => {
    const { view, hardware, control } = open(context);
    const restores = (hardware.read16(control) & PCI_PM_CTRL_NO_SOFT_RESET) === 0;
    const before = hardware.read(0, 0x40);
    view.write8(PCI_CACHE_LINE_SIZE, 0x20);
    view.write8(PCI_INTERRUPT_LINE, 0x77);
    view.write16(control, D3HOT);
    hardware.write8(PCI_CACHE_LINE_SIZE, 0x40);
    hardware.write16(PCI_COMMAND, 0);
    view.write16(control, 0);
    expect(hardware.read8(PCI_CACHE_LINE_SIZE)).toBe(restores ? 0x20 : 0x40);
    expect(hardware.read16(PCI_COMMAND)).toBe(restores ? before.readUInt16LE(PCI_COMMAND) : 0);
    expect(view.read8(PCI_INTERRUPT_LINE), 'the copy stays').toBe(0x77);
    view.write8(PCI_CACHE_LINE_SIZE, before[PCI_CACHE_LINE_SIZE]!);
    view.write16(PCI_COMMAND, before.readUInt16LE(PCI_COMMAND));
    expect(hardware.read(0, 0x40)).toEqual(before);
  },
);

test(
  'device.config.pm.no-pme',
  'the user sees no PME support, status or enable, and his writes do not reach them',
  {
    source: [`${CONFIG} vfio_update_pm_vconfig_bytes()`, `${CONFIG} init_pci_cap_pm_perm()`],
    devices: [...KINDS, 'i82550'],
    needs: [OWN_MACHINE],
  },
  (context) => {
    const { view, hardware, start, control } = open(context);
    const PME = PCI_PM_CTRL_PME_ENABLE | PCI_PM_CTRL_PME_STATUS;
    const first = hardware.read16(control);
    expect(view.read16(start + PCI_PM_PMC) & PCI_PM_CAP_PME_MASK).toBe(0);
    expect(view.read16(start + PCI_PM_PMC)).toBe(
      hardware.read16(start + PCI_PM_PMC) & ~PCI_PM_CAP_PME_MASK,
    );
    view.write16(control, first | PME);
    expect(view.read16(control) & PME).toBe(0);
    expect(hardware.read16(control)).toBe(first);
    hardware.write16(control, first | PCI_PM_CTRL_PME_ENABLE);
    expect(view.read16(control) & PME).toBe(0);
    const enabled = hardware.read16(control);
    view.write16(control, first & ~PME);
    expect(hardware.read16(control), 'what the kernel set stays set').toBe(enabled);
    hardware.write16(control, first);
  },
);

test(
  'device.config.pm.no-pme.at-open',
  'PME that the kernel enabled before the device was opened stays enabled, unseen by the user',
  {
    source: `${CONFIG} vfio_update_pm_vconfig_bytes()`,
    devices: ['e1000e', 'igb'],
    needs: [OWN_MACHINE],
  },
  (context) => {
    const { device, pci, defer, openDevice, group } = context;
    const { hardware, control } = open(context);
    device.close();
    defer(keepAwake(pci));
    // A reset at the open would disable PME.
    defer(setResetMethods(pci, []));
    const first = hardware.read16(control);
    defer(() => hardware.write16(control, first));
    hardware.write16(control, first | PCI_PM_CTRL_PME_ENABLE);
    const { config } = openDevice(group);
    expect(hardware.read16(control) & PCI_PM_CTRL_PME_ENABLE).toBe(PCI_PM_CTRL_PME_ENABLE);
    expect(config.read16(control) & PCI_PM_CTRL_PME_ENABLE).toBe(0);
  },
);

test(
  'device.config.pm.closed-asleep',
  'a device closed in D3hot is awake with its memory for the next user',
  { source: `${CORE} vfio_pci_core_disable()`, devices: KINDS },
  (context) => {
    const { view, control, bar } = open(context);
    const value = bar.read32(0);
    view.write16(control, D3HOT);
    context.device.close();
    const again = context.openDevice(context.group);
    enableDevice(again);
    expect(again.config.read16(control) & PCI_PM_CTRL_STATE_MASK).toBe(0);
    expect(again.region(BAR[context.role]!).read32(0)).toBe(value);
  },
);

test(
  'device.config.pm.memory-off-asleep',
  'memory decoding switched off in D3hot stays off in D0',
  { source: `${CONFIG} vfio_lock_and_set_power_state()`, devices: ['e1000e', 'nvme'] },
  (context) => {
    const { view, control, bar } = open(context);
    const value = bar.read32(0);
    const command = view.read16(PCI_COMMAND);
    view.write16(PCI_COMMAND, command & ~PCI_COMMAND_MEMORY);
    view.write16(control, D3HOT);
    expect(bar.tryRead(0, 4)).toFailWith('EIO');
    view.write16(control, 0);
    expect(bar.tryRead(0, 4)).toFailWith('EIO');
    view.write16(PCI_COMMAND, command);
    expect(bar.read32(0)).toBe(value);
  },
);

import {
  ConfigPair,
  OWN_MACHINE,
  PCI_BASE_ADDRESS_0,
  PCI_CACHE_LINE_SIZE,
  PCI_COMMAND,
  PCI_COMMAND_INTX_DISABLE,
  PCI_COMMAND_IO,
  PCI_COMMAND_MASTER,
  PCI_COMMAND_MEMORY,
  PCI_INTERRUPT_LINE,
  expect,
  keepAwake,
  test,
  type TestContext,
} from '../../../harness/testing/index.ts';

const CORE = 'drivers/vfio/pci/vfio_pci_core.c';
const KINDS = ['edu', 'pci-testdev', 'e1000e', 'igb', 'virtio-net', 'bridge-child-b'];

function open({ device, pci, defer }: TestContext): ConfigPair {
  const pair = new ConfigPair(device, pci);
  defer(() => pair.close());
  return pair;
}

/** The hardware of a device that nobody has open, and that does not sleep all the same. */
function closedAwake(context: TestContext): ConfigPair['hardware'] {
  const { hardware } = open(context);
  context.device.close();
  context.defer(keepAwake(context.pci));
  return hardware;
}

/** Offsets of registers with their width, that the kernel saves and the user can change. */
function savedRegisters({ model }: ConfigPair): { name: string; at: number; width: number }[] {
  const saved = new Set([
    'HEADER COMMAND',
    'HEADER CACHE_LINE_SIZE',
    'HEADER LATENCY_TIMER',
    'EXP DEVCTL',
    'EXP DEVCTL2',
    'ext-ERR UNCOR_MASK',
    'ext-ERR UNCOR_SEVER',
    'ext-ERR COR_MASK',
    'ext-ERR CAP',
  ]);
  return model.structures.flatMap(({ name, start, registers }) =>
    registers
      .filter((register) => saved.has(`${name} ${register.name}`))
      .map((register) => ({
        name: `${name} ${register.name}`,
        at: start + register.offset,
        width: register.width,
      })),
  );
}

test(
  'device.config.close.hardware',
  'what the user changed in the hardware is as before when he has closed the device',
  {
    source: `${CORE} vfio_pci_core_disable()`,
    devices: KINDS,
    needs: [OWN_MACHINE],
    peer: ['S1'],
  },
  (context) => {
    const pair = open(context);
    const { view, hardware } = pair;
    const registers = savedRegisters(pair);
    const read = () =>
      registers.map(({ name, at, width }) => `${name} ${hardware.read(at, width).toString('hex')}`);
    const header = () => hardware.read(0x08, 0x38);
    const before = read();
    const headerBefore = header();
    for (const { name, at, width } of registers) {
      const value = hardware.read(at, width);
      // Bus mastering; anything but FLR; the other half of the bits otherwise.
      if (name === 'HEADER COMMAND') value[0]! |= PCI_COMMAND_MASTER;
      else for (let i = 0; i < width; i++) value[i]! ^= name === 'EXP DEVCTL' && i === 1 ? 0 : 0x7f;
      view.write(at, value);
    }
    expect(read()).not.toEqual(before);
    context.device.close();
    // The next user finds what the first one found.
    const again = context.openDevice(context.group);
    expect(read()).toEqual(before);
    expect(header()).toEqual(headerBefore);
    expect(again.config.read16(PCI_COMMAND) & PCI_COMMAND_MASTER).toBe(0);
  },
);

test(
  'device.config.close.as-opened',
  'a closed device is as its user found it, not as it was at some time before',
  {
    source: `${CORE} vfio_pci_core_enable()`,
    devices: ['edu', 'e1000e', 'nvme', 'bridge-child-a'],
    needs: [OWN_MACHINE],
  },
  (context) => {
    const hardware = closedAwake(context);
    const before = hardware.read8(PCI_CACHE_LINE_SIZE);
    context.defer(() => hardware.write8(PCI_CACHE_LINE_SIZE, before));
    hardware.write8(PCI_CACHE_LINE_SIZE, 0x40);
    const again = context.openDevice(context.group);
    again.config.write8(PCI_CACHE_LINE_SIZE, 0x20);
    expect(hardware.read8(PCI_CACHE_LINE_SIZE)).toBe(0x20);
    again.close();
    expect(hardware.read8(PCI_CACHE_LINE_SIZE)).toBe(0x40);
  },
);

test(
  'device.config.close.copy',
  'the next user finds a fresh copy: nothing that the last one wrote to virtual registers',
  { source: 'drivers/vfio/pci/vfio_pci_config.c vfio_config_init()', devices: KINDS },
  (context) => {
    const { view } = open(context);
    const shown = view.readAll();
    view.write32(PCI_BASE_ADDRESS_0, 0x1234_5000);
    view.write8(PCI_INTERRUPT_LINE, shown[PCI_INTERRUPT_LINE]! ^ 0xff);
    view.write16(PCI_COMMAND, view.read16(PCI_COMMAND) | PCI_COMMAND_INTX_DISABLE);
    expect(view.readAll()).not.toEqual(shown);
    context.device.close();
    const again = context.openDevice(context.group);
    expect(again.config.readAll()).toEqual(shown);
    again.close();
  },
);

test(
  'device.config.close.bus-master',
  'a closed device has no bus mastering',
  { source: `${CORE} vfio_pci_core_disable()`, devices: KINDS, peer: ['S3'] },
  (context) => {
    const { view, hardware } = open(context);
    view.write16(PCI_COMMAND, view.read16(PCI_COMMAND) | PCI_COMMAND_MASTER);
    expect(hardware.read16(PCI_COMMAND) & PCI_COMMAND_MASTER).toBe(PCI_COMMAND_MASTER);
    context.device.close();
    expect(hardware.read16(PCI_COMMAND) & PCI_COMMAND_MASTER).toBe(0);
  },
);

test(
  'device.config.open.intx-disable',
  'a device is opened with INTx enabled in its COMMAND register, bus mastering off',
  {
    source: `${CORE} vfio_pci_core_enable()`,
    devices: ['edu', 'e1000e', 'nvme', 'bridge-child-a'],
    needs: [OWN_MACHINE],
  },
  (context) => {
    const hardware = closedAwake(context);
    const closed = hardware.read16(PCI_COMMAND);
    hardware.write16(PCI_COMMAND, closed | PCI_COMMAND_INTX_DISABLE | PCI_COMMAND_MASTER);
    const again = context.openDevice(context.group);
    const bits = PCI_COMMAND_INTX_DISABLE | PCI_COMMAND_MASTER;
    expect(hardware.read16(PCI_COMMAND) & bits).toBe(0);
    expect(again.config.read16(PCI_COMMAND) & bits).toBe(0);
  },
);

test(
  'device.config.open.decoding',
  'a device is opened with the decoding on that its BARs need, whatever it had before, and keeps it closed',
  {
    source: `${CORE} vfio_pci_core_enable(): pci_enable_device()`,
    devices: ['edu', 'e1000e', 'igb', 'nvme', 'bridge-child-a'],
    needs: [OWN_MACHINE],
  },
  (context) => {
    const { pci } = context;
    const hardware = closedAwake(context);
    const decoding = PCI_COMMAND_IO | PCI_COMMAND_MEMORY;
    const needed = pci
      .resources()
      .slice(0, 6)
      .reduce((bits, { flags }) => bits | (Number(flags >> 8n) & decoding), 0);
    hardware.write16(PCI_COMMAND, hardware.read16(PCI_COMMAND) & ~decoding);
    const again = context.openDevice(context.group);
    expect(hardware.read16(PCI_COMMAND) & decoding).toBe(needed);
    expect(again.config.read16(PCI_COMMAND) & decoding).toBe(needed);
    again.close();
    expect(hardware.read16(PCI_COMMAND) & decoding).toBe(needed);
  },
);

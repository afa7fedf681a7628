import {
  BEHIND_PORT,
  ConfigPair,
  NEARLY_RESET_NS,
  OWN_MACHINE,
  PCI_BASE_ADDRESS_0,
  PCI_COMMAND,
  PCI_COMMAND_MEMORY,
  PCI_EXP_DEVCAP,
  PCI_EXP_DEVCAP_FLR,
  PCI_EXP_DEVCTL,
  PCI_EXP_DEVCTL_BCR_FLR,
  PCI_EXP_DEVCTL_PAYLOAD,
  PCI_EXP_DEVCTL_PHANTOM,
  PCI_EXP_DEVCTL_READRQ,
  PCI_INTERRUPT_LINE,
  VFIO_DEVICE_RESET,
  enableDevice,
  expect,
  loadMeanwhile,
  resetWitness,
  setResetMethods,
  test,
  type TestContext,
} from '../../../harness/testing/index.ts';

const CONFIG = 'drivers/vfio/pci/vfio_pci_config.c';
const WRITE = `${CONFIG} vfio_exp_config_write()`;
const EXPRESS = ['e1000e', 'igb', 'virtio-net'];

function open(context: TestContext) {
  const { device, pci, defer, role } = context;
  const pair = new ConfigPair(device, pci);
  defer(() => pair.close());
  const { start } = pair.structure('EXP');
  enableDevice(device);
  const { region, offset, width, value } = resetWitness(role);
  return {
    view: pair.view,
    hardware: pair.hardware,
    capability: start + PCI_EXP_DEVCAP,
    control: start + PCI_EXP_DEVCTL,
    /** Writes the register that a reset clears. */
    mark: () => {
      const bytes = Buffer.alloc(width);
      bytes.writeUIntLE(value, 0, width);
      device.region(region).write(offset, bytes);
    },
    marked: () => device.region(region).read(offset, width).readUIntLE(0, width) === value,
  };
}

test(
  'device.config.exp.flr',
  'the FLR bit resets a device that has FLR, and always reads as zero',
  { source: WRITE, devices: ['igb', 'nvme', 'virtio-net'], peer: ['S5'] },
  (context) => {
    const { view, hardware, capability, control, mark, marked } = open(context);
    expect(view.read32(capability) & PCI_EXP_DEVCAP_FLR).toBe(PCI_EXP_DEVCAP_FLR);
    const first = view.read16(control);
    for (const width of [2, 1, 4]) {
      mark();
      expect(marked()).toBe(true);
      if (width === 1) view.write8(control + 1, (first | PCI_EXP_DEVCTL_BCR_FLR) >> 8);
      else if (width === 2) view.write16(control, first | PCI_EXP_DEVCTL_BCR_FLR);
      else view.write32(control, first | PCI_EXP_DEVCTL_BCR_FLR);
      expect(view.read16(control)).toBe(first);
      expect(hardware.read16(control)).toBe(first);
      expect(marked(), `${width} bytes`).toBe(false);
    }
  },
);

test(
  'device.config.exp.flr-missing',
  'the FLR bit does nothing on a device without FLR, and reads as zero',
  { source: WRITE, device: 'e1000e', needs: [OWN_MACHINE, BEHIND_PORT] },
  (context) => {
    const { view, hardware, capability, control, mark, marked } = open(context);
    expect(view.read32(capability) & PCI_EXP_DEVCAP_FLR).toBe(0);
    // A reset that the registers would show: through D3hot they are kept.
    context.defer(setResetMethods(context.pci, ['bus']));
    const first = view.read16(control);
    const before = hardware.readAll();
    mark();
    view.write16(control, first | PCI_EXP_DEVCTL_BCR_FLR);
    view.write8(control + 1, (first | PCI_EXP_DEVCTL_BCR_FLR) >> 8);
    expect(view.read16(control)).toBe(first);
    expect(hardware.readAll()).toEqual(before);
    expect(marked()).toBe(true);
  },
);

test(
  'device.config.exp.no-flr',
  'other writes to device control reset nothing',
  { source: WRITE, devices: ['igb', 'nvme', 'virtio-net'] },
  (context) => {
    const { view, control, mark, marked } = open(context);
    const first = view.read16(control);
    mark();
    view.write16(control, (first | 0x7fff) & ~PCI_EXP_DEVCTL_READRQ);
    view.write8(control + 1, 0);
    view.write8(control, 0);
    view.write16(control, first);
    expect(marked()).toBe(true);
  },
);

for (const { by, title, devices } of [
  { by: 'flr', title: 'the FLR bit', devices: ['igb', 'nvme', 'virtio-net'] },
  { by: 'ioctl', title: 'VFIO_DEVICE_RESET', devices: ['e1000e', 'igb', 'nvme', 'virtio-net'] },
] as const) {
  test(
    `device.config.after-reset.${by}`,
    `a reset by ${title} keeps the registers of the header, the virtual ones and those of the hardware`,
    {
      covers: by === 'ioctl' ? [VFIO_DEVICE_RESET] : [],
      source: [WRITE, 'drivers/pci/pci.c pci_try_reset_function()'],
      devices,
      needs: [OWN_MACHINE],
    },
    (context) => {
      const { device } = context;
      const { view, hardware, control } = open(context);
      const bars = hardware.read(PCI_BASE_ADDRESS_0, 0x18);
      view.write8(PCI_INTERRUPT_LINE, 0x5a);
      view.write32(PCI_BASE_ADDRESS_0, 0x8000_0000);
      view.write32(PCI_BASE_ADDRESS_0 + 16, 0x4000_0000);
      view.write8(0x0c, 0x10);
      const shown = view.read(0, 0x40);
      const first = view.read16(control);
      if (by === 'flr') view.write16(control, first | PCI_EXP_DEVCTL_BCR_FLR);
      else device.reset();
      expect(view.read(0, 0x40)).toEqual(shown);
      expect(hardware.read(PCI_BASE_ADDRESS_0, 0x18)).toEqual(bars);
      expect(view.read16(control)).toBe(first);
      view.write8(0x0c, 0);
    },
  );
}

test(
  'device.config.exp.flr-blocks',
  'an access to a mapping waits until a reset by the FLR bit is over',
  { source: WRITE, device: 'igb' },
  (context) => {
    const { device, map, defer, pci } = context;
    const { view, control } = open(context);
    defer(setResetMethods(pci, ['flr']));
    const mapping = map(device.region(0), { size: 4096n });
    mapping.load32(0);
    const bytes = Buffer.alloc(2);
    bytes.writeUInt16LE(view.read16(control) | PCI_EXP_DEVCTL_BCR_FLR);
    const at = view.info.offset + BigInt(control);
    const { result, longestNs } = loadMeanwhile(mapping.address, (program) =>
      program.syscall('pwrite', device.fd, program.data(bytes), 2, at),
    );
    expect(result).toBe(2);
    if (longestNs !== null) expect(longestNs).toBeGreaterThan(NEARLY_RESET_NS);
  },
);

test(
  'device.config.exp.flr-memory-off',
  'a reset by the FLR bit does not switch memory decoding on',
  { source: WRITE, devices: ['igb', 'nvme'] },
  (context) => {
    const { view, control } = open(context);
    const bar = context.device.region(0);
    const command = view.read16(PCI_COMMAND);
    view.write16(PCI_COMMAND, command & ~PCI_COMMAND_MEMORY);
    view.write16(control, view.read16(control) | PCI_EXP_DEVCTL_BCR_FLR);
    expect(view.read16(PCI_COMMAND)).toBe(command & ~PCI_COMMAND_MEMORY);
    expect(bar.tryRead(0, 4)).toFailWith('EIO');
    view.write16(PCI_COMMAND, command);
    expect(bar.tryRead(0, 4)).toSucceed(4);
  },
);

test(
  'device.config.exp.payload',
  'the payload size that the user writes is kept for him and leaves the hardware as it is',
  { source: `${CONFIG} init_pci_cap_exp_perm()`, devices: EXPRESS },
  (context) => {
    const { view, hardware, control } = open(context);
    const first = view.read16(control);
    const real = hardware.read16(control);
    for (const size of [0x20, 0xa0, PCI_EXP_DEVCTL_PAYLOAD, 0]) {
      const value = (first & ~PCI_EXP_DEVCTL_PAYLOAD) | size;
      view.write16(control, value);
      expect(view.read16(control)).toBe(value);
      expect(hardware.read16(control)).toBe(real);
    }
    view.write16(control, first);
  },
);

test(
  'device.config.exp.read-request',
  'the read request size that the user writes is kept for him and set in the hardware if it can be',
  { source: WRITE, devices: EXPRESS, needs: [OWN_MACHINE] },
  (context) => {
    const { view, hardware, control } = open(context);
    const first = view.read16(control);
    for (const size of [0x1000, 0x2000, 0x5000, 0]) {
      const before = hardware.read16(control);
      hardware.write16(control, (before & ~PCI_EXP_DEVCTL_READRQ) | size);
      const wanted = hardware.read16(control);
      hardware.write16(control, before);
      view.write16(control, (first & ~PCI_EXP_DEVCTL_READRQ) | size);
      expect(view.read16(control)).toBe((first & ~PCI_EXP_DEVCTL_READRQ) | size);
      expect(hardware.read16(control)).toBe(wanted);
    }
    view.write16(control, first);
  },
);

test(
  'device.config.exp.phantom',
  'phantom functions cannot be enabled',
  { source: `${CONFIG} init_pci_cap_exp_perm()`, devices: EXPRESS },
  (context) => {
    const { view, hardware, control } = open(context);
    const first = view.read16(control);
    view.write16(control, first | PCI_EXP_DEVCTL_PHANTOM);
    expect(view.read16(control)).toBe(first);
    expect(hardware.read16(control) & PCI_EXP_DEVCTL_PHANTOM).toBe(0);
  },
);

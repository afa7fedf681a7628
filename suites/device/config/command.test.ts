import {
  ConfigPair,
  Edu,
  Irqs,
  OWN_MACHINE,
  PCI_COMMAND,
  PCI_COMMAND_INTX_DISABLE,
  PCI_COMMAND_MASTER,
  PCI_COMMAND_MEMORY,
  PCI_COMMAND_SERR,
  PCI_INTERRUPT_LINE,
  PCI_INTERRUPT_PIN,
  PCI_STATUS,
  PCI_STATUS_INTERRUPT,
  VFIO_PCI_INTX_IRQ_INDEX,
  expect,
  setCommand,
  test,
  type TestContext,
} from '../../../harness/testing/index.ts';

const CONFIG = 'drivers/vfio/pci/vfio_pci_config.c';
const WRITE = `${CONFIG} vfio_basic_config_write()`;
const INTRS = 'drivers/vfio/pci/vfio_pci_intrs.c';
const KINDS = ['edu', 'pci-testdev', 'e1000e', 'nvme'];
/** Devices with an INTx. */
const INTX = ['edu', 'e1000e', 'nvme', 'bridge-child-a'];

function open({ device, pci, defer }: TestContext): ConfigPair {
  const pair = new ConfigPair(device, pci);
  defer(() => pair.close());
  return pair;
}

/** An edu with INTx on an eventfd. */
function openEdu(context: TestContext) {
  const pair = open(context);
  const edu = new Edu(context.device);
  context.defer(() => edu.unmap());
  const signal = context.eventfd();
  const intx = new Irqs(context.device, VFIO_PCI_INTX_IRQ_INDEX);
  context.defer(() => edu.acknowledge());
  return { ...pair, view: pair.view, hardware: pair.hardware, edu, signal, intx };
}

test(
  'device.config.command.hardware',
  'bits of COMMAND other than INTx disable go to the hardware and come from it',
  { source: WRITE, devices: KINDS, needs: [OWN_MACHINE], peer: ['S2', 'S3'] },
  (context) => {
    const { view, hardware } = open(context);
    const first = view.read16(PCI_COMMAND);
    const rest = hardware.readAll().subarray(8);
    for (const value of [0, 0x0001, 0x0002, 0x0004, 0x0100, 0xfbff, 0x0107, 0xfaf8, first]) {
      hardware.write16(PCI_COMMAND, value);
      const wanted = hardware.read16(PCI_COMMAND);
      hardware.write16(PCI_COMMAND, first);
      view.write16(PCI_COMMAND, value);
      expect(hardware.read16(PCI_COMMAND), `0x${value.toString(16)}`).toBe(wanted);
      expect(view.read16(PCI_COMMAND)).toBe(wanted);
      view.write16(PCI_COMMAND, first);
      view.write32(PCI_COMMAND, value);
      expect(hardware.read16(PCI_COMMAND), `32 bits: 0x${value.toString(16)}`).toBe(wanted);
      view.write16(PCI_COMMAND, first);
    }
    expect(hardware.readAll().subarray(8)).toEqual(rest);
  },
);

test(
  'device.config.command.bytes',
  'a write to one byte of COMMAND leaves the other one alone',
  { source: WRITE, devices: ['edu', 'e1000e', 'igb'] },
  (context) => {
    const { view, hardware } = open(context);
    const first = view.read16(PCI_COMMAND);
    view.write16(PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_SERR);
    view.write8(PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    expect(hardware.read16(PCI_COMMAND)).toBe(
      PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_SERR,
    );
    view.write8(PCI_COMMAND + 1, 0);
    expect(hardware.read16(PCI_COMMAND)).toBe(PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    expect(context.device.region(0).tryRead(0, 4)).toSucceed(4);
    view.write16(PCI_COMMAND, first);
  },
);

test(
  'device.config.command.memory',
  'without memory decoding a BAR can be neither read nor written nor touched, with it again it can',
  {
    source: [WRITE, `${CONFIG} __vfio_pci_memory_enabled()`],
    devices: ['edu', 'e1000e', 'igb', 'nvme'],
    fixes: ['CVE-2020-12888'],
    peer: ['S2'],
  },
  (context) => {
    const { view, hardware } = open(context);
    const { device } = context;
    setCommand(device, { set: PCI_COMMAND_MEMORY });
    const bar = device.region(0);
    const mapping = bar.map();
    context.defer(() => mapping.unmap());
    const value = bar.read32(0);
    expect(mapping.load32(0)).toBe(value);
    for (const width of [2, 1, 4]) {
      const off = Buffer.alloc(width);
      off[0] = view.read8(PCI_COMMAND) & ~PCI_COMMAND_MEMORY;
      if (width > 1) off[1] = view.read8(PCI_COMMAND + 1);
      const on = Buffer.from(off);
      on[0]! |= PCI_COMMAND_MEMORY;
      view.write(PCI_COMMAND, off);
      expect(hardware.read16(PCI_COMMAND) & PCI_COMMAND_MEMORY).toBe(0);
      expect(bar.tryRead(0, 4)).toFailWith('EIO');
      expect(bar.tryWrite(0, Buffer.alloc(4))).toFailWith('EIO');
      expect(mapping.tryLoad(32, 0)).toFailWith('EIO');
      view.write(PCI_COMMAND, on);
      expect(hardware.read16(PCI_COMMAND) & PCI_COMMAND_MEMORY).toBe(PCI_COMMAND_MEMORY);
      expect(bar.read32(0)).toBe(value);
      expect(mapping.load32(0)).toBe(value);
    }
  },
);

test(
  'device.config.command.intx-disable',
  'INTx disable reads as the user wrote it, and the hardware bit follows while INTx is not in use',
  { source: [WRITE, `${INTRS} vfio_pci_intx_mask()`], devices: INTX },
  (context) => {
    const { view, hardware } = open(context);
    const both = () => [
      view.read16(PCI_COMMAND) & PCI_COMMAND_INTX_DISABLE,
      hardware.read16(PCI_COMMAND) & PCI_COMMAND_INTX_DISABLE,
    ];
    const rest = () => hardware.read16(PCI_COMMAND) & ~PCI_COMMAND_INTX_DISABLE;
    const others = rest();
    expect(both()).toEqual([0, 0]);
    const ON = [PCI_COMMAND_INTX_DISABLE, PCI_COMMAND_INTX_DISABLE];
    const command = view.read16(PCI_COMMAND);
    view.write16(PCI_COMMAND, command | PCI_COMMAND_INTX_DISABLE);
    expect(both()).toEqual(ON);
    view.write16(PCI_COMMAND, command | PCI_COMMAND_INTX_DISABLE);
    expect(both()).toEqual(ON);
    view.write8(PCI_COMMAND, command & 0xff);
    expect(both(), 'the lower byte does not touch it').toEqual(ON);
    view.write16(PCI_COMMAND, command);
    expect(both()).toEqual([0, 0]);
    view.write8(PCI_COMMAND + 1, ((command | PCI_COMMAND_INTX_DISABLE) >> 8) & 0xff);
    expect(both()).toEqual(ON);
    view.write8(PCI_COMMAND + 1, command >> 8);
    expect(both()).toEqual([0, 0]);
    view.write32(PCI_COMMAND, command | PCI_COMMAND_INTX_DISABLE);
    expect(both()).toEqual(ON);
    view.write16(PCI_COMMAND, command);
    expect(both()).toEqual([0, 0]);
    expect(rest()).toBe(others);
  },
);

test(
  'device.config.command.intx-disable-virtual',
  'INTx disable set in the hardware by the kernel is not shown to the user',
  {
    source: `${CONFIG} init_pci_cap_basic_perm()`,
    devices: INTX,
    needs: [OWN_MACHINE],
  },
  (context) => {
    const { view, hardware } = open(context);
    const command = hardware.read16(PCI_COMMAND);
    hardware.write16(PCI_COMMAND, command | PCI_COMMAND_INTX_DISABLE);
    expect(view.read16(PCI_COMMAND)).toBe(command);
    expect(view.read32(PCI_COMMAND) & 0xffff).toBe(command);
    expect(view.read8(PCI_COMMAND + 1)).toBe(command >> 8);
    hardware.write16(PCI_COMMAND, command);
  },
);

test(
  'device.config.command.automask-hidden',
  'an INTx that is masked because it fired leaves INTx disable of the user at zero',
  { source: `${INTRS} vfio_intx_handler()`, device: 'edu' },
  (context) => {
    const { view, hardware, edu, signal, intx } = openEdu(context);
    intx.enable([signal]);
    edu.raise();
    expect(signal.soon()).toBe(1);
    expect(hardware.read16(PCI_COMMAND) & PCI_COMMAND_INTX_DISABLE).toBe(PCI_COMMAND_INTX_DISABLE);
    expect(view.read16(PCI_COMMAND) & PCI_COMMAND_INTX_DISABLE).toBe(0);
    edu.acknowledge();
    intx.unmask();
    expect(hardware.read16(PCI_COMMAND) & PCI_COMMAND_INTX_DISABLE).toBe(0);
    intx.disable();
  },
);

test(
  'device.config.command.intx-disable-masks',
  'INTx disable keeps an interrupt back until it is cleared',
  {
    source: [WRITE, `${INTRS} vfio_pci_intx_unmask_handler()`],
    device: 'edu',
    fixes: ['CVE-2024-26810'],
  },
  (context) => {
    const { device } = context;
    const { hardware, edu, signal, intx } = openEdu(context);
    intx.enable([signal]);
    setCommand(device, { set: PCI_COMMAND_INTX_DISABLE });
    expect(hardware.read16(PCI_COMMAND) & PCI_COMMAND_INTX_DISABLE).toBe(PCI_COMMAND_INTX_DISABLE);
    edu.raise();
    expect(signal.quiet()).toBe(0);
    setCommand(device, { clear: PCI_COMMAND_INTX_DISABLE });
    expect(signal.soon(), 'it is pending and comes now').toBe(1);
    edu.acknowledge();
    intx.unmask();
    edu.raise();
    expect(signal.soon()).toBe(1);
    edu.acknowledge();
    intx.disable();
  },
);

test(
  'device.config.command.intx-disable-outranks-unmask',
  'neither unmasking nor triggering by SET_IRQS passes INTx disable',
  {
    source: [`${INTRS} vfio_pci_intx_unmask_handler()`, `${INTRS} vfio_send_intx_eventfd()`],
    device: 'edu',
  },
  (context) => {
    const { device } = context;
    const { hardware, edu, signal, intx } = openEdu(context);
    intx.enable([signal]);
    setCommand(device, { set: PCI_COMMAND_INTX_DISABLE });
    edu.raise();
    intx.unmask();
    expect(signal.quiet()).toBe(0);
    expect(hardware.read16(PCI_COMMAND) & PCI_COMMAND_INTX_DISABLE).toBe(PCI_COMMAND_INTX_DISABLE);
    intx.loopback();
    expect(signal.quiet()).toBe(0);
    setCommand(device, { clear: PCI_COMMAND_INTX_DISABLE });
    expect(signal.soon()).toBe(1);
    edu.acknowledge();
    intx.disable();
  },
);

test(
  'device.config.command.intx-disable-before-enable',
  'INTx enabled while INTx disable is set starts masked',
  { source: `${INTRS} vfio_intx_enable()`, device: 'edu', fixes: ['CVE-2024-26810'] },
  (context) => {
    const { device } = context;
    const { hardware, edu, signal, intx } = openEdu(context);
    setCommand(device, { set: PCI_COMMAND_INTX_DISABLE });
    intx.enable([signal]);
    expect(hardware.read16(PCI_COMMAND) & PCI_COMMAND_INTX_DISABLE).toBe(PCI_COMMAND_INTX_DISABLE);
    edu.raise();
    expect(signal.quiet()).toBe(0);
    setCommand(device, { clear: PCI_COMMAND_INTX_DISABLE });
    expect(signal.soon()).toBe(1);
    edu.acknowledge();
    intx.disable();
  },
);

test(
  'device.config.command.mask-is-not-intx-disable',
  'masking by SET_IRQS does not show in INTx disable, and other writes to COMMAND do not unmask',
  { source: WRITE, device: 'edu' },
  (context) => {
    const { device } = context;
    const { view, hardware, edu, signal, intx } = openEdu(context);
    intx.enable([signal]);
    intx.mask();
    expect(hardware.read16(PCI_COMMAND) & PCI_COMMAND_INTX_DISABLE).toBe(PCI_COMMAND_INTX_DISABLE);
    expect(view.read16(PCI_COMMAND) & PCI_COMMAND_INTX_DISABLE).toBe(0);
    setCommand(device, { set: PCI_COMMAND_SERR });
    edu.raise();
    expect(signal.quiet()).toBe(0);
    expect(hardware.read16(PCI_COMMAND) & PCI_COMMAND_INTX_DISABLE).toBe(PCI_COMMAND_INTX_DISABLE);
    intx.unmask();
    expect(signal.soon()).toBe(1);
    edu.acknowledge();
    intx.disable();
  },
);

test(
  'device.config.status.interrupt',
  'STATUS tells of a pending interrupt as the hardware does, and no write changes STATUS',
  { source: `${CONFIG} init_pci_cap_basic_perm()`, device: 'edu' },
  (context) => {
    const { view, edu } = openEdu(context);
    const status = view.read16(PCI_STATUS);
    expect(status & PCI_STATUS_INTERRUPT).toBe(0);
    setCommand(context.device, { set: PCI_COMMAND_INTX_DISABLE });
    edu.raise();
    expect(view.read16(PCI_STATUS)).toBe(status | PCI_STATUS_INTERRUPT);
    view.write16(PCI_STATUS, 0xffff);
    expect(view.read16(PCI_STATUS)).toBe(status | PCI_STATUS_INTERRUPT);
    edu.acknowledge();
    expect(view.read16(PCI_STATUS)).toBe(status);
  },
);

test(
  'device.config.interrupt-pin',
  'INTERRUPT_PIN is that of the hardware, zero for a device without INTx, and cannot be written',
  {
    source: `${CONFIG} vfio_config_init()`,
    devices: ['edu', 'pci-testdev', 'e1000e', 'bridge-child-b'],
  },
  (context) => {
    const { view, hardware } = open(context);
    const pin = hardware.read8(PCI_INTERRUPT_PIN);
    const { count } = context.device.irqInfo(VFIO_PCI_INTX_IRQ_INDEX);
    expect(view.read8(PCI_INTERRUPT_PIN)).toBe(pin);
    expect(count).toBe(pin === 0 ? 0 : 1);
    view.write8(PCI_INTERRUPT_PIN, pin ^ 3);
    expect(view.read8(PCI_INTERRUPT_PIN)).toBe(pin);
    view.write16(PCI_INTERRUPT_LINE, 0x0455);
    expect(view.read16(PCI_INTERRUPT_LINE)).toBe((pin << 8) | 0x55);
    expect(hardware.read8(PCI_INTERRUPT_PIN)).toBe(pin);
    expect(context.device.irqInfo(VFIO_PCI_INTX_IRQ_INDEX).count).toBe(count);
  },
);

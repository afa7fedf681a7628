import {
  ConfigPair,
  Edu,
  Irqs,
  PCI_MSIX_FLAGS,
  PCI_MSIX_FLAGS_ENABLE,
  PCI_MSIX_FLAGS_MASKALL,
  PCI_MSI_ADDRESS_LO,
  PCI_MSI_FLAGS_64BIT,
  PCI_MSI_FLAGS_ENABLE,
  PCI_MSI_FLAGS_MASKBIT,
  PCI_MSI_FLAGS_QMASK,
  PCI_MSI_FLAGS_QSIZE,
  PCI_MSI_MASK_64,
  VFIO_PCI_MSIX_IRQ_INDEX,
  VFIO_PCI_MSI_IRQ_INDEX,
  enableDevice,
  expect,
  test,
  type TestContext,
} from '../../../harness/testing/index.ts';

const CONFIG = 'drivers/vfio/pci/vfio_pci_config.c';
const WRITE = `${CONFIG} vfio_msi_config_write()`;
const MSI = ['edu', 'e1000e', 'igb', 'vmxnet3'];
const MSIX = ['e1000e', 'igb', 'nvme', 'virtio-net', 'vmxnet3'];

/** The device's MSI or MSI-X capability from both sides, with a way to switch vectors on. */
function open(context: TestContext, name: 'MSI' | 'MSIX') {
  const { device, pci, defer, eventfd } = context;
  const pair = new ConfigPair(device, pci);
  defer(() => pair.close());
  const { start } = pair.structure(name);
  const signal = eventfd();
  const irqs = new Irqs(device, name === 'MSI' ? VFIO_PCI_MSI_IRQ_INDEX : VFIO_PCI_MSIX_IRQ_INDEX);
  return { view: pair.view, hardware: pair.hardware, start, flags: start + 2, signal, irqs };
}

test(
  'device.config.msi.enable-without-irqs',
  'the enable bit of MSI cannot be set before SET_IRQS enabled a vector',
  { source: WRITE, devices: MSI },
  (context) => {
    const { view, hardware, start, flags } = open(context, 'MSI');
    const first = view.read16(flags);
    const both = () => [view.read16(flags), hardware.read16(flags)];
    expect(first & PCI_MSI_FLAGS_ENABLE).toBe(0);
    view.write16(flags, first | PCI_MSI_FLAGS_ENABLE);
    expect(both()).toEqual([first, first]);
    view.write8(flags, (first | PCI_MSI_FLAGS_ENABLE) & 0xff);
    expect(both()).toEqual([first, first]);
    view.write32(start, view.read32(start) | (PCI_MSI_FLAGS_ENABLE << 16));
    expect(both()).toEqual([first, first]);
  },
);

test(
  'device.config.msi.queue-size',
  'no more messages can be enabled in the capability than SET_IRQS allocated',
  { source: WRITE, devices: MSI },
  (context) => {
    const { view, hardware, flags, signal, irqs } = open(context, 'MSI');
    const first = view.read16(flags);
    for (const size of [0x10, 0x20, PCI_MSI_FLAGS_QSIZE]) {
      view.write16(flags, first | size);
      expect([view.read16(flags), hardware.read16(flags)]).toEqual([first, first]);
    }
    irqs.enable([signal]);
    view.write16(flags, first | PCI_MSI_FLAGS_QSIZE | PCI_MSI_FLAGS_ENABLE);
    const enabled = first | PCI_MSI_FLAGS_ENABLE;
    expect([view.read16(flags), hardware.read16(flags)]).toEqual([enabled, enabled]);
    irqs.disable();
  },
);

test(
  'device.config.msi.enable-with-irqs',
  'after SET_IRQS the enable bit of MSI belongs to the user and reaches the hardware',
  { source: WRITE, devices: MSI },
  (context) => {
    const { view, hardware, start, flags, signal, irqs } = open(context, 'MSI');
    const off = view.read16(flags);
    const on = off | PCI_MSI_FLAGS_ENABLE;
    irqs.enable([signal]);
    expect(hardware.read16(flags)).toBe(on);
    view.write16(flags, on);
    expect([view.read16(flags), hardware.read16(flags)]).toEqual([on, on]);
    view.write16(flags, off);
    expect([view.read16(flags), hardware.read16(flags)]).toEqual([off, off]);
    view.write8(flags, on & 0xff);
    expect([view.read16(flags), hardware.read16(flags)]).toEqual([on, on]);
    view.write8(flags + 1, 0);
    expect([view.read16(flags), hardware.read16(flags)]).toEqual([on, on]);
    view.write32(start, (view.read32(start) & 0xffff) | (off << 16));
    expect([view.read16(flags), hardware.read16(flags)]).toEqual([off, off]);
    irqs.disable();
    view.write16(flags, on);
    expect([view.read16(flags), hardware.read16(flags)]).toEqual([off, off]);
  },
);

test(
  'device.config.msi.enable-with-other-irqs',
  'vectors of another kind do not let the user enable MSI',
  { source: WRITE, devices: ['e1000e', 'igb', 'vmxnet3'] },
  (context) => {
    const { device, eventfd } = context;
    const { view, hardware, flags } = open(context, 'MSI');
    const msix = new Irqs(device, VFIO_PCI_MSIX_IRQ_INDEX);
    msix.enable([eventfd()]);
    const first = view.read16(flags);
    view.write16(flags, first | PCI_MSI_FLAGS_ENABLE);
    expect([view.read16(flags), hardware.read16(flags)]).toEqual([first, first]);
    msix.disable();
  },
);

test(
  'device.config.msi.address',
  "address and data that the user writes are kept for him, the vector's own stay in the hardware",
  { source: `${CONFIG} init_pci_cap_msi_perm()`, devices: MSI },
  (context) => {
    const { view, hardware, start, flags, signal, irqs } = open(context, 'MSI');
    irqs.enable([signal]);
    const shown = view.read(start + PCI_MSI_ADDRESS_LO, 10);
    const programmed = hardware.read(start + PCI_MSI_ADDRESS_LO, 10);
    expect(programmed.readUInt32LE(0), 'the kernel programmed an address').not.toBe(0);
    expect(shown, 'which the user does not see').toEqual(Buffer.alloc(10));
    const own = Buffer.from([0x10, 0x32, 0xe5, 0xfe, 0x01, 0x02, 0x03, 0x04, 0x55, 0x40]);
    view.write(start + PCI_MSI_ADDRESS_LO, own);
    view.write16(flags, view.read16(flags) | PCI_MSI_FLAGS_ENABLE);
    expect(view.read(start + PCI_MSI_ADDRESS_LO, 10)).toEqual(own);
    expect(hardware.read(start + PCI_MSI_ADDRESS_LO, 10)).toEqual(programmed);
    irqs.disable();
    expect(view.read(start + PCI_MSI_ADDRESS_LO, 10)).toEqual(own);
  },
);

test(
  'device.config.msi.mask-bits',
  'the mask of each message belongs to the user and reaches the hardware',
  { source: `${CONFIG} init_pci_cap_msi_perm()`, device: 'igb' },
  (context) => {
    const { view, hardware, start, flags, signal, irqs } = open(context, 'MSI');
    const kind = PCI_MSI_FLAGS_64BIT | PCI_MSI_FLAGS_MASKBIT;
    expect(view.read16(flags) & kind).toBe(kind);
    irqs.enable([signal]);
    const mask = start + PCI_MSI_MASK_64;
    for (const bits of [1, 0]) {
      view.write32(mask, bits);
      expect([view.read32(mask), hardware.read32(mask)]).toEqual([bits, bits]);
    }
    irqs.disable();
  },
);

test(
  'device.config.msi.delivery',
  'interrupts arrive whatever address the user wrote, and only while the enable bit is set',
  { source: WRITE, device: 'edu' },
  (context) => {
    const { view, start, flags, signal, irqs } = open(context, 'MSI');
    const edu = new Edu(context.device);
    context.defer(() => edu.unmap());
    irqs.enable([signal]);
    view.write64(start + PCI_MSI_ADDRESS_LO, 0x1234_5678_9abc_def0n);
    const off = view.read16(flags);
    view.write16(flags, off | PCI_MSI_FLAGS_ENABLE);
    edu.raise();
    expect(signal.soon()).toBe(1);
    edu.acknowledge();
    view.write16(flags, off);
    edu.raise();
    expect(signal.quiet()).toBe(0);
    edu.acknowledge();
    view.write16(flags, off | PCI_MSI_FLAGS_ENABLE);
    edu.raise();
    expect(signal.soon()).toBe(1);
    edu.acknowledge();
    irqs.disable();
  },
);

test(
  'device.config.msi.capable',
  'the number of messages that the device is capable of is the number of vectors, and read-only',
  { source: `${CONFIG} vfio_msi_config_read()`, devices: ['edu', 'igb'] },
  (context) => {
    const { view, hardware, flags } = open(context, 'MSI');
    const first = view.read16(flags);
    view.write16(flags, first | PCI_MSI_FLAGS_QMASK);
    expect(hardware.read16(flags)).toBe(first);
    expect(view.read16(flags)).toBe(first);
  },
);

test(
  'device.config.msix.enable',
  'enable and function mask of MSI-X read as in the hardware and cannot be written',
  { source: `${CONFIG} pci_cap_length[], cap_perms[]`, devices: MSIX },
  (context) => {
    const { view, hardware, flags, signal, irqs } = open(context, 'MSIX');
    const off = hardware.read16(flags);
    expect(off & (PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL)).toBe(0);
    const both = () => [view.read16(flags), hardware.read16(flags)];
    expect(both()).toEqual([off, off]);
    view.write16(flags, off | PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
    expect(both()).toEqual([off, off]);
    enableDevice(context.device);
    irqs.enable([signal]);
    const on = off | PCI_MSIX_FLAGS_ENABLE;
    expect(both()).toEqual([on, on]);
    view.write16(flags, off);
    view.write8(flags + 1, 0);
    view.write32(flags - PCI_MSIX_FLAGS, 0);
    expect(both()).toEqual([on, on]);
    irqs.loopback();
    expect(signal.soon()).toBe(1);
    irqs.disable();
    expect(both()).toEqual([off, off]);
  },
);

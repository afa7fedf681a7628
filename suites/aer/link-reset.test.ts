import {
  AerRegisters,
  Igb,
  Irqs,
  KernelErrors,
  OWN_MACHINE,
  PCI_COMMAND,
  PCI_COMMAND_MASTER,
  PCI_COMMAND_MEMORY,
  PCI_ERR_UNCOR_STATUS,
  PCI_ERR_UNC_COMP_ABORT,
  PCI_ERR_UNC_MALF_TLP,
  RawConfig,
  Recoveries,
  VFIO_DEVICE_RESET,
  VFIO_PCI_ERR_IRQ_INDEX,
  VFIO_PCI_MSIX_IRQ_INDEX,
  enableDevice,
  expect,
  AER_INJECT,
  replug,
  test,
  type TestContext,
} from '../../harness/testing/index.ts';

const NEEDS = {
  source: [
    'drivers/pci/pcie/aer.c aer_root_reset()',
    'drivers/pci/pcie/err.c pcie_do_recovery()',
    'drivers/vfio/pci/vfio_pci_config.c vfio_basic_config_write()',
  ],
  device: 'igb',
  needs: [OWN_MACHINE, AER_INJECT],
};
/** A register of igb that only a reset clears: the multicast table. */
const MTA = 0x5200;
const BARS = 0x10;
const BARS_SIZE = 24;

/** What a fatal error of the open device does, to be called when all is prepared. */
function prepareFatal(context: TestContext) {
  context.defer(() => replug(context.role));
  const { device, pci } = context;
  const recoveries = new Recoveries(context);
  const errors = new KernelErrors(context, pci);
  const fatal = () => {
    errors.inject({ uncorrectable: PCI_ERR_UNC_MALF_TLP });
    expect(recoveries.next()).toEqual({ port: pci.parent!.bdf, outcome: 'successful' });
  };
  const nonFatal = () => {
    errors.inject({ uncorrectable: PCI_ERR_UNC_COMP_ABORT });
    expect(recoveries.next().outcome).toBe('successful');
  };
  return { device, pci, fatal, nonFatal };
}

test(
  'aer.link-reset.config',
  'after a link reset the user sees the same device with the same BARs',
  { ...NEEDS, device: undefined, devices: ['igb', 'e1000e', 'virtio-net'] },
  (context) => {
    const { device, fatal } = prepareFatal(context);
    const identity = device.config.read(0, 4);
    const bars = device.config.read(BARS, BARS_SIZE);
    const capabilities = device.config.read8(0x34);
    fatal();
    expect(device.config.read(0, 4)).toEqual(identity);
    expect(device.config.read(BARS, BARS_SIZE)).toEqual(bars);
    expect(device.config.read8(0x34)).toBe(capabilities);
    expect(device.info().num_regions).toBeGreaterThan(0);
  },
);

test(
  'aer.link-reset.device-was-reset',
  'the link reset resets the device, and writing COMMAND restores its BARs',
  NEEDS,
  (context) => {
    const { device, pci, fatal } = prepareFatal(context);
    const nic = new Igb(device);
    nic.bar.store32(MTA, 0x1234_5678);
    const raw = new RawConfig(pci);
    context.defer(() => raw.close());
    const bars = raw.read(BARS, BARS_SIZE);
    fatal();
    expect(raw.read(BARS, BARS_SIZE), 'lost with the reset').not.toEqual(bars);
    enableDevice(device);
    expect(raw.read(BARS, BARS_SIZE)).toEqual(bars);
    expect(nic.bar.load32(8)).not.toBe(0xffff_ffff);
    expect(nic.bar.load32(MTA)).toBe(0);
    nic.unmap();
  },
);

test(
  'aer.link-reset.mapped-bar',
  'a BAR mapped before the link reset shows the device again after COMMAND was written',
  NEEDS,
  (context) => {
    const { device, fatal } = prepareFatal(context);
    const nic = new Igb(device);
    const status = nic.status();
    fatal();
    expect(nic.bar.tryLoad(32, 8).ok, 'an access meanwhile is harmless').toBe(true);
    enableDevice(device);
    expect(nic.status()).toBe(status);
    nic.bar.store32(MTA, 0x55);
    expect(nic.bar.load32(MTA)).toBe(0x55);
    nic.unmap();
  },
);

test(
  'aer.link-reset.read-write',
  'reading and writing a BAR through the fd works again after COMMAND was written',
  NEEDS,
  (context) => {
    const { device, fatal } = prepareFatal(context);
    enableDevice(device);
    const region = device.region(0);
    const status = region.read32(8);
    fatal();
    enableDevice(device);
    expect(region.read32(8)).toBe(status);
    region.write32(MTA, 0x77);
    expect(region.read32(MTA)).toBe(0x77);
  },
);

test(
  'aer.link-reset.interrupts',
  'interrupts enabled before the link reset are lost with it, and work when they are enabled anew',
  NEEDS,
  (context) => {
    const { device, fatal } = prepareFatal(context);
    const [before, after] = [context.eventfd(), context.eventfd()];
    const msix = new Irqs(device, VFIO_PCI_MSIX_IRQ_INDEX);
    const nic = new Igb(device);
    msix.enable([before]);
    nic.raise(0);
    expect(before.soon()).toBe(1);
    nic.acknowledge();
    fatal();
    nic.unmap();
    msix.disable();
    device.reset();
    const again = new Igb(device);
    msix.enable([after]);
    again.raise(0);
    expect(after.soon()).toBe(1);
    expect(before.take()).toBe(0);
    msix.disable();
    again.unmap();
  },
);

test(
  'aer.link-reset.mappings',
  'DMA mappings are not touched by a link reset',
  NEEDS,
  (context) => {
    const { device, fatal } = prepareFatal(context);
    const { container, memory } = context;
    const pages = memory({ size: 16384, kind: '4k' });
    container.mapDma({ iova: 0x10000n, vaddr: pages.address, size: 16384n });
    fatal();
    expect(container.tryMapDma({ iova: 0x11000n, vaddr: pages.address, size: 4096n })).toFailWith(
      'EEXIST',
    );
    expect(container.unmapDma({ iova: 0x10000n, size: 16384n })).toBe(16384n);
    expect(device.info().num_regions).toBeGreaterThan(0);
  },
);

test(
  'aer.link-reset.then-reset',
  'VFIO_DEVICE_RESET after a link reset gives a working device with its eventfd still in place',
  { ...NEEDS, covers: [VFIO_DEVICE_RESET] },
  (context) => {
    const { device, fatal, nonFatal } = prepareFatal(context);
    const signal = context.eventfd();
    new Irqs(device, VFIO_PCI_ERR_IRQ_INDEX).enable([signal]);
    fatal();
    expect(signal.take()).toBe(1);
    device.reset();
    expect(signal.take()).toBe(0);
    const nic = new Igb(device);
    expect(nic.status()).not.toBe(0xffff_ffff);
    nic.bar.store32(MTA, 9);
    expect(nic.bar.load32(MTA)).toBe(9);
    nic.unmap();
    nonFatal();
    expect(signal.take()).toBe(1);
  },
);

test(
  'aer.link-reset.again',
  'each of several fatal errors resets the link and is one signal',
  NEEDS,
  (context) => {
    const { device, fatal } = prepareFatal(context);
    const signal = context.eventfd();
    new Irqs(device, VFIO_PCI_ERR_IRQ_INDEX).enable([signal]);
    for (let round = 0; round < 3; round++) {
      const nic = new Igb(device);
      nic.bar.store32(MTA, 3);
      expect(nic.bar.load32(MTA)).toBe(3);
      fatal();
      expect(signal.take()).toBe(1);
      enableDevice(device);
      expect(nic.bar.load32(MTA)).toBe(0);
      nic.unmap();
    }
  },
);

test(
  'aer.link-reset.next-user',
  'the next user after a link reset finds the device as the one before did',
  { ...NEEDS, device: undefined, devices: ['igb', 'e1000e'] },
  (context) => {
    const { device, fatal } = prepareFatal(context);
    const { group, openDevice } = context;
    const header = device.config.read(0, 64);
    enableDevice(device);
    fatal();
    device.close();
    const next = openDevice(group);
    expect(next.config.read(0, 64)).toEqual(header);
    enableDevice(next);
    expect(next.region(0).read32(8)).not.toBe(0xffff_ffff);
  },
);

test(
  'aer.link-reset.status',
  'the status of a fatal error is left to the user, who clears it by writing ones',
  NEEDS,
  (context) => {
    const { device, fatal } = prepareFatal(context);
    const registers = new AerRegisters(device);
    fatal();
    expect(registers.read(PCI_ERR_UNCOR_STATUS)).toBe(PCI_ERR_UNC_MALF_TLP);
    registers.write(PCI_ERR_UNCOR_STATUS, PCI_ERR_UNC_MALF_TLP);
    expect(registers.read(PCI_ERR_UNCOR_STATUS)).toBe(0);
  },
);

test(
  'aer.link-reset.command',
  'decoding and bus mastering that the link reset switched off are switched on by the user alone',
  NEEDS,
  (context) => {
    const { device, pci, fatal } = prepareFatal(context);
    enableDevice(device);
    const raw = new RawConfig(pci);
    context.defer(() => raw.close());
    const both = PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
    expect(raw.read16(PCI_COMMAND) & both).toBe(both);
    fatal();
    expect(raw.read16(PCI_COMMAND) & both).toBe(0);
    enableDevice(device);
    expect(raw.read16(PCI_COMMAND) & both).toBe(both);
  },
);

test(
  'aer.link-reset.without-eventfd',
  'a fatal error of a device without an eventfd for it is recovered from, and the device works after a reset',
  NEEDS,
  (context) => {
    const { device, fatal } = prepareFatal(context);
    fatal();
    device.reset();
    const nic = new Igb(device);
    expect(nic.status()).not.toBe(0xffff_ffff);
    nic.unmap();
  },
);

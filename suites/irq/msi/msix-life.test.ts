import {
  Irqs,
  MSIX_ENTRY_SIZE,
  PCI_COMMAND,
  PCI_COMMAND_MEMORY,
  PCI_MSIX_FLAGS,
  PCI_MSIX_FLAGS_ENABLE,
  PCI_MSIX_FLAGS_MASKALL,
  VFIO_DEVICE_RESET,
  VFIO_DEVICE_SET_IRQS,
  VFIO_PCI_MSIX_IRQ_INDEX,
  allocatedMessages,
  enableDevice,
  expect,
  interruptHandlers,
  msixTable,
  setCommand,
  setMemoryEnabled,
  test,
  vectorDriver,
  type TestContext,
} from '../../../harness/testing/index.ts';

const INTRS = 'drivers/vfio/pci/vfio_pci_intrs.c';
const RAISING = ['igb', 'igb-multi-1'];
/** Of a vector's entry in the table. */
const VECTOR_CONTROL = 12;

/** The device's vector table, and its control register as the device has it. */
function table({ device, pci }: TestContext) {
  const found = msixTable(device);
  const control = () => pci.config().readUInt16LE(found.capability + PCI_MSIX_FLAGS);
  return { ...found, control };
}

test(
  'irq.msix.enable-disable-enable',
  'MSI-X can be enabled, disabled and enabled again with other sizes, and works each time',
  { covers: [VFIO_DEVICE_SET_IRQS], source: `${INTRS} vfio_msi_disable()`, devices: RAISING },
  (t) => {
    const driver = vectorDriver(t);
    const msix = new Irqs(t.device, VFIO_PCI_MSIX_IRQ_INDEX);
    const { control } = table(t);
    for (const size of [1, 3, 5, 2, 1, 4]) {
      const signals = Array.from({ length: size }, () => t.eventfd());
      msix.enable(signals);
      expect(control() & (PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL)).toBe(
        PCI_MSIX_FLAGS_ENABLE,
      );
      driver.raise(size - 1);
      expect(signals[size - 1]!.soon(), `${size} vectors`).toBe(1);
      driver.acknowledge();
      msix.disable();
      expect(control() & PCI_MSIX_FLAGS_ENABLE).toBe(0);
      expect(msix.tryPlain('trigger', 0, 0), 'disabled already').toFailWith('EINVAL');
    }
  },
);

test(
  'irq.msix.disabled-is-silent',
  'after MSI-X is disabled neither the device nor the user reaches the eventfds',
  { covers: [VFIO_DEVICE_SET_IRQS], source: `${INTRS} vfio_msi_disable()`, devices: RAISING },
  (t) => {
    const driver = vectorDriver(t);
    const signals = [t.eventfd(), t.eventfd(), t.eventfd()];
    const msix = new Irqs(t.device, VFIO_PCI_MSIX_IRQ_INDEX);
    msix.enable(signals);
    msix.disable();
    expect(interruptHandlers(t.pci.bdf)).toEqual([]);
    for (const vector of [0, 1, 2]) driver.raise(vector);
    expect(msix.tryPlain('trigger', 0, 3)).toFailWith('EINVAL');
    expect(msix.tryBools([1, 1, 1], 'trigger')).toFailWith('EINVAL');
    expect(signals[0]!.quiet()).toBe(0);
    expect(signals.map((signal) => signal.take())).toEqual([0, 0, 0]);
    driver.acknowledge();
  },
);

test(
  'irq.msix.close-disables',
  'closing the device frees its vectors, and the next user starts without',
  {
    covers: [VFIO_DEVICE_SET_IRQS],
    source: 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_core_disable()',
    devices: RAISING,
  },
  (t) => {
    const signals = [t.eventfd(), t.eventfd()];
    const first = t.group.getDevice(t.pci.bdf);
    new Irqs(first, VFIO_PCI_MSIX_IRQ_INDEX).enable(signals);
    expect(interruptHandlers(t.pci.bdf)).toHaveLength(2);
    first.close();
    expect(interruptHandlers(t.pci.bdf)).toEqual([]);
    expect(allocatedMessages(t.pci)).toBe(0);
    const driver = vectorDriver(t);
    driver.raise(0);
    expect(signals[0]!.quiet()).toBe(0);
    driver.acknowledge();
    const msix = new Irqs(t.device, VFIO_PCI_MSIX_IRQ_INDEX);
    expect(msix.tryPlain('trigger')).toFailWith('EINVAL');
    msix.enable(signals);
    driver.raise(1);
    expect(signals[1]!.soon()).toBe(1);
  },
);

test(
  'irq.msix.reset',
  'MSI-X survives a reset of the device: its vectors still signal their eventfds',
  {
    covers: [VFIO_DEVICE_RESET],
    source: 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_ioctl_reset()',
    device: 'igb',
  },
  (t) => {
    const signals = [t.eventfd(), t.eventfd(), t.eventfd()];
    const msix = new Irqs(t.device, VFIO_PCI_MSIX_IRQ_INDEX);
    msix.enable(signals);
    vectorDriver(t).raise(0);
    expect(signals[0]!.soon()).toBe(1);
    for (let round = 0; round < 3; round++) {
      t.device.reset();
      expect(
        signals.map((signal) => signal.take()),
        'a reset interrupts nobody',
      ).toEqual([0, 0, 0]);
      const driver = vectorDriver(t);
      for (const vector of [0, 1, 2]) {
        driver.raise(vector);
        expect(signals[vector]!.soon(), `vector ${vector} after reset ${round}`).toBe(1);
      }
    }
    msix.disable();
    expect(interruptHandlers(t.pci.bdf)).toEqual([]);
  },
);

test(
  'irq.msix.memory-disabled',
  'MSI-X is enabled, changed and disabled properly while the user has switched memory decoding off',
  {
    covers: [VFIO_DEVICE_SET_IRQS],
    source: [
      'drivers/vfio/pci/vfio_pci_core.c vfio_pci_memory_lock_and_enable()',
      `${INTRS} vfio_msi_enable()`,
      `${INTRS} vfio_msi_set_vector_signal()`,
    ],
    devices: RAISING,
    fixes: ['CVE-2020-12888', 'abafbc551fdd'],
  },
  (t) => {
    const driver = vectorDriver(t);
    const msix = new Irqs(t.device, VFIO_PCI_MSIX_IRQ_INDEX);
    const signals = Array.from({ length: 4 }, () => t.eventfd());
    const fresh = t.eventfd();
    // What the driver puts back at the end is in a BAR.
    t.defer(() => setCommand(t.device, { set: PCI_COMMAND_MEMORY }));
    const memory = () => t.pci.config().readUInt16LE(PCI_COMMAND) & PCI_COMMAND_MEMORY;
    const withoutMemory = (step: () => void) => {
      setCommand(t.device, { clear: PCI_COMMAND_MEMORY });
      step();
      expect(memory(), 'memory decoding is off again').toBe(0);
      expect(t.device.config.read16(PCI_COMMAND) & PCI_COMMAND_MEMORY).toBe(0);
      setCommand(t.device, { set: PCI_COMMAND_MEMORY });
    };
    withoutMemory(() => msix.enable(signals));
    driver.raise(3);
    expect(signals[3]!.soon()).toBe(1);
    withoutMemory(() => msix.enable([fresh], 3));
    driver.acknowledge();
    driver.raise(3);
    expect(fresh.soon()).toBe(1);
    withoutMemory(() => msix.enable([null], 2));
    driver.acknowledge();
    driver.raise(2);
    expect(signals[2]!.quiet()).toBe(0);
    withoutMemory(() => msix.enable([signals[2]!], 2));
    driver.acknowledge();
    driver.raise(2);
    expect(signals[2]!.soon()).toBeGreaterThanOrEqual(1);
    withoutMemory(() => msix.disable());
    msix.enable(signals);
    expect(memory(), 'and stays on where it was on').toBe(PCI_COMMAND_MEMORY);
    driver.acknowledge();
    driver.raise(1);
    expect(signals[1]!.soon()).toBe(1);
  },
);

test(
  'irq.msix.memory-disabled.table',
  'what is done to vectors while memory decoding is off reaches the vector table as it does while it is on',
  {
    covers: [VFIO_DEVICE_SET_IRQS],
    source: [
      'drivers/vfio/pci/vfio_pci_core.c vfio_pci_memory_lock_and_enable()',
      `${INTRS} vfio_msi_enable(), vfio_msi_alloc_irq(), vfio_msi_set_vector_signal(), vfio_msi_disable()`,
    ],
    devices: ['igb', 'e1000e'],
    fixes: ['CVE-2020-12888', 'abafbc551fdd'],
    since: '6.5',
  },
  (t) => {
    enableDevice(t.device);
    const { bar, offset, size } = table(t);
    const mapping = t.map(t.device.region(bar));
    const controls = Array.from(
      { length: size / MSIX_ENTRY_SIZE },
      (_, vector) => offset + vector * MSIX_ENTRY_SIZE + VECTOR_CONTROL,
    );
    const signals = Array.from({ length: 3 }, () => t.eventfd());
    const msix = new Irqs(t.device, VFIO_PCI_MSIX_IRQ_INDEX);
    const steps = {
      enable: () => msix.enable(signals.slice(0, 2)),
      add: () => msix.enable([signals[2]!], 2),
      remove: () => msix.enable([null], 1),
      'set again': () => msix.enable([signals[1]!], 1),
      disable: () => msix.disable(),
    };
    const outcomes = (around: (step: () => void) => void) => {
      for (const control of controls) mapping.store32(control, 0);
      return Object.entries(steps).map(([name, step]) => {
        around(step);
        return [name, controls.map((control) => mapping.load32(control))];
      });
    };
    const usual = outcomes((step) => step());
    const meanwhileOff = outcomes((step) => {
      setMemoryEnabled(t.device, false);
      step();
      setMemoryEnabled(t.device, true);
    });
    expect(meanwhileOff).toEqual(usual);
  },
);

test(
  'irq.msix.table-refreshed',
  'setting a vector writes its table entry anew, whatever the device had there',
  {
    covers: [VFIO_DEVICE_SET_IRQS],
    source: `${INTRS} vfio_msi_set_vector_signal()`,
    devices: RAISING,
    fixes: ['b8f02af096b1'],
  },
  (t) => {
    const driver = vectorDriver(t);
    const msix = new Irqs(t.device, VFIO_PCI_MSIX_IRQ_INDEX);
    const signals = [t.eventfd(), t.eventfd()];
    msix.enable(signals);
    const { bar, offset } = table(t);
    const mapping = t.device.region(bar).map();
    t.defer(() => mapping.unmap());
    const entry = (vector: number) =>
      [0, 4, 8].map((field) => mapping.load32(offset + vector * MSIX_ENTRY_SIZE + field));
    const before = [entry(0), entry(1)];
    // As after a reset behind the kernel's back.
    for (const field of [0, 4, 8]) mapping.store32(offset + MSIX_ENTRY_SIZE + field, 0);
    msix.enable([signals[1]!], 1);
    expect([entry(0), entry(1)]).toEqual(before);
    driver.raise(1);
    expect(signals[1]!.soon()).toBe(1);
  },
);

test(
  'irq.msix.table-hidden',
  'reads of the vector table give all ones and writes are dropped',
  {
    covers: [],
    source: 'drivers/vfio/pci/vfio_pci_rdwr.c vfio_pci_core_do_io_rw()',
    devices: RAISING,
  },
  (t) => {
    const driver = vectorDriver(t);
    const msix = new Irqs(t.device, VFIO_PCI_MSIX_IRQ_INDEX);
    const { count } = t.device.irqInfo(VFIO_PCI_MSIX_IRQ_INDEX);
    const signals = Array.from({ length: count }, () => t.eventfd());
    msix.enable(signals);
    const { bar, offset } = table(t);
    const region = t.device.region(bar);
    const size = count * MSIX_ENTRY_SIZE;
    expect(region.read(offset, size)).toEqual(Buffer.alloc(size, 0xff));
    region.write(offset, Buffer.alloc(size));
    for (const at of [offset, offset + size - 4]) {
      region.write32(at, 1);
      expect(region.read32(at)).toBe(0xffff_ffff);
    }
    for (const vector of [0, count - 1]) {
      driver.raise(vector);
      expect(signals[vector]!.soon(), `vector ${vector}`).toBe(1);
    }
  },
);

test(
  'irq.msix.control-read-only',
  'the MSI-X control register shows what the kernel set and cannot be written',
  {
    covers: [],
    source: 'drivers/vfio/pci/vfio_pci_config.c vfio_direct_config_read()',
    devices: RAISING,
  },
  (t) => {
    const driver = vectorDriver(t);
    const msix = new Irqs(t.device, VFIO_PCI_MSIX_IRQ_INDEX);
    const signal = t.eventfd();
    const { capability, control } = table(t);
    const { config } = t.device;
    const user = () => config.read16(capability + PCI_MSIX_FLAGS);
    const off = control();
    expect(user()).toBe(off);
    config.write16(capability + PCI_MSIX_FLAGS, off | PCI_MSIX_FLAGS_ENABLE);
    expect([user(), control()]).toEqual([off, off]);
    msix.enable([signal]);
    const on = control();
    expect(on & PCI_MSIX_FLAGS_ENABLE).toBe(PCI_MSIX_FLAGS_ENABLE);
    expect(user()).toBe(on);
    config.write16(capability + PCI_MSIX_FLAGS, 0);
    config.write16(capability + PCI_MSIX_FLAGS, on | PCI_MSIX_FLAGS_MASKALL);
    // Four bytes at once, as some guests write it.
    config.write32(capability, config.read32(capability) & 0x7fff_ffff);
    expect([user(), control()]).toEqual([on, on]);
    driver.raise(0);
    expect(signal.soon()).toBe(1);
  },
);

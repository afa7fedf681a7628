import {
  Irqs,
  PCI_CAP_ID_MSI,
  PCI_MSI_ADDRESS_LO,
  PCI_MSI_FLAGS,
  PCI_MSI_FLAGS_ENABLE,
  VFIO_DEVICE_GET_IRQ_INFO,
  VFIO_DEVICE_SET_IRQS,
  VFIO_PCI_MSI_IRQ_INDEX,
  allocatedMessages,
  eduDriver,
  expect,
  findCapability,
  interruptHandlers,
  lineDriver,
  setCommand,
  setDisIntx,
  test,
  PCI_COMMAND_MASTER,
} from '../../../harness/testing/index.ts';

const INTRS = 'drivers/vfio/pci/vfio_pci_intrs.c';
const MSI_CONFIG_WRITE = 'drivers/vfio/pci/vfio_pci_config.c vfio_msi_config_write()';
const MSI_DEVICES = ['edu', 'edu-rp'];

test(
  'irq.msi.delivery',
  'each MSI raised by the device is one count of the eventfd, and none after disable',
  {
    covers: [VFIO_DEVICE_SET_IRQS],
    source: `${INTRS} vfio_msihandler()`,
    devices: MSI_DEVICES,
    peer: ['S26'],
  },
  (t) => {
    const driver = lineDriver(t);
    const signal = t.eventfd();
    const msi = new Irqs(t.device, VFIO_PCI_MSI_IRQ_INDEX);
    msi.enable([signal]);
    expect(interruptHandlers(t.pci.bdf)).toEqual([`vfio-msi[0](${t.pci.bdf})`]);
    expect(allocatedMessages(t.pci)).toBe(1);
    for (let round = 0; round < 5; round++) {
      driver.raise();
      expect(signal.soon()).toBe(1);
      expect(signal.take()).toBe(0);
      driver.acknowledge();
    }
    msi.disable();
    expect(interruptHandlers(t.pci.bdf)).toEqual([]);
    expect(allocatedMessages(t.pci)).toBe(0);
    expect(msi.tryPlain('trigger', 0, 0), 'disabled already').toFailWith('EINVAL');
    setDisIntx(t.device, true);
    driver.raise();
    expect(signal.quiet()).toBe(0);
    driver.acknowledge();
  },
);

test(
  'irq.msi.delivery.e1000e',
  'an e1000e interrupts by MSI as often as it is told to, or its throttling timers add',
  { covers: [VFIO_DEVICE_SET_IRQS], source: `${INTRS} vfio_msihandler()`, device: 'e1000e' },
  (t) => {
    const driver = lineDriver(t);
    const signal = t.eventfd();
    new Irqs(t.device, VFIO_PCI_MSI_IRQ_INDEX).enable([signal]);
    expect(signal.quiet()).toBe(0);
    for (let round = 0; round < 3; round++) {
      driver.raise();
      expect(signal.soon()).toBeGreaterThanOrEqual(1);
      driver.acknowledge();
    }
  },
);

test(
  'irq.msi.raised-while-disabled',
  'what the device raises while MSI is disabled is no message, nor one when MSI is enabled',
  {
    covers: [VFIO_DEVICE_SET_IRQS],
    source: [`${INTRS} vfio_msi_disable()`, 'PCI Local Bus Specification 3.0, 6.8.1.3'],
    devices: MSI_DEVICES,
  },
  (t) => {
    const driver = lineDriver(t);
    const signal = t.eventfd();
    const msi = new Irqs(t.device, VFIO_PCI_MSI_IRQ_INDEX);
    // Without MSI it is the line that the device raises: nobody is to be disturbed by it.
    setDisIntx(t.device, true);
    for (let round = 0; round < 3; round++) {
      driver.raise();
      msi.enable([signal]);
      expect(signal.quiet(), 'lost').toBe(0);
      driver.acknowledge();
      driver.raise();
      expect(signal.soon()).toBe(1);
      driver.acknowledge();
      msi.disable();
    }
  },
);

test(
  'irq.msi.loopback',
  'a trigger without data or with a true bool signals the eventfd of the vector',
  {
    covers: [VFIO_DEVICE_SET_IRQS],
    source: `${INTRS} vfio_pci_set_msi_trigger()`,
    devices: MSI_DEVICES,
    peer: ['S6'],
  },
  ({ device, eventfd }) => {
    const signal = eventfd();
    const msi = new Irqs(device, VFIO_PCI_MSI_IRQ_INDEX);
    msi.enable([signal]);
    expect(signal.take()).toBe(0);
    msi.loopback();
    expect(signal.take()).toBe(1);
    expect(msi.tryBools([0], 'trigger')).toSucceed(0);
    expect(signal.take()).toBe(0);
    expect(msi.tryBools([0x40], 'trigger')).toSucceed(0);
    expect(signal.take()).toBe(1);
  },
);

test(
  'irq.msi.replace-remove',
  'the eventfd of MSI can be replaced and removed while MSI stays enabled',
  {
    covers: [VFIO_DEVICE_SET_IRQS],
    source: `${INTRS} vfio_msi_set_vector_signal()`,
    devices: MSI_DEVICES,
  },
  (t) => {
    const driver = lineDriver(t);
    const [old, fresh] = [t.eventfd(), t.eventfd()];
    const msi = new Irqs(t.device, VFIO_PCI_MSI_IRQ_INDEX);
    msi.enable([old]);
    msi.enable([fresh]);
    driver.raise();
    expect(fresh.soon()).toBe(1);
    driver.acknowledge();
    msi.enable([null]);
    expect(interruptHandlers(t.pci.bdf)).toEqual([]);
    expect(allocatedMessages(t.pci)).toBe(1);
    expect(msi.tryPlain('trigger')).toSucceed(0);
    expect([old.quiet(), fresh.take()]).toEqual([0, 0]);
    msi.enable([old]);
    driver.raise();
    expect(old.soon()).toBe(1);
    expect(fresh.take()).toBe(0);
  },
);

test(
  'irq.msi.bus-master-off',
  'without bus mastering the device cannot send its MSI',
  { covers: [], source: 'PCI Local Bus Specification 3.0, 6.8.3', device: 'edu' },
  (t) => {
    const edu = eduDriver(t);
    const signal = t.eventfd();
    new Irqs(t.device, VFIO_PCI_MSI_IRQ_INDEX).enable([signal]);
    setCommand(t.device, { clear: PCI_COMMAND_MASTER });
    edu.raise();
    expect(signal.quiet()).toBe(0);
    edu.acknowledge();
    setCommand(t.device, { set: PCI_COMMAND_MASTER });
    edu.raise();
    expect(signal.soon()).toBe(1);
  },
);

test(
  'irq.msi.message-virtual',
  'address and data of the MSI that the user writes stay his own and never reach the device',
  {
    covers: [],
    source: 'drivers/vfio/pci/vfio_pci_config.c init_pci_cap_msi_perm()',
    devices: MSI_DEVICES,
  },
  (t) => {
    const driver = lineDriver(t);
    const signal = t.eventfd();
    const msi = new Irqs(t.device, VFIO_PCI_MSI_IRQ_INDEX);
    msi.enable([signal]);
    const { config } = t.device;
    const at = findCapability(config, PCI_CAP_ID_MSI)!;
    const message = () =>
      t.pci
        .config()
        .subarray(at + PCI_MSI_ADDRESS_LO, at + 0xe)
        .toString('hex');
    const before = message();
    config.write32(at + PCI_MSI_ADDRESS_LO, 0xdead_bee0);
    config.write32(at + PCI_MSI_ADDRESS_LO + 4, 0x1234_5678);
    config.write16(at + PCI_MSI_ADDRESS_LO + 8, 0x4321);
    expect(config.read32(at + PCI_MSI_ADDRESS_LO)).toBe(0xdead_bee0);
    expect(config.read32(at + PCI_MSI_ADDRESS_LO + 4)).toBe(0x1234_5678);
    expect(config.read16(at + PCI_MSI_ADDRESS_LO + 8)).toBe(0x4321);
    expect(message()).toBe(before);
    driver.raise();
    expect(signal.soon()).toBe(1);
  },
);

test(
  'irq.msi.enable-bit',
  'the MSI enable bit of the user counts while MSI is in use by SET_IRQS, and not otherwise',
  { covers: [VFIO_DEVICE_SET_IRQS], source: MSI_CONFIG_WRITE, device: 'edu' },
  (t) => {
    const edu = eduDriver(t);
    const signal = t.eventfd();
    const msi = new Irqs(t.device, VFIO_PCI_MSI_IRQ_INDEX);
    const { config } = t.device;
    const at = findCapability(config, PCI_CAP_ID_MSI)! + PCI_MSI_FLAGS;
    const enabled = () => [
      config.read16(at) & PCI_MSI_FLAGS_ENABLE,
      t.pci.config().readUInt16LE(at) & PCI_MSI_FLAGS_ENABLE,
    ];
    config.write16(at, config.read16(at) | PCI_MSI_FLAGS_ENABLE);
    expect(enabled(), 'not by config space').toEqual([0, 0]);
    msi.enable([signal]);
    expect(enabled()[1]).toBe(1);
    config.write16(at, config.read16(at) & ~PCI_MSI_FLAGS_ENABLE);
    expect(enabled()).toEqual([0, 0]);
    // Without MSI the device uses its line, on which nobody listens.
    setDisIntx(t.device, true);
    edu.raise();
    expect(signal.quiet()).toBe(0);
    edu.acknowledge();
    setDisIntx(t.device, false);
    config.write16(at, config.read16(at) | PCI_MSI_FLAGS_ENABLE);
    expect(enabled()).toEqual([1, 1]);
    edu.raise();
    expect(signal.soon()).toBe(1);
    edu.acknowledge();
    msi.disable();
    expect(enabled()[1]).toBe(0);
  },
);

test(
  'irq.msi.queue-size',
  'the user is offered as many MSI vectors as were enabled and cannot ask for more',
  {
    covers: [],
    source: [MSI_CONFIG_WRITE, 'drivers/vfio/pci/vfio_pci_config.c vfio_msi_config_read()'],
    devices: MSI_DEVICES,
  },
  (t) => {
    const { config } = t.device;
    const at = findCapability(config, PCI_CAP_ID_MSI)! + PCI_MSI_FLAGS;
    const QUEUE_MAX = 0xe;
    const QUEUE_SIZE = 0x70;
    new Irqs(t.device, VFIO_PCI_MSI_IRQ_INDEX).enable([t.eventfd()]);
    expect(config.read16(at) & QUEUE_MAX).toBe(0);
    for (const size of [0x10, 0x30, 0x70]) {
      config.write16(at, (config.read16(at) & ~QUEUE_SIZE) | size);
      expect(config.read16(at) & QUEUE_SIZE).toBe(0);
      expect(t.pci.config().readUInt16LE(at) & QUEUE_SIZE).toBe(0);
    }
  },
);

test(
  'irq.index.beyond',
  'an interrupt index that the device does not have is refused',
  {
    covers: [VFIO_DEVICE_GET_IRQ_INFO.fails('EINVAL')],
    source: 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_ioctl_get_irq_info()',
  },
  ({ device }) => {
    const { num_irqs } = device.info();
    for (const index of [num_irqs, num_irqs + 1, 0xffffffff]) {
      expect(device.tryGetIrqInfo(index)).toFailWith('EINVAL');
    }
  },
);

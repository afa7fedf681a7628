import {
  Irqs,
  PCI_COMMAND,
  PCI_COMMAND_INTX_DISABLE,
  PCI_STATUS,
  PCI_STATUS_INTERRUPT,
  VFIO_DEVICE_SET_IRQS,
  VFIO_PCI_INTX_IRQ_INDEX,
  VFIO_PCI_MSI_IRQ_INDEX,
  deviceDisIntx,
  eduDriver,
  expect,
  lineDriver,
  setDisIntx,
  test,
  userDisIntx,
  type Device,
  type PciFunction,
} from '../../../harness/testing/index.ts';
import { LINE_DEVICES, enabledIntx } from './enabled-intx.ts';

const INTRS = 'drivers/vfio/pci/vfio_pci_intrs.c';
const CONFIG_WRITE = 'drivers/vfio/pci/vfio_pci_config.c vfio_basic_config_write()';
const CVE_DISINTX = ['CVE-2024-26810', '810cd4bb5345'];

/** DisINTx as the user sees it and as the device has it. */
function disIntx(device: Device, pci: PciFunction): { user: boolean; device: boolean } {
  return {
    user: userDisIntx(device),
    device: deviceDisIntx(pci),
  };
}

test(
  'irq.intx.disintx.masks',
  'DisINTx set by the user holds the interrupt back until it is cleared',
  { covers: [], source: CONFIG_WRITE, devices: LINE_DEVICES, fixes: CVE_DISINTX },
  (t) => {
    const driver = lineDriver(t);
    const { intx, signal } = enabledIntx(t);
    setDisIntx(t.device, true);
    driver.raise();
    expect(signal.quiet()).toBe(0);
    setDisIntx(t.device, false);
    expect(signal.soon()).toBe(1);
    driver.acknowledge();
    intx.unmask();
    driver.raise();
    expect(signal.soon()).toBe(1);
    driver.acknowledge();
  },
);

test(
  'irq.intx.disintx.beats-unmask',
  'no unmask, by call or by eventfd, lets an interrupt through while DisINTx is set',
  {
    covers: [VFIO_DEVICE_SET_IRQS],
    source: `${INTRS} vfio_pci_intx_unmask_handler()`,
    device: 'edu',
  },
  (t) => {
    const edu = eduDriver(t);
    const { intx, signal } = enabledIntx(t);
    const unmask = t.eventfd();
    intx.unmaskBy(unmask);
    setDisIntx(t.device, true);
    // With nothing pending an unmask would reach the device.
    intx.unmask();
    expect(disIntx(t.device, t.pci)).toEqual({ user: true, device: true });
    edu.raise();
    intx.unmask();
    expect(intx.tryBools([1], 'unmask')).toSucceed(0);
    unmask.signal();
    intx.loopback();
    expect(intx.tryBools([1], 'trigger')).toSucceed(0);
    expect(signal.quiet(), 'the loopback is held back too').toBe(0);
    expect(disIntx(t.device, t.pci)).toEqual({ user: true, device: true });
    setDisIntx(t.device, false);
    expect(signal.soon()).toBe(1);
  },
);

test(
  'irq.intx.disintx.next-user',
  'DisINTx that one user set is no matter of the next one',
  {
    covers: [VFIO_DEVICE_SET_IRQS],
    source: 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_core_disable()',
    devices: LINE_DEVICES,
  },
  (t) => {
    setDisIntx(t.device, true);
    t.device.close();
    const next = t.openDevice(t.group);
    const signal = t.eventfd();
    const intx = new Irqs(next, VFIO_PCI_INTX_IRQ_INDEX);
    intx.enable([signal]);
    expect(disIntx(next, t.pci)).toEqual({ user: false, device: false });
    intx.loopback();
    expect(signal.soon()).toBe(1);
  },
);

test(
  'irq.intx.disintx.by-bytes',
  'DisINTx works by a write of its byte alone, and a write of the lower byte leaves it',
  { covers: [], source: CONFIG_WRITE, device: 'edu' },
  (t) => {
    const edu = eduDriver(t);
    const signal = t.eventfd();
    const { config } = t.device;
    new Irqs(t.device, VFIO_PCI_INTX_IRQ_INDEX).enable([signal]);
    config.write8(PCI_COMMAND + 1, PCI_COMMAND_INTX_DISABLE >> 8);
    expect(disIntx(t.device, t.pci)).toEqual({ user: true, device: true });
    config.write8(PCI_COMMAND, config.read8(PCI_COMMAND));
    expect(disIntx(t.device, t.pci)).toEqual({ user: true, device: true });
    edu.raise();
    expect(signal.quiet()).toBe(0);
    config.write8(PCI_COMMAND + 1, 0);
    expect(signal.soon()).toBe(1);
    edu.acknowledge();
  },
);

test(
  'irq.intx.disintx.physical-follows-mask',
  'the DisINTx bit of the device follows the mask, and the user sees only his own',
  {
    covers: [VFIO_DEVICE_SET_IRQS],
    source: [`${INTRS} vfio_pci_intx_mask()`, `${INTRS} vfio_intx_handler()`],
    devices: LINE_DEVICES,
  },
  (t) => {
    const driver = lineDriver(t);
    const signal = t.eventfd();
    const intx = new Irqs(t.device, VFIO_PCI_INTX_IRQ_INDEX);
    const bits = () => disIntx(t.device, t.pci);
    expect(bits()).toEqual({ user: false, device: false });
    intx.enable([signal]);
    expect(bits()).toEqual({ user: false, device: false });
    intx.mask();
    expect(bits(), 'masked by call').toEqual({ user: false, device: true });
    intx.unmask();
    expect(bits(), 'unmasked').toEqual({ user: false, device: false });
    driver.raise();
    expect(signal.soon()).toBe(1);
    expect(bits(), 'masked by the interrupt').toEqual({ user: false, device: true });
    intx.unmask();
    expect(bits(), 'unmasked while high: masked still').toEqual({ user: false, device: true });
    driver.acknowledge();
    intx.unmask();
    expect(bits()).toEqual({ user: false, device: false });
  },
);

test(
  'irq.intx.disintx.without-intx',
  'while INTx is not enabled the DisINTx bit of the device follows that of the user',
  { covers: [], source: [CONFIG_WRITE, `${INTRS} vfio_pci_intx_mask()`], devices: LINE_DEVICES },
  ({ device, pci }) => {
    for (const disabled of [true, false, true, true, false, false]) {
      setDisIntx(device, disabled);
      expect(disIntx(device, pci)).toEqual({ user: disabled, device: disabled });
    }
  },
);

test(
  'irq.intx.disintx.enabled-while-set',
  'INTx enabled while DisINTx is set starts masked, and clearing the bit unmasks it',
  {
    covers: [VFIO_DEVICE_SET_IRQS],
    source: `${INTRS} vfio_intx_enable()`,
    devices: LINE_DEVICES,
    fixes: CVE_DISINTX,
  },
  (t) => {
    const driver = lineDriver(t);
    const signal = t.eventfd();
    const intx = new Irqs(t.device, VFIO_PCI_INTX_IRQ_INDEX);
    setDisIntx(t.device, true);
    intx.enable([signal]);
    expect(disIntx(t.device, t.pci)).toEqual({ user: true, device: true });
    driver.raise();
    expect(signal.quiet()).toBe(0);
    setDisIntx(t.device, false);
    expect(signal.soon()).toBe(1);
    driver.acknowledge();
    intx.unmask();
    intx.disable();
    intx.enable([signal]);
    expect(disIntx(t.device, t.pci)).toEqual({ user: false, device: false });
    driver.raise();
    expect(signal.soon()).toBe(1);
  },
);

test(
  'irq.intx.disintx.disabled-meanwhile',
  'INTx disabled while masked by call can be enabled again unmasked',
  { covers: [VFIO_DEVICE_SET_IRQS], source: `${INTRS} vfio_intx_enable()`, device: 'edu' },
  (t) => {
    const edu = eduDriver(t);
    const { intx, signal } = enabledIntx(t);
    intx.mask();
    intx.disable();
    expect(disIntx(t.device, t.pci).user).toBe(false);
    intx.enable([signal]);
    expect(disIntx(t.device, t.pci)).toEqual({ user: false, device: false });
    edu.raise();
    expect(signal.soon()).toBe(1);
  },
);

test(
  'irq.intx.disintx.clear-unmasks-masked',
  'clearing DisINTx unmasks INTx also if a call had masked it',
  { covers: [], source: CONFIG_WRITE, device: 'edu' },
  (t) => {
    const edu = eduDriver(t);
    const { intx, signal } = enabledIntx(t);
    intx.mask();
    edu.raise();
    setDisIntx(t.device, false);
    expect(signal.quiet(), 'a bit that was clear already unmasks nothing').toBe(0);
    setDisIntx(t.device, true);
    expect(signal.quiet()).toBe(0);
    setDisIntx(t.device, false);
    expect(signal.soon()).toBe(1);
  },
);

test(
  'irq.intx.disintx.reopen',
  'DisINTx left set by one user does not meet the next',
  {
    covers: [VFIO_DEVICE_SET_IRQS],
    source: 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_core_disable()',
    devices: LINE_DEVICES,
  },
  (t) => {
    const first = t.group.getDevice(t.pci.bdf);
    setDisIntx(first, true);
    first.close();
    expect(disIntx(t.device, t.pci)).toEqual({ user: false, device: false });
    const driver = lineDriver(t);
    const signal = t.eventfd();
    new Irqs(t.device, VFIO_PCI_INTX_IRQ_INDEX).enable([signal]);
    driver.raise();
    expect(signal.soon()).toBe(1);
  },
);

test(
  'irq.intx.status-pending',
  'the interrupt status bit shows whether the line is raised, masked or not',
  { covers: [], source: 'PCI Local Bus Specification 3.0, 6.2.3', devices: LINE_DEVICES },
  (t) => {
    const driver = lineDriver(t);
    const { signal } = enabledIntx(t);
    const pending = () => t.device.config.read16(PCI_STATUS) & PCI_STATUS_INTERRUPT;
    expect(pending()).toBe(0);
    driver.raise();
    expect(signal.soon()).toBe(1);
    expect(pending(), 'masked by the interrupt').toBe(PCI_STATUS_INTERRUPT);
    driver.acknowledge();
    expect(pending()).toBe(0);
    driver.raise();
    expect(signal.quiet()).toBe(0);
    expect(pending(), 'raised while masked').toBe(PCI_STATUS_INTERRUPT);
    driver.acknowledge();
  },
);

test(
  'irq.intx.disintx.with-msi',
  'DisINTx changed while MSI is in use is passed to the device and leaves MSI working',
  {
    covers: [],
    source: [`${INTRS} vfio_pci_intx_mask()`, `${INTRS} vfio_pci_intx_unmask_handler()`],
    device: 'edu',
  },
  (t) => {
    const edu = eduDriver(t);
    const signal = t.eventfd();
    new Irqs(t.device, VFIO_PCI_MSI_IRQ_INDEX).enable([signal]);
    for (const disabled of [true, false]) {
      setDisIntx(t.device, disabled);
      expect(disIntx(t.device, t.pci)).toEqual({ user: disabled, device: disabled });
      edu.raise();
      expect(signal.soon()).toBe(1);
      edu.acknowledge();
    }
  },
);

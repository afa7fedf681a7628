import {
  Irqs,
  PCI_COMMAND,
  PCI_COMMAND_INTX_DISABLE,
  VFIO_DEVICE_SET_IRQS,
  VFIO_PCI_INTX_IRQ_INDEX,
  eduDriver,
  expect,
  interruptHandlers,
  lineDriver,
  test,
} from '../../../harness/testing/index.ts';
import { LINE_DEVICES, enabledIntx } from './enabled-intx.ts';

const INTRS = 'drivers/vfio/pci/vfio_pci_intrs.c';

test(
  'irq.intx.automask',
  'INTx raised by the device arrives once and stays masked until it is unmasked',
  {
    covers: [VFIO_DEVICE_SET_IRQS],
    source: `${INTRS} vfio_intx_handler()`,
    devices: LINE_DEVICES,
  },
  (t) => {
    const driver = lineDriver(t);
    const { intx, signal } = enabledIntx(t);
    expect(signal.quiet(), 'nothing was raised yet').toBe(0);
    driver.raise();
    expect(signal.soon()).toBe(1);
    expect(signal.quiet()).toBe(0);
    intx.unmask();
    expect(signal.soon(), 'the line is still high: unmask fires again').toBe(1);
    expect(signal.quiet()).toBe(0);
    driver.acknowledge();
    intx.unmask();
    expect(signal.quiet(), 'the line is low: unmask is silent').toBe(0);
    driver.raise();
    expect(signal.soon()).toBe(1);
    driver.acknowledge();
    intx.disable();
  },
);

test(
  'irq.intx.raised-while-masked',
  'an interrupt raised while INTx is masked is delivered by the unmask, an acknowledged one is not',
  {
    covers: [VFIO_DEVICE_SET_IRQS.flag('VFIO_IRQ_SET_ACTION_MASK')],
    source: `${INTRS} vfio_pci_intx_unmask_handler()`,
    devices: LINE_DEVICES,
  },
  (t) => {
    const driver = lineDriver(t);
    const { intx, signal } = enabledIntx(t);
    intx.mask();
    intx.mask();
    driver.raise();
    expect(signal.quiet()).toBe(0);
    intx.unmask();
    expect(signal.soon()).toBe(1);
    driver.acknowledge();
    intx.unmask();
    intx.mask();
    driver.raise();
    driver.acknowledge();
    intx.unmask();
    expect(signal.quiet()).toBe(0);
  },
);

test(
  'irq.intx.unmask-while-unmasked',
  'unmasking what is not masked does nothing',
  {
    covers: [VFIO_DEVICE_SET_IRQS],
    source: `${INTRS} vfio_pci_intx_unmask_handler()`,
    device: 'edu',
  },
  (t) => {
    const edu = eduDriver(t);
    const { intx, signal } = enabledIntx(t);
    for (let round = 0; round < 3; round++) intx.unmask();
    expect(signal.quiet()).toBe(0);
    edu.raise();
    expect(signal.soon()).toBe(1);
    edu.acknowledge();
  },
);

test(
  'irq.intx.bools',
  'a true bool masks and unmasks INTx, a false one leaves it as it is',
  {
    covers: [VFIO_DEVICE_SET_IRQS.flag('VFIO_IRQ_SET_DATA_BOOL')],
    source: [`${INTRS} vfio_pci_set_intx_mask()`, `${INTRS} vfio_pci_set_intx_unmask()`],
    device: 'edu',
  },
  (t) => {
    const edu = eduDriver(t);
    const { intx, signal } = enabledIntx(t);
    expect(intx.tryBools([0], 'mask')).toSucceed(0);
    edu.raise();
    expect(signal.soon(), 'false did not mask').toBe(1);
    expect(intx.tryBools([0], 'unmask')).toSucceed(0);
    expect(signal.quiet(), 'false did not unmask').toBe(0);
    for (const truth of [1, 2, 0x80, 0xff]) {
      expect(intx.tryBools([truth], 'unmask')).toSucceed(0);
      expect(signal.soon(), `${truth} unmasked`).toBe(1);
    }
    edu.acknowledge();
    intx.unmask();
    expect(intx.tryBools([1], 'mask')).toSucceed(0);
    edu.raise();
    expect(signal.quiet(), 'true masked').toBe(0);
    expect(intx.tryBools([1], 'unmask')).toSucceed(0);
    expect(signal.soon()).toBe(1);
  },
);

test(
  'irq.intx.still-pending-stays-masked',
  'an unmask that finds the line high signals once and leaves INTx masked',
  {
    covers: [VFIO_DEVICE_SET_IRQS],
    source: `${INTRS} vfio_pci_intx_unmask_handler()`,
    device: 'edu',
  },
  (t) => {
    const edu = eduDriver(t);
    const { intx, signal } = enabledIntx(t);
    edu.raise();
    expect(signal.soon()).toBe(1);
    for (let round = 0; round < 20; round++) intx.unmask();
    expect(signal.quiet(), 'each unmask signalled exactly once').toBe(20);
    edu.acknowledge();
    intx.unmask();
    expect(signal.quiet()).toBe(0);
  },
);

test(
  'irq.intx.raised-before-enable',
  'an interrupt already pending when INTx is enabled is delivered then',
  { covers: [VFIO_DEVICE_SET_IRQS], source: `${INTRS} vfio_intx_enable()`, devices: LINE_DEVICES },
  (t) => {
    const driver = lineDriver(t);
    const signal = t.eventfd();
    const { config } = t.device;
    const command = config.read16(PCI_COMMAND);
    // The line is shared with the host's devices: held back until somebody listens.
    config.write16(PCI_COMMAND, command | PCI_COMMAND_INTX_DISABLE);
    driver.raise();
    config.write16(PCI_COMMAND, command | PCI_COMMAND_INTX_DISABLE);
    const intx = new Irqs(t.device, VFIO_PCI_INTX_IRQ_INDEX);
    intx.enable([signal]);
    expect(signal.quiet(), 'enabled masked').toBe(0);
    config.write16(PCI_COMMAND, command);
    expect(signal.soon()).toBe(1);
    driver.acknowledge();
  },
);

test(
  'irq.intx.disable-enable',
  'INTx can be disabled and enabled again, unmasked and with another eventfd each time',
  { covers: [VFIO_DEVICE_SET_IRQS], source: `${INTRS} vfio_intx_disable()`, devices: LINE_DEVICES },
  (t) => {
    const driver = lineDriver(t);
    const intx = new Irqs(t.device, VFIO_PCI_INTX_IRQ_INDEX);
    const signals = Array.from({ length: 5 }, () => t.eventfd());
    for (const [round, signal] of signals.entries()) {
      intx.enable([signal]);
      expect(interruptHandlers(t.pci.bdf)).toEqual([`vfio-intx(${t.pci.bdf})`]);
      driver.raise();
      expect(signal.soon(), `round ${round}`).toBe(1);
      driver.acknowledge();
      // Masked now: that must not outlive the disable.
      intx.disable();
      expect(interruptHandlers(t.pci.bdf)).toEqual([]);
    }
    expect(signals.map((signal) => signal.take())).toEqual([0, 0, 0, 0, 0]);
  },
);

test(
  'irq.intx.disabled-is-silent',
  'after INTx is disabled neither the device nor the user reaches the eventfd',
  {
    covers: [VFIO_DEVICE_SET_IRQS.fails('EINVAL')],
    source: `${INTRS} vfio_pci_set_intx_trigger()`,
    devices: LINE_DEVICES,
  },
  (t) => {
    const driver = lineDriver(t);
    const { intx, signal } = enabledIntx(t);
    const unmask = t.eventfd();
    intx.unmaskBy(unmask);
    intx.mask();
    intx.disable();
    expect(intx.tryPlain('trigger', 0, 0), 'disabled already').toFailWith('EINVAL');
    expect(intx.tryPlain('trigger')).toFailWith('EINVAL');
    expect(intx.tryPlain('mask')).toFailWith('EINVAL');
    expect(intx.tryPlain('unmask')).toFailWith('EINVAL');
    expect(intx.tryEventfds([unmask], 0, 'unmask')).toFailWith('EINVAL');
    expect(intx.tryEventfds([null], 0, 'unmask')).toFailWith('EINVAL');
    driver.raise();
    unmask.signal();
    expect(signal.quiet()).toBe(0);
    expect(unmask.take(), 'nobody reads the unmask eventfd any more').toBe(1);
    driver.acknowledge();
  },
);

test(
  'irq.intx.close-disables',
  'closing the device takes its INTx handler away, and opening it again starts unmasked',
  {
    covers: [VFIO_DEVICE_SET_IRQS],
    source: 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_core_disable()',
    device: 'edu',
  },
  (t) => {
    const signal = t.eventfd();
    const first = t.group.getDevice(t.pci.bdf);
    const intx = new Irqs(first, VFIO_PCI_INTX_IRQ_INDEX);
    intx.enable([signal]);
    intx.mask();
    expect(interruptHandlers(t.pci.bdf)).toHaveLength(1);
    first.close();
    expect(interruptHandlers(t.pci.bdf)).toEqual([]);
    const edu = eduDriver(t);
    edu.raise();
    expect(signal.quiet()).toBe(0);
    edu.acknowledge();
    new Irqs(t.device, VFIO_PCI_INTX_IRQ_INDEX).enable([signal]);
    edu.raise();
    expect(signal.soon()).toBe(1);
  },
);

import {
  Irqs,
  VFIO_DEVICE_SET_IRQS,
  VFIO_PCI_INTX_IRQ_INDEX,
  VFIO_PCI_MSIX_IRQ_INDEX,
  VFIO_PCI_MSI_IRQ_INDEX,
  eduDriver,
  expect,
  interruptHandlers,
  lineDriver,
  test,
} from '../../../harness/testing/index.ts';
import { LINE_DEVICES, enabledIntx } from './enabled-intx.ts';

const INTRS = 'drivers/vfio/pci/vfio_pci_intrs.c';
const CVE_NO_EVENTFD = ['CVE-2024-26812', '18c198c96a81'];

test(
  'irq.intx.loopback',
  'a trigger without data or with a true bool signals the eventfd at once, a false bool does not',
  {
    covers: [VFIO_DEVICE_SET_IRQS.flag('VFIO_IRQ_SET_ACTION_TRIGGER')],
    source: `${INTRS} vfio_pci_set_intx_trigger()`,
    devices: LINE_DEVICES,
  },
  ({ device, eventfd }) => {
    const signal = eventfd();
    const intx = new Irqs(device, VFIO_PCI_INTX_IRQ_INDEX);
    intx.enable([signal]);
    expect(signal.take()).toBe(0);
    intx.loopback();
    expect(signal.take()).toBe(1);
    expect(intx.tryBools([0], 'trigger')).toSucceed(0);
    expect(signal.take()).toBe(0);
    expect(intx.tryBools([1], 'trigger')).toSucceed(0);
    expect(intx.tryBools([0xff], 'trigger')).toSucceed(0);
    expect(signal.take()).toBe(2);
  },
);

test(
  'irq.intx.loopback-masked',
  'the loopback does not ask for the mask and does not change it',
  { covers: [VFIO_DEVICE_SET_IRQS], source: `${INTRS} vfio_pci_set_intx_trigger()`, device: 'edu' },
  (t) => {
    const edu = eduDriver(t);
    const { intx, signal } = enabledIntx(t);
    intx.mask();
    intx.loopback();
    expect(signal.take()).toBe(1);
    edu.raise();
    expect(signal.quiet(), 'still masked').toBe(0);
    intx.unmask();
    expect(signal.soon()).toBe(1);
    edu.acknowledge();
    intx.unmask();
    intx.loopback();
    expect(signal.take()).toBe(1);
    edu.raise();
    expect(signal.soon(), 'the loopback did not mask').toBe(1);
  },
);

test(
  'irq.intx.replace-eventfd',
  'an eventfd set while INTx is enabled takes the place of the old one, and the mask stays',
  {
    covers: [VFIO_DEVICE_SET_IRQS],
    source: `${INTRS} vfio_intx_set_signal()`,
    devices: LINE_DEVICES,
  },
  (t) => {
    const driver = lineDriver(t);
    const [old, fresh] = [t.eventfd(), t.eventfd()];
    const intx = new Irqs(t.device, VFIO_PCI_INTX_IRQ_INDEX);
    intx.enable([old]);
    intx.enable([fresh]);
    expect(interruptHandlers(t.pci.bdf)).toHaveLength(1);
    driver.raise();
    expect(fresh.soon()).toBe(1);
    expect(old.take()).toBe(0);
    intx.enable([old]);
    expect(old.quiet(), 'masked by the interrupt, the line still high').toBe(0);
    intx.unmask();
    expect(old.soon()).toBe(1);
    driver.acknowledge();
    intx.loopback();
    expect([old.take(), fresh.take()]).toEqual([1, 0]);
  },
);

test(
  'irq.intx.replace-keeps-unmask-eventfd',
  'replacing the eventfd leaves the unmask eventfd in place',
  { covers: [VFIO_DEVICE_SET_IRQS], source: `${INTRS} vfio_intx_set_signal()`, device: 'edu' },
  (t) => {
    const edu = eduDriver(t);
    const [old, fresh, unmask] = [t.eventfd(), t.eventfd(), t.eventfd()];
    const intx = new Irqs(t.device, VFIO_PCI_INTX_IRQ_INDEX);
    intx.enable([old]);
    intx.unmaskBy(unmask);
    intx.enable([fresh]);
    edu.raise();
    expect(fresh.soon()).toBe(1);
    unmask.signal();
    expect(fresh.soon()).toBe(1);
    expect(old.take()).toBe(0);
  },
);

test(
  'irq.intx.no-eventfd',
  'with the eventfd set to -1 INTx stays enabled: loopback, unmask and interrupts are harmless',
  {
    covers: [VFIO_DEVICE_SET_IRQS],
    source: [`${INTRS} vfio_send_intx_eventfd()`, `${INTRS} vfio_intx_set_signal()`],
    device: 'edu',
    fixes: CVE_NO_EVENTFD,
  },
  (t) => {
    const edu = eduDriver(t);
    const [signal, unmask] = [t.eventfd(), t.eventfd()];
    const intx = new Irqs(t.device, VFIO_PCI_INTX_IRQ_INDEX);
    intx.enable([signal]);
    intx.unmaskBy(unmask);
    intx.enable([null]);
    intx.loopback();
    expect(intx.tryBools([1], 'trigger')).toSucceed(0);
    edu.raise();
    intx.unmask();
    expect(intx.tryBools([1], 'unmask')).toSucceed(0);
    unmask.signal();
    expect(signal.quiet()).toBe(0);
    intx.enable([null]);
    intx.mask();
    intx.enable([signal]);
    intx.unmask();
    expect(signal.soon(), 'and an eventfd can be set again').toBe(1);
    edu.acknowledge();
  },
);

test(
  'irq.intx.enabled-without-eventfd',
  'INTx may be enabled with fd -1 and get its eventfd later',
  {
    covers: [VFIO_DEVICE_SET_IRQS],
    source: `${INTRS} vfio_pci_set_intx_trigger()`,
    devices: LINE_DEVICES,
    fixes: CVE_NO_EVENTFD,
  },
  (t) => {
    const driver = lineDriver(t);
    const signal = t.eventfd();
    const intx = new Irqs(t.device, VFIO_PCI_INTX_IRQ_INDEX);
    for (const none of [-1, -2, -0x8000_0000]) {
      intx.enable([none]);
      expect(interruptHandlers(t.pci.bdf)).toHaveLength(1);
      intx.loopback();
      driver.raise();
      intx.mask();
      intx.enable([signal]);
      expect(signal.quiet()).toBe(0);
      intx.unmask();
      expect(signal.soon()).toBe(1);
      driver.acknowledge();
      intx.disable();
    }
  },
);

test(
  'irq.intx.one-type-at-a-time',
  'while INTx is enabled MSI and MSI-X are refused, and INTx goes on',
  {
    covers: [VFIO_DEVICE_SET_IRQS.fails('EINVAL')],
    source: `${INTRS} vfio_pci_set_msi_trigger()`,
    device: 'e1000e',
  },
  (t) => {
    const driver = lineDriver(t);
    const [signal, other] = [t.eventfd(), t.eventfd()];
    const intx = new Irqs(t.device, VFIO_PCI_INTX_IRQ_INDEX);
    intx.enable([signal]);
    for (const index of [VFIO_PCI_MSI_IRQ_INDEX, VFIO_PCI_MSIX_IRQ_INDEX]) {
      const irqs = new Irqs(t.device, index);
      expect(irqs.tryEventfds([other])).toFailWith('EINVAL');
      expect(irqs.tryEventfds([null])).toFailWith('EINVAL');
      expect(irqs.tryPlain('trigger', 0, 0)).toFailWith('EINVAL');
      expect(irqs.tryPlain('trigger')).toFailWith('EINVAL');
      expect(irqs.tryBools([1], 'trigger')).toFailWith('EINVAL');
    }
    driver.raise();
    expect(signal.soon()).toBe(1);
    expect(other.take()).toBe(0);
    driver.acknowledge();
  },
);
